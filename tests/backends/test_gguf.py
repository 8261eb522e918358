"""The llama.cpp backend: the numbers of transformers in float32, shared prefixes, sentences for broken files."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.find import hub_path, names_gguf
from benchbench.backends.models.formats.gguf import read_header, split_files
from benchbench.core.chat import Conversation, Shot
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)
from tests import models
from tests.backends.test_contract import scoring_requests

MPT_TOLERANCE = 1e-2
"""In nats per request: llama.cpp looks GELU up in a table of float16 values. 4e-3 was measured."""
LLAMA_TOLERANCE = 1e-4
"""In nats per request, with float32 keys and values. 6e-6 was measured."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Architecture → (transformers folder, GGUF file)."""
    made = {}
    for name in ("mpt", "llama"):
        folder = tmp_path_factory.mktemp(name)
        if name == "mpt":
            models.tiny_mpt(folder, n_heads=6)
            made[name] = (folder, models.tiny_mpt_gguf(folder / "tiny.gguf", folder))
        else:
            models.tiny_llama(folder)
            made[name] = (folder, models.tiny_gguf(folder / "tiny.gguf", folder, bos=True))
    return made


@pytest.fixture(scope="module")
def pair(files: dict[str, tuple[Path, Path]]) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Architecture → (transformers backend, llama.cpp backend)."""
    opened = {name: (opened_with(folder, "hf"), opened_with(file, "gguf")) for name, (folder, file) in files.items()}
    yield opened
    for both in opened.values():
        for backend in both:
            backend.close()


def opened_with(path: Path, backend: str, **options: Any) -> Any:
    return open_backend(ModelOptions(str(path), backend=backend, device="cpu", **options))


def totals(answers: Iterator[Any]) -> dict[tuple[str, int, int], float]:
    return {r.request.key: r.total for r in answers if isinstance(r, Loglikelihood)}


@pytest.mark.gguf
@pytest.mark.parametrize(("name", "tolerance"), [("mpt", MPT_TOLERANCE), ("llama", LLAMA_TOLERANCE)])
def test_scores_are_those_of_transformers_in_float32(pair: dict[str, Any], name: str, tolerance: float) -> None:
    hf, gguf = pair[name]
    requests = scoring_requests(60, seed=5)
    expected = {r.request.key: r for r in hf.loglikelihood(requests)}
    got = {r.request.key: r for r in gguf.loglikelihood(requests)}
    assert max(abs(got[k].total - expected[k].total) for k in expected) < tolerance
    assert [got[k].num_tokens for k in expected] == [expected[k].num_tokens for k in expected]
    assert sum(got[k].is_greedy != expected[k].is_greedy for k in expected) <= 2
    text = [RollingRequest("r", 0, 0, "Praha je hlavní město České republiky. " * 36)]
    (ours,), (theirs,) = gguf.loglikelihood_rolling(text), hf.loglikelihood_rolling(text)
    assert ours.num_tokens == theirs.num_tokens > gguf.info.max_length
    assert ours.total == pytest.approx(theirs.total, rel=1e-4)


@pytest.mark.gguf
@pytest.mark.parametrize("name", ["mpt", "llama"])
def test_greedy_text_is_that_of_transformers(pair: dict[str, Any], name: str) -> None:
    hf, gguf = pair[name]
    shots = ("Praha je město.\n\n", "Le garçon a mangé.\n\n")
    ask = lambda until: [  # noqa: E731
        GenerateRequest("t", i, 0, Prompt("", shots, f"Kolik je {i}?"), GenerationParams(until, 20)) for i in range(24)
    ]
    texts = [c.text for c in hf.generate(ask(()))]
    found = Counter(letter for text in texts for letter in set(text) if letter.isascii())
    stop = min(found, key=lambda letter: abs(found[letter] - len(texts) / 2))
    requests = ask((stop, "\n\n"))
    expected = {c.request.key: c for c in hf.generate(requests)}
    got = {c.request.key: c for c in gguf.generate(requests)}
    assert sum(got[k].text == expected[k].text for k in expected) >= 23, "one may differ by rounding"
    same = [k for k in expected if got[k].text == expected[k].text]
    assert [(got[k].finish_reason, got[k].num_tokens) for k in same] == [
        (expected[k].finish_reason, expected[k].num_tokens) for k in same
    ]
    assert len({c.finish_reason for c in got.values()}) > 1


@pytest.mark.gguf
def test_sampled_text_is_that_of_transformers_and_depends_on_the_request_alone(pair: dict[str, Any]) -> None:
    hf, gguf = pair["llama"]
    params = GenerationParams((), 8, do_sample=True, temperature=0.7, top_k=20, repetition_penalty=1.2)
    requests = [GenerateRequest("t", i, 0, Prompt("", (), f"Kolik je {i}?"), params) for i in range(6)]
    expected = {c.request.key: c.text for c in hf.generate(requests)}
    assert {c.request.key: c.text for c in gguf.generate(requests[::-1])} == expected


@pytest.mark.gguf
def test_beams_are_refused_and_nothing_else(pair: dict[str, Any]) -> None:
    prompt = Prompt("", (), "Kolik je hodin?")
    beams = GenerateRequest("t", 0, 0, prompt, GenerationParams((), 4, num_beams=3))
    one = GenerateRequest("t", 1, 0, prompt, GenerationParams((), 4))
    answers = {a.request.doc_id: a for a in pair["llama"][1].generate([beams, one])}
    assert isinstance(answers[0], Failure)
    assert "beam search" in answers[0].message
    assert isinstance(answers[1], Completion)


@pytest.mark.gguf
def test_shared_prefixes_are_read_once_and_change_nothing(files: dict[str, tuple[Path, Path]]) -> None:
    requests = [r for r in scoring_requests(60, seed=6) if r.prompt.shots]
    shared, plain = (opened_with(files["llama"][1], "gguf", plan=plan) for plan in ("auto", "plain"))
    one, two = totals(shared.loglikelihood(requests)), totals(plain.loglikelihood(requests))
    assert max(abs(one[k] - two[k]) for k in two) < LLAMA_TOLERANCE
    assert shared.work.tokens_computed * 3 < plain.work.tokens_computed
    assert shared.work.tokens_needed >= plain.work.tokens_computed


@pytest.mark.gguf
def test_more_choices_than_sequences_are_all_scored(pair: dict[str, Any]) -> None:
    prompt = Prompt("", (), "Praha")
    words = [f" {a}{b}" for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst"]
    requests = [LoglikelihoodRequest("t", 0, i, prompt, word) for i, word in enumerate(words)]
    hf, gguf = pair["llama"]
    expected, got = totals(hf.loglikelihood(requests)), totals(gguf.loglikelihood(requests))
    assert len(got) == 400
    assert max(abs(got[k] - expected[k]) for k in expected) < LLAMA_TOLERANCE


@pytest.mark.gguf
def test_a_new_file_answers_for_itself(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    folder = tmp_path / "later"
    folder.mkdir()
    later = models.tiny_gguf(folder / "later.gguf", models.tiny_llama(folder, seed=1), bos=True)
    requests = scoring_requests(10, seed=7)
    backend, fresh = opened_with(files["llama"][1], "gguf"), opened_with(later, "gguf")
    before, identity = totals(backend.loglikelihood(requests)), backend.info.model_identity
    backend.load_weights(str(later))
    after = totals(backend.loglikelihood(requests))
    assert after == totals(fresh.loglikelihood(requests)) != before
    assert backend.info.model_identity == fresh.info.model_identity != identity
    with pytest.raises(ModelError, match=r"is another model|has another tokenizer"):
        backend.load_weights(str(files["mpt"][1]))
    assert totals(backend.loglikelihood(requests)) == after


@pytest.mark.gguf
def test_identity_is_the_content(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    file = files["llama"][1]
    copy = tmp_path / "renamed.gguf"
    copy.write_bytes(file.read_bytes())
    one, two = opened_with(file, "gguf").info, opened_with(copy, "gguf").info
    assert (one.model_identity, one.tokenizer_identity) == (two.model_identity, two.tokenizer_identity)
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    copy.write_bytes(data)
    changed = opened_with(copy, "gguf").info
    assert changed.model_identity != one.model_identity
    assert changed.tokenizer_identity == one.tokenizer_identity
    assert (one.dtype, one.device) == ("float32", "cpu")
    assert "llama-cpp-python" in one.numerics


@pytest.mark.gguf
def test_options_that_do_not_fit_are_sentences(files: dict[str, tuple[Path, Path]]) -> None:
    file = files["llama"][1]
    for options, said in [
        ({"dtype": "bfloat16"}, "as they are stored, float32"),
        ({"max_length": 9_999}, "only models with ALiBi"),
        ({"device": "tpu"}, "auto, cpu or cuda"),
        ({"model_args": (("threads", "0"),)}, "whole number of 1 or more"),
        ({"model_args": (("cache_type", "q4"),)}, "is not one of float16, float32"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            open_backend(replace(ModelOptions(str(file), backend="gguf"), **options))
    with pytest.raises(BackendError, match=r"thread.*Did you mean threads"):
        opened_with(file, "gguf", model_args=(("thread", "2"),))
    assert opened_with(files["mpt"][1], "gguf", max_length=900).info.max_length == 900


def test_broken_files_are_sentences(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    data = files["llama"][1].read_bytes()
    broken = {
        "not a GGUF file": b"PK\x03\x04" + data[4:],
        "ends? inside the header|cut short": data[:900],
        "its header promises": data[:-100],
        "of version 4; this release reads": data[:4] + struct.pack("<I", 4) + data[8:],
        "big-endian": data[:4] + struct.pack(">I", 3) + data[8:],
        "no longer read": data[:4] + struct.pack("<I", 1) + data[8:],
        "corrupt": data[:8] + struct.pack("<Q", 1 << 60) + data[16:],
    }
    for said, content in broken.items():
        path = tmp_path / "broken.gguf"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=said):
            read_header(path)


@pytest.mark.gguf
def test_a_broken_file_is_refused_before_llama_cpp_sees_it(files: dict[str, tuple[Path, Path]], tmp_path: Path) -> None:
    path = tmp_path / "short.gguf"
    path.write_bytes(files["llama"][1].read_bytes()[:-10])
    with pytest.raises(ModelError, match="cut short"):
        opened_with(path, "gguf")
    with pytest.raises(ModelError, match="is a transformers model, not a GGUF file"):
        opened_with(models.tiny_llama(tmp_path / "folder"), "gguf")


def test_the_header_says_what_the_file_is(files: dict[str, tuple[Path, Path]]) -> None:
    header = read_header(files["mpt"][1])
    assert (header.architecture, header.quantisation, header.version) == ("mpt", "F32", 3)
    assert header.model("context_length") == 512
    assert header.weight_bytes == 4 * header.num_parameters > 0


def test_parts_of_a_split_model_belong_together(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"m-{number:05}-of-00003.gguf").touch()
    with pytest.raises(ModelError, match=r"m-00003-of-00003\.gguf is not beside it"):
        split_files(tmp_path / "m-00001-of-00003.gguf")
    (tmp_path / "m-00003-of-00003.gguf").touch()
    assert len(split_files(tmp_path / "m-00002-of-00003.gguf")) == 3


@pytest.mark.gguf
@pytest.mark.parametrize("bos", [False, True])
def test_conversations_become_the_tokens_that_transformers_makes(bos: bool, tmp_path: Path) -> None:
    folder = models.with_chat_template(models.tiny_llama(tmp_path, bos=bos))
    end = "</s>" if bos else models.END
    backend = opened_with(models.tiny_gguf(tmp_path / "tiny.gguf", folder, bos=bos, chat=True), "gguf")
    hf = opened_with(folder, "hf")
    assert backend.chat.source == hf.chat.source
    talks = [
        Conversation("Buď stručný.", (Shot("2 + 2", "4", ""),), "3 + 3"),
        Conversation(f"{end} je konec.", (Shot(end, "ano", ""),), f"Co je {end}? Konec{end}"),
        Conversation("", (), "Proč?", prefix="Protože "),
    ]
    for i, talk in enumerate(talks):
        asked = [LoglikelihoodRequest("t", i, n, talk, text) for n, text in enumerate(["ano", f" {end}"])]
        assert backend.request_keys([asked]) == hf.request_keys([asked])
        assert (
            max(
                abs(a - b)
                for a, b in zip(
                    *(totals(engine.loglikelihood(asked)).values() for engine in (backend, hf)), strict=True
                )
            )
            < 1e-3
        )


def test_files_on_the_hub_are_named_with_a_colon(tmp_path: Path) -> None:
    assert hub_path("org/repo:model.Q4.gguf") == "org/repo/model.Q4.gguf"
    assert hub_path("org/repo") == "org/repo"
    assert names_gguf("org/repo:model.gguf")
    assert not names_gguf(str(tmp_path))
    (tmp_path / "model.gguf").touch()
    assert names_gguf(str(tmp_path))


@pytest.mark.gguf
@pytest.mark.slow
@pytest.mark.real
def test_real_weights_score_sensibly_and_bring_a_chat_template() -> None:
    backend = opened_with(models.smollm2_gguf(), "gguf")
    assert backend.info.dtype == "Q4_1"
    assert "quantised" in backend.notes[0]
    assert "im_start" in backend.chat.source
    talk = Conversation("", (Shot("Hi", "Hello", ""),), "Is <|im_end|> a token?")
    asked = [GenerateRequest("t", 0, 0, talk, GenerationParams(("\n",), 8))]
    assert backend.request_keys([asked]) == opened_with(models.smollm2_folder(), "hf").request_keys([asked])
    prompt = Prompt("", ("The capital of Italy is Rome.\n\n",), "The capital of France is")
    requests = [LoglikelihoodRequest("t", 0, i, prompt, c) for i, c in enumerate([" Paris.", " Rome.", " banana."])]
    answers = totals(backend.loglikelihood(requests))
    assert max(answers, key=lambda k: answers[k]) == ("t", 0, 0)
    hf = opened_with(models.smollm2_folder(), "hf")
    expected = totals(hf.loglikelihood(requests))
    assert max(abs(answers[k] - expected[k]) for k in expected) < 1.0, "activations are rounded too: 0.6 was seen"
    (text,) = backend.generate([GenerateRequest("t", 0, 0, prompt, GenerationParams(("\n",), 8))])
    assert "Paris" in text.text

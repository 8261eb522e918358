"""Encoder-decoder models: the numbers of lm-eval's seq2seq backend, whatever the batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.encode import EncodedPair, Encoder
from benchbench.backends.engines import ModelOptions
from benchbench.backends.hf.backend import load_model
from benchbench.backends.hf.seq2seq import Seq2SeqEngine
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.tokens import Exhausted
from benchbench.backends.writing import Job
from benchbench.core.types import GenerationParams, LoglikelihoodRequest, Prompt
from tests.models import tiny_t5

CONTEXTS = (
    "Praha je hlavní město",
    "Question: Le garçon a mangé une pomme rouge près de la forêt. Réponse:",
    "The quick brown fox jumps over ",
    "",
)
CHOICES = (" České republiky", " A", " the lazy dog, because it was cold", "oui")
PAIRS = [(context, choice) for context in CONTEXTS for choice in CHOICES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> LoadedModel:
    return load_model(ModelOptions(str(folder), device="cpu"))


@pytest.fixture(scope="module")
def pairs(loaded: LoadedModel) -> list[EncodedPair]:
    encoder = Encoder(loaded.tokenizer, loaded.max_length, loaded.architecture)
    requests = [
        LoglikelihoodRequest("t", i, 0, Prompt("", (), context), choice) for i, (context, choice) in enumerate(PAIRS)
    ]
    encoded = encoder.pairs(requests)
    assert all(isinstance(pair, EncodedPair) for pair in encoded)
    return encoded


@pytest.fixture(scope="module")
def lm_eval_model(folder: Path) -> Any:
    pytest.importorskip("lm_eval", reason="lm-eval is the oracle")
    from lm_eval.models.huggingface import HFLM

    return HFLM(str(folder), backend="seq2seq", device="cpu", dtype="float32", batch_size=1, logits_cache=False)


def instances(arguments: list[tuple[Any, ...]], kind: str) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, args, i) for i, args in enumerate(arguments)]


def scores(engine: Seq2SeqEngine, pairs: list[EncodedPair], skip: tuple[int, ...] = ()) -> dict[int, Any]:
    return {scored.request: scored for scored in engine.score(pairs, skip)}


def test_loglikelihoods_equal_those_of_lm_eval(
    loaded: LoadedModel, pairs: list[EncodedPair], lm_eval_model: Any
) -> None:
    ours = scores(Seq2SeqEngine(loaded, 512), pairs)
    theirs = lm_eval_model.loglikelihood(instances(PAIRS, "loglikelihood"), disable_tqdm=True)
    for i, (total, greedy) in enumerate(theirs):
        assert ours[i].total == pytest.approx(total, abs=1e-3)
        assert ours[i].is_greedy == greedy
    assert len({round(total, 2) for total, _ in theirs}) > 10


def test_batch_size_changes_no_loglikelihood(loaded: LoadedModel, pairs: list[EncodedPair]) -> None:
    wide = scores(Seq2SeqEngine(loaded, 4096), pairs)
    narrow = scores(Seq2SeqEngine(loaded, 1), pairs)
    assert wide.keys() == narrow.keys() == set(range(len(PAIRS)))
    for i in wide:
        assert wide[i].total == pytest.approx(narrow[i].total, abs=1e-4)


def test_a_shared_context_is_encoded_once(loaded: LoadedModel, pairs: list[EncodedPair]) -> None:
    shared = [pair for pair in pairs if pair.context == pairs[0].context]
    assert len(shared) == len(CHOICES)
    engine = Seq2SeqEngine(loaded, 4096)
    scores(engine, shared)
    checked = engine.computed_tokens
    scores(engine, shared)
    longest = max(len(pair.continuation) for pair in shared)
    assert engine.computed_tokens - checked == len(shared[0].context) + len(shared) * longest


def test_skipped_pairs_get_no_answer_and_change_no_other(loaded: LoadedModel, pairs: list[EncodedPair]) -> None:
    full = scores(Seq2SeqEngine(loaded, 64), pairs)
    rest = scores(Seq2SeqEngine(loaded, 64), pairs, skip=(0, 1, 5))
    assert rest.keys() == full.keys() - {0, 1, 5}
    assert all(rest[i] == full[i] for i in rest)


def test_memory_that_runs_out_halves_the_batch_and_loses_nothing(
    loaded: LoadedModel, pairs: list[EncodedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Seq2SeqEngine(loaded, 4096)
    expected = scores(engine, pairs)
    real = engine._score_batch

    def scarce(groups: Any, way: Any) -> Any:
        if sum(len(group.rows) for group in groups) > 2:
            raise MemoryError("no more")
        return real(groups, way)

    monkeypatch.setattr(engine, "_score_batch", scarce)
    got = scores(engine, pairs)
    assert engine.retries > 0
    assert {i: round(s.total, 3) for i, s in got.items()} == {i: round(s.total, 3) for i, s in expected.items()}


def test_a_single_row_too_large_for_the_memory_is_a_failure(
    loaded: LoadedModel, pairs: list[EncodedPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Seq2SeqEngine(loaded, 4096)

    def none_left(groups: Any, way: Any) -> Any:
        raise MemoryError("no more")

    monkeypatch.setattr(engine, "_score_batch", none_left)
    got = scores(engine, pairs)
    assert got.keys() == set(range(len(PAIRS)))
    assert all(isinstance(answer, Exhausted) for answer in got.values())


def write(loaded: LoadedModel, params: GenerationParams, batch_tokens: int = 4096) -> list[str]:
    tokenizer = loaded.tokenizer
    jobs = [Job(tuple(tokenizer(text)["input_ids"]), params, str(i)) for i, text in enumerate(CONTEXTS[:3])]
    written = {one.request: one.text for one in Seq2SeqEngine(loaded, batch_tokens).write(jobs)}
    return [written[i] for i in range(len(jobs))]


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_equal_those_of_lm_eval(loaded: LoadedModel, lm_eval_model: Any, beams: int) -> None:
    ours = write(loaded, GenerationParams(until=("\n",), max_gen_toks=12, num_beams=beams))
    arguments = {"until": ["\n"], "max_gen_toks": 12, "do_sample": False, "num_beams": beams}
    # lm-eval lets the decoder write max_gen_toks plus as many tokens as the context has, so ours is its beginning.
    theirs = lm_eval_model.generate_until(
        instances([(context, arguments) for context in CONTEXTS[:3]], "generate_until"), disable_tqdm=True
    )
    assert any(ours)
    if beams == 1:
        assert all(long.startswith(short) for long, short in zip(theirs, ours, strict=True))
    else:
        assert ours == write(loaded, GenerationParams(until=("\n",), max_gen_toks=12, num_beams=beams), batch_tokens=1)


def test_text_ends_before_the_first_stop_string(loaded: LoadedModel) -> None:
    free = write(loaded, GenerationParams(until=(), max_gen_toks=12))
    stop = free[0][3:5]
    stopped = write(loaded, GenerationParams(until=(stop,), max_gen_toks=12))
    assert stopped[0] == free[0].split(stop)[0]
    assert len(stopped[0]) < len(free[0])


def test_sampling_depends_on_the_seed_and_not_on_the_order(loaded: LoadedModel) -> None:
    params = GenerationParams(until=(), max_gen_toks=8, do_sample=True, temperature=1.5, seed=1)
    jobs = [Job(tuple(loaded.tokenizer(text)["input_ids"]), params, text) for text in CONTEXTS[:3]]
    engine = Seq2SeqEngine(loaded, 4096)
    forward = {jobs[w.request].seed_text: w.text for w in engine.write(jobs)}
    backward = {jobs[::-1][w.request].seed_text: w.text for w in engine.write(jobs[::-1])}
    other = write(loaded, GenerationParams(until=(), max_gen_toks=8, do_sample=True, temperature=1.5, seed=2))
    assert forward == backward
    assert list(forward.values()) != other


def test_an_encoder_decoder_model_is_recognised_by_its_type(loaded: LoadedModel) -> None:
    assert loaded.architecture == "seq2seq"
    assert loaded.max_length == 512

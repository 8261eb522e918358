"""Translation models: the sentence as it is, its language beside it, and the first token that says what to write in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchbench.backends import open_backend
from benchbench.backends.engines import Abilities, ModelOptions, refusal
from benchbench.backends.models.tokenizer import Languages
from benchbench.core.types import Completion, Failure, GenerateRequest, GenerationParams, Prompt
from tests import models

SENTENCES = ["Praha je hlavní město.", "Le garçon a mangé une pomme rouge.", "The book was on the table.", "A"]
PAIRS = [("ces_Latn", "fra_Latn"), ("fra_Latn", "eng_Latn"), ("eng_Latn", "ces_Latn"), ("ces_Latn", "eng_Latn")]


def request(i: int, source: str | None, target: str | None, *, beams: int = 1) -> GenerateRequest:
    params = GenerationParams(
        until=("\n",), max_gen_toks=12, num_beams=beams, repetition_penalty=1.3, src_lang=source, tgt_lang=target
    )
    return GenerateRequest("t", i, 0, Prompt("", (), SENTENCES[i % len(SENTENCES)]), params)


def backend(folder: Path) -> Any:
    return open_backend(ModelOptions(str(folder), backend="hf", dtype="float32", device="cpu"))


@pytest.fixture(scope="module", params=[models.tiny_nllb, models.tiny_m2m100], ids=["nllb", "m2m100"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    make: Callable[[Path], Path] = request.param
    return make(tmp_path_factory.mktemp("model") / "tiny")


def by_transformers(
    folder: Path, sentence: str, source: str, target: str, *, beams: int, new: int = 12, penalty: float = 1.3
) -> str:
    """What the model card of NLLB says to do, one sentence at a time."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    own = {code: code[:2] if code != "ces_Latn" else "cs" for code in ("ces_Latn", "eng_Latn", "fra_Latn")}
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    is_nllb = "ces_Latn" in tokenizer.get_vocab()
    tokenizer.src_lang = source if is_nllb else own[source]
    first = tokenizer.convert_tokens_to_ids(target if is_nllb else f"__{own[target]}__")
    inputs = tokenizer(sentence, return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(
            **inputs, forced_bos_token_id=first, max_new_tokens=new, num_beams=beams, repetition_penalty=penalty
        )
    text: str = tokenizer.batch_decode(tokens, skip_special_tokens=True)[0]
    return text.split("\n", maxsplit=1)[0]


@pytest.mark.parametrize("beams", [1, 3])
def test_texts_equal_those_of_transformers_sentence_by_sentence(folder: Path, beams: int) -> None:
    asked = [request(i, *pair, beams=beams) for i, pair in enumerate(PAIRS)]
    texts = {answer.request.doc_id: answer.text for answer in backend(folder).generate(asked)}
    expected = {i: by_transformers(folder, SENTENCES[i], *PAIRS[i], beams=beams) for i in range(len(PAIRS))}
    assert texts == expected
    assert any(texts.values())


def test_each_language_moves_the_text(folder: Path) -> None:
    asked = [
        GenerateRequest("t", i, 0, Prompt("", (), SENTENCES[0]), request(i, *pair).params)
        for i, pair in enumerate([("ces_Latn", "fra_Latn"), ("ces_Latn", "eng_Latn"), ("eng_Latn", "fra_Latn")])
    ]
    engine = backend(folder)
    texts = {answer.request.doc_id: answer.text for answer in engine.generate(asked)}
    assert len(set(texts.values())) == 3
    assert len(set(engine.request_keys([[one] for one in asked]))) == 3
    assert engine.notes == ()


def test_a_language_without_a_token_is_refused(folder: Path) -> None:
    engine = backend(folder)
    [known, unknown] = sorted(
        engine.generate([request(0, "ces_Latn", "fra_Latn"), request(1, "ces_Latn", "xyz_Latn")]),
        key=lambda answer: answer.request.doc_id,
    )
    assert isinstance(known, Completion)
    assert isinstance(unknown, Failure)
    assert unknown.kind == "unsupported"
    assert "'xyz_Latn'" in unknown.message
    assert "needs both languages" in engine.refuses(request(0, None, "fra_Latn").params)


def test_the_tokenizer_is_left_as_it_was(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    before = (tokenizer.src_lang, tokenizer("Praha")["input_ids"])
    with Languages(tokenizer).reading("fra_Latn"):
        assert tokenizer("Praha")["input_ids"] != before[1]
    assert (tokenizer.src_lang, tokenizer("Praha")["input_ids"]) == before


def test_mbart_50_names_its_languages_by_country() -> None:
    from transformers import MBart50Tokenizer

    languages = Languages(MBart50Tokenizer())
    assert [languages.code(code) for code in ("ces_Latn", "eng_Latn", "fra_Latn", "fr_XX")] == [
        "cs_CZ",
        "en_XX",
        "fr_XX",
        "fr_XX",
    ]


def test_a_translation_model_with_an_ordinary_prompt_is_told_of_the_right_one(folder: Path) -> None:
    engine = backend(folder)
    list(engine.generate([request(0, None, None)]))
    assert any("--prompt source" in note for note in engine.notes)


def test_an_encoder_decoder_without_language_tokens_gets_the_sentence_and_a_note(tmp_path: Path) -> None:
    engine = backend(models.tiny_t5(tmp_path / "t5"))
    [with_languages] = engine.generate([request(0, "ces_Latn", "fra_Latn")])
    [without] = engine.generate([request(0, None, None)])
    assert with_languages.text == without.text
    assert any("no language tokens" in note for note in engine.notes)


def test_a_causal_model_refuses_language_tokens(tmp_path: Path) -> None:
    engine = backend(models.tiny_llama(tmp_path / "llama"))
    [answer] = engine.generate([request(0, "ces_Latn", "fra_Latn")])
    assert isinstance(answer, Failure)
    assert answer.kind == "unsupported"
    assert "translation models" in answer.message


def test_refusals_name_all_that_an_engine_lacks() -> None:
    params = GenerationParams(until=(), num_beams=4, no_repeat_ngram_size=3, do_sample=True, temperature=3.0)
    assert refusal(params, "vllm", Abilities()) is None
    said = refusal(params, "vllm", Abilities(beams=False, ngrams=False, max_temperature=2.0))
    assert said == (
        "The task asks for beam search (num_beams=4) and no_repeat_ngram_size=3 and temperature=3.0, which vllm cannot "
        "do; --backend hf can."
    )
    languages = GenerationParams(until=(), src_lang="ces_Latn", tgt_lang="fra_Latn")
    assert "translation models such as NLLB" in (refusal(languages, "gguf", Abilities(beams=False)) or "")

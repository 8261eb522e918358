"""Texts, and what an engine survives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import BackendError
from benchbench.core.types import Completion, Failure, GenerateRequest, GenerationParams, Prompt
from tests import models
from tests.backends.vllm.conftest import TEXT, mixed_requests, opened, totals

pytestmark = pytest.mark.vllm
STOPS: tuple[tuple[str, ...], ...] = (
    (),
    ("\n",),
    (" ",),
    ("a", "e"),
    ("ř", "é"),
    ("never to be seen",),
    ("",),
    (" a",),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return models.tiny_llama(tmp_path_factory.mktemp("model"), head_size=32)


@pytest.fixture(scope="module")
def written(folder: Path) -> dict[int, Completion]:
    """transformers' greedy texts."""
    with opened(folder, "hf") as hf:
        return {answer.request.doc_id: answer for answer in hf.generate(prompts())}


@pytest.fixture(scope="module")
def backend(folder: Path, written: dict[int, Completion]) -> Iterator[Any]:
    before = random.Random(5).getstate()
    random.setstate(before)
    with opened(folder, "vllm") as vllm:
        assert random.getstate() == before, "vLLM seeds the global generator; it must be put back"
        yield vllm


def prompts(**changes: Any) -> list[GenerateRequest]:
    requests = []
    for doc in range(40):
        params = GenerationParams(
            **({"until": STOPS[doc % len(STOPS)], "max_gen_toks": 1 + doc} | changes),
            repetition_penalty=1.3 if doc % 5 == 0 else 1.0,
        )
        requests.append(GenerateRequest("g", doc, 0, Prompt("", (), TEXT[: 10 + 17 * (doc % 20)]), params))
    return requests


def test_texts_end_where_those_of_transformers_end(backend: Any, written: dict[int, Completion]) -> None:
    answers = {answer.request.doc_id: answer for answer in backend.generate(prompts())}
    assert answers == written
    assert {answer.finish_reason for answer in answers.values()} >= {"stop", "length"}


def test_an_end_of_sequence_token_ends_a_text(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (free,) = backend.generate([GenerateRequest("g", 0, 0, Prompt("", (), "Praha"), GenerationParams((), 12))])
    tokens = backend.loaded.tokenizer(free.text, add_special_tokens=False)["input_ids"]
    for eos in set(tokens):
        monkeypatch.setattr(backend._writer.ending, "eos", frozenset([eos]))
        (short,) = backend.generate([GenerateRequest("g", 0, 0, Prompt("", (), "Praha"), GenerationParams((), 12))])
        if short.finish_reason == "eos":
            assert free.text.startswith(short.text)
            assert short.num_tokens < 12
            return
    pytest.fail("no token of the text ended it")


def test_sampling_depends_on_the_seed_and_the_request_alone(backend: Any) -> None:
    def texts(requests: list[GenerateRequest]) -> dict[int, str]:
        return {answer.request.doc_id: answer.text for answer in backend.generate(requests)}

    sampled = prompts(until=(), max_gen_toks=12, do_sample=True, temperature=0.9, top_k=50, top_p=0.9)
    once = texts(sampled)
    assert texts(random.Random(1).sample(sampled, len(sampled))) == once
    assert texts(sampled[:7]) == {doc: text for doc, text in once.items() if doc < 7}
    again = prompts(until=(), max_gen_toks=12, do_sample=True, temperature=0.9, top_k=50, top_p=0.9, seed=1)
    assert texts(again) != once


def test_beam_search_fails_request_by_request_and_names_the_backend_that_can(backend: Any) -> None:
    requests = prompts()[:6]
    beams = [r for r in prompts(num_beams=3) if r.doc_id >= 36]
    answers = {answer.request.doc_id: answer for answer in backend.generate(requests + beams)}
    assert {doc for doc, answer in answers.items() if isinstance(answer, Failure)} == {36, 37, 38, 39}
    assert answers[36].kind == "unsupported"
    assert "--backend hf can" in answers[36].message


def test_skipped_texts_are_not_answered_and_change_nothing(backend: Any, written: dict[int, Completion]) -> None:
    skip = frozenset(("g", doc, 0) for doc in range(0, 40, 3))
    answers = {answer.request.doc_id: answer for answer in backend.generate(prompts(), skip=skip)}
    assert answers == {doc: answer for doc, answer in written.items() if doc % 3}
    assert list(backend.generate(prompts(), skip=frozenset(("g", doc, 0) for doc in range(40)))) == []


def test_an_interrupted_answer_leaves_the_engine_usable(backend: Any, written: dict[int, Completion]) -> None:
    stream = backend.generate(prompts())
    next(stream)
    stream.close()
    assert {answer.request.doc_id: answer for answer in backend.generate(prompts())} == written


def test_an_engine_that_breaks_says_that_nothing_scored_is_lost(backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("out of memory\nand more lines")

    with monkeypatch.context() as patched:
        patched.setattr(backend.loaded.engine._core, "step", broken)
        with pytest.raises(BackendError, match=r"vLLM stopped: out of memory\. What was scored is kept"):
            totals(backend, mixed_requests(3))

"""vLLM's log-likelihoods are those of transformers, in fp32, with the prefix cache read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.vllm import plan
from benchbench.backends.vllm.engine import RunningEngine
from benchbench.backends.vllm.plan import Ask
from benchbench.core.types import (
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
    RollingRequest,
)
from tests import models
from tests.backends.vllm.conftest import TEXT, largest_difference, mixed_requests, opened, totals

pytestmark = pytest.mark.vllm
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two checkpoints of one training."""
    places = [tmp_path_factory.mktemp(f"step{seed}") for seed in (0, 1)]
    for seed, place in enumerate(places):
        models.tiny_llama(place, head_size=32, seed=seed)
    return places[0], places[1]


@pytest.fixture(scope="module")
def expected(folders: tuple[Path, Path]) -> dict[str, Any]:
    """transformers' answers to everything that is asked below."""
    answers: dict[str, Any] = {}
    for name, folder in zip(("first", "second"), folders, strict=True):
        with opened(folder, "hf") as hf:
            answers[name] = totals(hf, mixed_requests(500))
            answers[f"{name} own words"] = totals(hf, own_words(hf))
            answers[f"{name} rolling"] = {r.request.doc_id: r for r in hf.loglikelihood_rolling(rolling_requests())}
    return answers


@pytest.fixture(scope="module")
def backend(folders: tuple[Path, Path], expected: dict[str, Any]) -> Iterator[Any]:
    with opened(folders[0], "vllm") as vllm:
        yield vllm


def own_words(backend: Any) -> list[LoglikelihoodRequest]:
    """What the model itself would write, of one token and more, and the same with a letter more."""
    asked = [
        GenerateRequest("g", doc, 0, Prompt("", (), TEXT[: 20 + 11 * doc]), GenerationParams((), 1 + doc % 4))
        for doc in range(24)
    ]
    texts = {answer.request.doc_id: answer.text for answer in backend.generate(asked)}
    return [
        LoglikelihoodRequest("o", r.doc_id, i, r.prompt, texts[r.doc_id] + more)
        for r in asked
        for i, more in enumerate(("", "x"))
    ]


def rolling_requests() -> list[RollingRequest]:
    return [RollingRequest("r", i, 0, (TEXT * 12)[:length]) for i, length in enumerate((0, 1, 100, 900, 5000))]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_500_mixed_requests_in_random_order_equal_transformers(
    backend: Any, expected: dict[str, Any], order: int
) -> None:
    asked = random.Random(order).sample(mixed_requests(500), 500)
    answers = totals(backend, asked)
    assert largest_difference(answers, expected["first"]) < TOLERANCE
    assert all(answers[k].num_tokens == expected["first"][k].num_tokens for k in answers)
    assert all(answers[k].prompt_tokens == expected["first"][k].prompt_tokens for k in answers)
    wrong = [k for k in answers if answers[k].is_greedy != expected["first"][k].is_greedy]
    assert wrong == []


def test_greedy_is_what_the_model_would_write_itself(backend: Any, expected: dict[str, Any]) -> None:
    answers = totals(backend, own_words(backend))
    greedy = {key: answer.is_greedy for key, answer in expected["first own words"].items()}
    assert {key: answer.is_greedy for key, answer in answers.items()} == greedy
    assert {True, False} == set(greedy.values())
    assert any(is_greedy and answers[key].num_tokens > 1 for key, is_greedy in greedy.items())


def test_the_cache_is_read_and_hides_nothing_that_is_asked(backend: Any) -> None:
    work, redone = backend.work, backend._scorer.redone
    needed, computed = work.tokens_needed, work.tokens_computed
    totals(backend, mixed_requests(500))
    assert work.tokens_needed - needed > 2 * (work.tokens_computed - computed)
    assert backend._scorer.redone == redone


def nothing_is_shared(inputs: set[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """In the place of `shared_lengths`: continuations that begin alike are not taken apart, so the cache hides some."""
    return {}


def test_what_the_cache_hides_all_the_same_is_computed_again(
    backend: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "shared_lengths", nothing_is_shared)
    redone = backend._scorer.redone
    assert largest_difference(totals(backend, mixed_requests(500)), expected["first"]) < TOLERANCE
    assert backend._scorer.redone > redone


def test_without_the_guard_garbage_is_taken_for_an_answer(
    backend: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "shared_lengths", nothing_is_shared)
    monkeypatch.setattr(Ask, "trusts", lambda self, cached: True)
    answers = {answer.request.key: answer for answer in backend.loglikelihood(mixed_requests(500))}
    assert answers.keys() == expected["first"].keys()
    # Memory that nothing has written to holds anything: what passes for a log-probability, or what cannot be one.
    assert {answer.kind for answer in answers.values() if isinstance(answer, Failure)} <= {"nan_logits"}
    assert any(
        isinstance(answer, Failure) or not abs(answer.total - expected["first"][key].total) < TOLERANCE
        for key, answer in answers.items()
    ), "the stress does not reach what the guard is for"


def test_without_the_cache_the_numbers_are_the_same(
    backend: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend._scorer, "cached", False)
    needed, computed = backend.work.tokens_needed, backend.work.tokens_computed
    answers = totals(backend, mixed_requests(500))
    assert largest_difference(answers, expected["first"]) < TOLERANCE
    assert backend.work.tokens_computed - computed > 0.5 * (backend.work.tokens_needed - needed)


def test_a_cache_too_small_for_all_prompts_is_used_in_chunks(
    backend: Any, expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.loaded.engine, "cache_blocks", 60)
    assert largest_difference(totals(backend, mixed_requests(500)), expected["first"]) < TOLERANCE


def test_rolling_windows_are_those_of_transformers(backend: Any, expected: dict[str, Any]) -> None:
    answers = {r.request.doc_id: r for r in backend.loglikelihood_rolling(rolling_requests())}
    assert answers.keys() == expected["first rolling"].keys()
    for doc, answer in answers.items():
        assert isinstance(answer, Loglikelihood)
        assert answer.num_tokens == expected["first rolling"][doc].num_tokens
        assert answer.total == pytest.approx(expected["first rolling"][doc].total, abs=2 * TOLERANCE)


def test_a_prompt_that_fills_the_model_is_scored_to_its_last_token(backend: Any) -> None:
    long = LoglikelihoodRequest("t", 0, 0, Prompt("", (), TEXT * 20), " Praha je")
    (answer,) = backend.loglikelihood([long])
    assert isinstance(answer, Loglikelihood)
    assert answer.truncated_tokens > 0
    assert answer.prompt_tokens + answer.num_tokens == backend.info.max_length + 1


def test_the_weights_of_one_checkpoint_never_answer_for_the_next(
    backend: Any, folders: tuple[Path, Path], expected: dict[str, Any]
) -> None:
    first = backend.info
    assert largest_difference(totals(backend, mixed_requests(500)), expected["first"]) < TOLERANCE
    backend.load_weights(str(folders[1]))
    assert backend.info.model_identity != first.model_identity
    assert largest_difference(totals(backend, mixed_requests(500)), expected["second"]) < TOLERANCE
    rolling = {r.request.doc_id: r.total for r in backend.loglikelihood_rolling(rolling_requests())}
    assert rolling == pytest.approx({d: r.total for d, r in expected["second rolling"].items()}, abs=2 * TOLERANCE)
    backend.load_weights(str(folders[0]))
    assert backend.info == first
    assert largest_difference(totals(backend, mixed_requests(500)), expected["first"]) < TOLERANCE


def test_with_a_cache_that_is_not_emptied_they_would(
    backend: Any, folders: tuple[Path, Path], expected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    totals(backend, mixed_requests(500))
    with monkeypatch.context() as patched:
        patched.setattr(RunningEngine, "forget", lambda self: None)
        backend.load_weights(str(folders[1]))
        stale = totals(backend, mixed_requests(500))
    assert largest_difference(stale, expected["second"]) > TOLERANCE
    assert largest_difference(totals(backend, mixed_requests(500)), expected["second"]) < TOLERANCE
    backend.load_weights(str(folders[0]))


def test_the_identity_is_that_of_the_transformers_backend(backend: Any, folders: tuple[Path, Path]) -> None:
    with opened(folders[0], "hf") as hf:
        for name in ("model_identity", "tokenizer_identity", "dtype", "max_length", "vocab_size"):
            assert getattr(backend.info, name) == getattr(hf.info, name)
        requests = mixed_requests(40)
        assert backend.request_keys([requests]) == hf.request_keys([requests])
    assert (backend.info.name, backend.info.plan, backend.notes) == ("vllm", "cached", ())

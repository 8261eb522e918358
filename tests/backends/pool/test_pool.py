"""A pool answers as one backend would, whatever its workers do."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool import pool as pool_module
from benchbench.backends.pool.deal import MOST_DEATHS, Job
from benchbench.backends.pool.pool import Pool
from benchbench.core.errors import BackendError
from benchbench.core.types import (
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Prompt,
)
from tests import models, states
from tests.backends.pool.threads import ThreadCrew
from tests.backends.test_contract import scoring_requests, sentence

SCRIPTED = ModelOptions("hash", backend="scripted")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pool_module.SMALLEST, "cpu", 600)
    monkeypatch.setattr(pool_module, "WRITING", 1)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> ModelOptions:
    return ModelOptions(str(models.tiny_llama(tmp_path_factory.mktemp("llama"))), backend="hf", device="cpu")


def writing_requests(docs: int) -> list[GenerateRequest]:
    rng, params = random.Random(5), GenerationParams(("\n",), 12)
    return [GenerateRequest("w", doc, 0, Prompt("", (), sentence(rng, 3, 30)), params) for doc in range(docs)]


def answers(pool: Pool, **more: Any) -> dict[Any, Any]:
    """All answers to a task of both kinds, as values to the last bit."""
    scored = {r.request.key: (r.total, r.is_greedy) for r in pool.loglikelihood(scoring_requests(60), **more)}
    return scored | {r.request.key: (r.text, r.num_tokens) for r in pool.generate(writing_requests(40), **more)}


def pool_of(options: ModelOptions, count: int, *kills: Callable[[int, Job], bool]) -> tuple[Pool, ThreadCrew]:
    crew = ThreadCrew(options, count, *kills)
    return Pool(crew), crew


@pytest.mark.parametrize("count", [2, 3])
def test_many_workers_give_what_one_gives_to_the_last_bit(llama: ModelOptions, count: int) -> None:
    one, _ = pool_of(llama, 1)
    many, crew = pool_of(llama, count)
    assert answers(many) == answers(one)
    work = Counter(worker for worker, job in crew.asked if job.method == "answer")
    assert len(work) == count
    assert min(work.values()) > 1
    one.close()
    many.close()


def test_a_resumed_task_gives_the_same_bits(llama: ModelOptions) -> None:
    pool, _ = pool_of(llama, 2)
    whole = answers(pool)
    known = frozenset(random.Random(2).sample(sorted(whole), len(whole) // 2))
    rest = answers(pool_of(llama, 2)[0], skip=known)
    assert rest == {key: value for key, value in whole.items() if key not in known}
    assert answers(pool, skip=frozenset(whole)) == {}


def test_what_the_first_chunk_taught_is_known_to_every_worker(llama: ModelOptions) -> None:
    pool, crew = pool_of(llama, 3)
    list(pool.loglikelihood(scoring_requests(60)))
    first, *others = [job for _, job in crew.asked if job.method == "answer"]
    assert first.arguments[3] is None
    assert others
    assert len({id(job.arguments[3]) for job in others}) == 1
    (verdicts, shared), _ = pickle.loads(others[0].arguments[3])
    assert verdicts
    assert isinstance(shared, tuple)


def with_shots(docs: int) -> list[LoglikelihoodRequest]:
    """Docs behind one block of shots, of which every ninth has another last one."""
    rng = random.Random(11)
    shots = [sentence(rng, 12, 14) + "\n" for _ in range(6)]
    requests = []
    for doc in range(docs):
        prompt = Prompt("", (*shots[:4], shots[5 if doc % 9 == 4 else 4]), sentence(rng, 4, 20))
        requests += [LoglikelihoodRequest("s", doc, n, prompt, " " + sentence(rng, 1, 6)) for n in range(3)]
    return requests


def test_what_all_docs_share_is_computed_once_by_each_worker(llama: ModelOptions) -> None:
    requests = with_shots(60)
    engine, (one, crew), (two, _) = open_backend(llama), pool_of(llama, 1), pool_of(llama, 2)
    alone, by_one, by_two = (
        {answer.request.key: answer.total for answer in backend.loglikelihood(requests)}
        for backend in (engine, one, two)
    )
    assert by_one == by_two
    assert max(abs(alone[key] - by_one[key]) for key in alone) < 1e-3
    lesson, *chunks = [job for _, job in crew.asked]
    (_, shared), _ = pickle.loads(chunks[0].arguments[3])
    assert len(chunks) >= 8
    assert len(shared) > 64
    assert lesson.arguments[2]  # nothing of it is answered
    # The second worker computes the shared prefix, too; a chunk that did would cost as much.
    assert 0 < two.work.tokens_computed - one.work.tokens_computed <= len(shared)
    assert one.work.tokens_computed < 1.1 * engine.work.tokens_computed


def test_models_that_keep_states_are_checked_once_by_writing(tmp_path: Path) -> None:
    states.made("lfm2").save_pretrained(tmp_path)
    models.tokenizer(tmp_path, vocab_size=states.VOCABULARY)
    options, (shots, *questions) = ModelOptions(str(tmp_path), backend="hf", device="cpu"), writing_requests(41)
    requests = [replace(one, prompt=replace(one.prompt, shots=(shots.prompt.question * 4,))) for one in questions]
    (one, crew), (two, _) = pool_of(options, 1), pool_of(options, 2)
    texts = {answer.request.key: answer.text for answer in one.generate(requests)}
    assert texts == {answer.request.key: answer.text for answer in two.generate(requests)}
    assert len(texts) == 40
    _, *chunks = [job for _, job in crew.asked]
    ((_, shared), was_right) = pickle.loads(chunks[0].arguments[3])
    assert was_right is True
    assert len(shared) > 30


def test_other_weights_compute_what_is_shared_anew(llama: ModelOptions, tmp_path: Path) -> None:
    other = str(models.tiny_llama(tmp_path, seed=5))
    requests = with_shots(60)
    pool, _ = pool_of(llama, 1)
    list(pool.loglikelihood(requests))
    pool.load_weights(other)
    swapped = {answer.request.key: answer.total for answer in pool.loglikelihood(requests)}
    fresh, _ = pool_of(replace(llama, model=other), 1)
    assert swapped == {answer.request.key: answer.total for answer in fresh.loglikelihood(requests)}


def test_keys_are_those_of_one_engine_and_tokens_are_made_where_they_are_used(llama: ModelOptions) -> None:
    requests = scoring_requests(60)
    docs = [requests[start : start + 4] for start in range(0, len(requests), 4)] + [[]]
    pool, crew = pool_of(llama, 2)
    assert pool.request_keys(docs) == open_backend(llama).request_keys(docs)
    made = {id(job.arguments[0]): worker for worker, job in crew.asked if job.method == "request_keys"}
    crew.asked.clear()
    list(pool.loglikelihood(requests))
    _, *asked = [(worker, id(job.arguments[1])) for worker, job in crew.asked]  # the first is a lesson
    assert made.keys() >= {handle for _, handle in asked}
    assert len(asked) > 4
    assert sum(made[handle] == worker for worker, handle in asked) > len(asked) // 2


def test_a_worker_that_dies_costs_its_chunk_which_another_does() -> None:
    whole = answers(pool_of(SCRIPTED, 2)[0])
    pool, crew = pool_of(SCRIPTED, 2, lambda worker, job: worker == 1 and job.method == "answer")
    assert answers(pool) == whole
    assert any("killed by signal 9" in note for note in pool.notes)
    assert 1 not in crew.workers()
    assert len(crew.workers()) == 2


def test_a_chunk_that_kills_every_worker_fails_with_the_reason_and_the_rest_is_done() -> None:
    def holds_doc_7(worker: int, job: Job) -> bool:
        return job.method == "answer" and any(r.key[:2] == ("t", 7) for r in job.arguments[1].requests)

    whole = answers(pool_of(SCRIPTED, 2)[0])
    pool, crew = pool_of(SCRIPTED, 2, holds_doc_7)
    got = list(pool.loglikelihood(scoring_requests(60)))
    failed = [answer for answer in got if isinstance(answer, Failure)]
    assert {answer.kind for answer in failed} == {"worker_died"}
    assert 7 in {answer.request.doc_id for answer in failed}
    assert f"{MOST_DEATHS} workers died" in failed[0].message
    done = {answer.request.key: (answer.total, answer.is_greedy) for answer in got if isinstance(answer, Loglikelihood)}
    assert len(done) + len(failed) == 240
    assert all(whole[key] == value for key, value in done.items())
    assert len(done) > 120
    assert len(crew.notes) == MOST_DEATHS


def test_what_is_wrong_with_a_request_is_raised_as_it_was(llama: ModelOptions) -> None:
    with pytest.raises(BackendError, match="answers plain prompts only"):
        pool_of(SCRIPTED, 2)[0].chat  # noqa: B018
    pool, _ = pool_of(llama, 2)
    assert pool.refuses(GenerationParams((), 4, src_lang="ces_Latn")) is not None
    assert pool.refuses(GenerationParams((), 4)) is None


def test_a_pool_without_workers_says_so() -> None:
    pool, crew = pool_of(SCRIPTED, 1)
    crew.close()
    with pytest.raises(BackendError, match="no worker of the pool is left"):
        list(pool.loglikelihood(scoring_requests(3)))


def test_work_is_the_sum_of_what_the_workers_did(llama: ModelOptions) -> None:
    pool, _ = pool_of(llama, 2)
    single, _ = pool_of(llama, 1)
    requests = scoring_requests(60)
    assert len(list(pool.loglikelihood(requests))) == len(list(single.loglikelihood(requests))) == len(requests)
    assert pool.work == single.work
    assert pool.work.tokens_needed > 1000


def test_other_weights_reach_every_worker() -> None:
    pool, _ = pool_of(SCRIPTED, 3)
    before, identity = answers(pool), pool.info.model_identity
    pool.load_weights("hash,salt=2")
    after = answers(pool)
    assert pool.info.model_identity != identity
    assert all(before[key] != after[key] for key in before)
    assert after == answers(pool_of(ModelOptions("hash,salt=2", backend="scripted"), 1)[0])

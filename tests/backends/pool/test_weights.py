"""Weights are swapped in every worker of a real Ray, also where every one of them dies of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ModelError
from tests.backends.test_contract import scoring_requests

ray = pytest.importorskip("ray")

from benchbench.backends.pool.pool import Pool  # noqa: E402
from benchbench.backends.pool.ray import RayCrew, Share  # noqa: E402

pytestmark = pytest.mark.slow
OTHER = "hash,salt=2"


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    ray.init("local", num_cpus=2, num_gpus=0, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def crew() -> Iterator[RayCrew]:
    made = RayCrew(ModelOptions("hash", backend="scripted"), 2, Share(cores=1, threads=1))
    while len(made.workers()) < 2:
        time.sleep(0.1)
    yield made
    made.close()


def all_die(crew: RayCrew) -> None:
    for worker in crew.live.values():
        os.kill(worker.about.pid, signal.SIGKILL)


def totals(backend: Any) -> dict[Any, float]:
    return {answer.request.key: answer.total for answer in backend.loglikelihood(scoring_requests(20))}


def test_workers_that_all_die_are_replaced_by_some_that_open_the_new_weights(crew: RayCrew) -> None:
    pool, fresh = Pool(crew), open_backend(ModelOptions(OTHER, backend="scripted"))
    before = totals(pool)
    all_die(crew)
    pool.load_weights(OTHER)
    assert pool.info.model_identity == fresh.info.model_identity
    after, expected = totals(pool), totals(fresh)
    assert after.keys() == expected.keys() == before.keys()
    assert all(after[key] == pytest.approx(expected[key], abs=1e-6) != before[key] for key in after)
    assert sum("A worker died (process" in note for note in crew.notes) == 2


def test_where_none_can_take_their_place_the_reason_is_raised(crew: RayCrew) -> None:
    all_die(crew)
    with pytest.raises(ModelError, match=r"cannot read the table of answers /nowhere\.jsonl"):
        Pool(crew).load_weights("/nowhere.jsonl")

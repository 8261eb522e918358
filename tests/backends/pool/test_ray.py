"""The pool on a real Ray: one machine, and a cluster of three nodes of which one goes away."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import ArgumentError, BackendError, ModelError
from benchbench.core.settings import changed
from benchbench.runner.events import Event, Progress
from benchbench.runner.run import RunResult, run
from benchbench.store.frames import load_items
from tests import models
from tests.runner.toy import make_world, settings

ray = pytest.importorskip("ray")

from benchbench.backends.pool import pool as pool_module  # noqa: E402
from benchbench.backends.pool.cluster import Share, share_out  # noqa: E402
from benchbench.backends.pool.pool import Pool  # noqa: E402
from benchbench.backends.pool.ray import RayCrew, open_pool  # noqa: E402

GPUS = [{"GPU": 8.0, "CPU": 64.0}]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that no worker is done before something happens to it."""
    monkeypatch.setitem(pool_module.SMALLEST, "cpu", 300)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(models.tiny_llama(tmp_path_factory.mktemp("llama")))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), quiz=120, write=60)


def of_workers(options: ModelOptions, **more: Any) -> ModelOptions:
    return replace(options, **{"workers": "2", **more})


def test_each_gpu_has_a_worker_or_each_group_of_them() -> None:
    options = ModelOptions("m", workers="auto")
    assert share_out(options, GPUS) == (8, Share(cores=1, gpus=1))
    assert share_out(replace(options, workers="3"), GPUS) == (3, Share(cores=1, gpus=1))
    parallel = replace(options, backend="vllm", model_args=(("tensor_parallel_size", "4"),))
    assert share_out(parallel, GPUS) == (2, Share(cores=1, gpus=4))
    with pytest.raises(ArgumentError, match=r"--workers 9 with 1 GPU.* more than the 8 that Ray sees"):
        share_out(replace(options, workers="9"), GPUS)
    with pytest.raises(ArgumentError, match="more than the 8"):
        share_out(replace(parallel, workers="3"), GPUS)
    with pytest.raises(ArgumentError, match="--device cuda:1 names one GPU"):
        share_out(replace(options, device="cuda:1"), GPUS)


def test_workers_on_processors_share_them_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    options = ModelOptions("m", device="cpu", workers="auto")
    assert share_out(options, GPUS) == (16, Share(cores=4, threads=4))
    assert share_out(replace(options, workers="5"), GPUS) == (5, Share(cores=12, threads=12))
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert share_out(options, GPUS) == (32, Share(cores=2, threads=2))
    with pytest.raises(ArgumentError, match="--workers 65: Ray sees 64 processor cores"):
        share_out(replace(options, workers="65"), GPUS)


@pytest.mark.slow
class TestOnOneMachine:
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def here(cls) -> Iterator[None]:
        ray.init(num_cpus=4, num_gpus=0, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()

    def test_two_workers_give_the_items_of_one_to_the_last_bit(self, model: str, world: Path, tmp_path: Path) -> None:
        options = ModelOptions(model, backend="hf", device="cpu")
        done = [ran(world, tmp_path / count, of_workers(options, workers=count)) for count in ("1", "2")]
        assert done[0].record.run_id == done[1].record.run_id
        assert values(tmp_path / "1") == values(tmp_path / "2")
        assert done[1].record.failed_share == 0

    def test_a_model_that_is_not_there_is_said_once(self) -> None:
        with pytest.raises(ModelError, match="nowhere"):
            open_pool(of_workers(ModelOptions("/nowhere", backend="hf", device="cpu")))

    def test_a_process_that_is_killed_costs_nothing(self, model: str, world: Path, tmp_path: Path) -> None:
        options = ModelOptions(model, backend="hf", device="cpu")
        ran(world, tmp_path / "one", of_workers(options, workers="1"))
        crew = RayCrew(options, 2, Share(cores=1, threads=1))
        result = ran(world, tmp_path / "two", options, Pool(crew), at=100, do=lambda: kill(crew))
        assert values(tmp_path / "two") == values(tmp_path / "one")
        assert result.record.failed_share == 0
        assert any("A worker died (process" in note for note in crew.notes)
        crew.close()

    def test_a_cluster_that_does_not_answer_is_said(self) -> None:
        ray.shutdown()
        with pytest.raises(BackendError, match=r"--ray-address 127.0.0.1:9: no cluster answers there"):
            open_pool(of_workers(ModelOptions("hash", backend="scripted"), ray_address="127.0.0.1:9"))


@pytest.mark.slow
def test_a_node_that_goes_away_and_a_worker_that_is_killed_change_nothing(
    model: str, world: Path, tmp_path: Path
) -> None:
    from ray.cluster_utils import Cluster

    options = ModelOptions(model, backend="hf", device="cpu")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes()
        ran(world, tmp_path / "one", options, one := Pool(RayCrew(options, 1, Share(cores=1, threads=1))))
        one.close()
        crew = RayCrew(options, 3, Share(cores=1, threads=1))
        while len(crew.workers()) < 3:
            time.sleep(0.1)

        def both() -> None:
            kill(crew)
            cluster.remove_node(nodes[0], allow_graceful=False)

        result = ran(world, tmp_path / "three", options, Pool(crew), at=60, do=both)
        assert result.record.failed_share == 0
        assert values(tmp_path / "three") == values(tmp_path / "one")
        assert any("A worker died" in note for note in crew.notes)
        crew.close()
    finally:
        ray.shutdown()
        cluster.shutdown()


def ran(
    world: Path,
    output: Path,
    options: ModelOptions,
    pool: Pool | None = None,
    *,
    at: int = 0,
    do: Callable[[], object] = lambda: None,
) -> RunResult:
    """A run of the toy tasks; when the `at`-th answer comes in, `do` happens."""
    count = 0

    def watch(event: Event) -> None:
        nonlocal count
        if isinstance(event, Progress):
            count += 1
            if count == at:
                do()

    return run(changed(settings(world), output=output, model=options), on_event=watch, backend=pool)


def kill(crew: RayCrew) -> None:
    os.kill(next(iter(crew.live.values())).about.pid, signal.SIGKILL)


def values(results: Path) -> list[Any]:
    frame = load_items(results, columns=["task", "doc_id", "loglikelihoods", "texts", "outcome"])
    return sorted(map(repr, frame.to_dict("records")))

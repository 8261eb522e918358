"""Sweeps on a real Ray: three nodes on this machine, of which one goes away, and workers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.settings import changed
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep import SweepResult, sweep
from benchbench.runner.sweep.session import CheckpointFinished, SweepEvent
from benchbench.store.frames import load_items
from tests.conftest import REPO
from tests.extensions.slurm.site import descendants, processes
from tests.runner.sweep.series import impatient, mpt_series, on_folder, results
from tests.runner.toy import make_world

ray = pytest.importorskip("ray", reason="needs Ray: pip install 'benchbench-eval[ray]'")
pytestmark = pytest.mark.slow

STEPS = (10, 20, 30, 40, 50, 60, 70, 80)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world"), quiz=60, write=20)


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mpt_series(tmp_path_factory.mktemp("csmpt"), STEPS)


@pytest.fixture(scope="module")
def local(world: Path, series: Path, tmp_path_factory: pytest.TempPathFactory) -> SweepResult:
    return sweep(on_folder(world, series, tmp_path_factory.mktemp("local")), readiness=impatient())


def patient(start: Callable[[], Any]) -> Any:
    """Ray gives a node 30 seconds to start, which on a busy machine are not enough."""
    for _ in range(4):
        try:
            return start()
        except Exception as error:  # noqa: BLE001 - Ray raises nothing more precise
            last = error
    raise last


class ThreeNodes:
    """A cluster of three nodes with a core each."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = patient(
            lambda: Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        )
        self.others = [patient(lambda: self.cluster.add_node(num_cpus=1)) for _ in range(2)]
        self.cluster.wait_for_nodes()

    def kill_a_worker(self) -> None:
        """With signal 9, one that is at work."""
        mine = set(descendants(os.getpid()))
        found = [pid for pid, line in processes().items() if "ray::RayWorker" in line and pid in mine]
        at_work = [pid for pid in found if "." in processes()[pid]]
        os.kill((at_work or found)[0], signal.SIGKILL)

    def lose_a_node(self) -> None:
        self.cluster.remove_node(self.others.pop(), allow_graceful=False)


@pytest.fixture
def nodes() -> Iterator[ThreeNodes]:
    nodes = ThreeNodes()
    try:
        yield nodes
    finally:
        ray.shutdown()
        nodes.cluster.shutdown()


def on_cluster(settings: SweepSettings, address: str, workers: str = "3") -> SweepSettings:
    return replace(settings, run=changed(settings.run, workers=workers, ray_address=address))


def items(result: SweepResult) -> list[Any]:
    frame = load_items(result.folder.output, columns=["task", "doc_id", "step", "outcome", "loglikelihoods", "texts"])
    return sorted(map(repr, frame.to_dict("records")))


def at(count: int, do: Callable[[], object], told: list[SweepEvent]) -> Callable[[SweepEvent], None]:
    """Notes events; when the `count`-th checkpoint is finished, `do` happens."""

    def watch(event: SweepEvent) -> None:
        told.append(event)
        finished = sum(isinstance(one, CheckpointFinished) for one in told)
        if isinstance(event, CheckpointFinished) and finished == count:
            do()

    return watch


def test_a_node_that_is_lost_and_a_worker_that_is_killed_change_nothing(
    world: Path, series: Path, local: SweepResult, nodes: ThreeNodes, tmp_path: Path
) -> None:
    told: list[SweepEvent] = []

    def both() -> None:
        nodes.kill_a_worker()
        nodes.lose_a_node()

    settings = on_cluster(on_folder(world, series, tmp_path / "ray"), nodes.cluster.address)
    result = sweep(settings, on_event=at(2, both, told), readiness=impatient())
    said = [getattr(event, "text", "") for event in told]
    assert [done.step for done in result.done] == list(STEPS), said
    assert any("A worker died" in text for text in said)
    assert results(result.folder) == results(local.folder), "byte for byte, every item once"
    assert len(set(items(result))) == len(items(result)) == len(STEPS) * 80


def test_the_head_killed_the_same_command_ends_with_the_same_results(
    world: Path, series: Path, local: SweepResult, nodes: ThreeNodes, tmp_path: Path
) -> None:
    line = [sys.executable, "-m", "benchbench", "sweep", "--model", series, "--tasks", "toy"]
    line += ["--include-path", world / "tasks", "--data-root", world / "hub", "--output", tmp_path / "ray"]
    line += ["--engine", "ray", "--ray-address", nodes.cluster.address, "--workers", "3"]
    env = {**os.environ, "PYTHONPATH": str(REPO)}
    process = subprocess.Popen(list(map(str, line)), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while not list((tmp_path / "ray").glob("sweeps/*/units/*/done.json")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.2)
    process.kill()
    process.wait()
    done = subprocess.run(list(map(str, line)), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "ray/sweeps").iterdir()
    assert results(type(local.folder)(folder)) == results(local.folder)

"""The script of docs/clusters.md in a real Slurm: Ray over the nodes of one job, and a sweep and a run in it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.backends.engines import ModelOptions
from benchbench.core.settings import changed
from benchbench.runner.run import run
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.folder import SweepWriter
from benchbench.store.folder import RunFolder
from tests import models
from tests.conftest import REPO
from tests.extensions.slurm.site import Site, descendants, missing, processes, until
from tests.runner.sweep.series import impatient, mpt_series, on_folder, results
from tests.runner.toy import comparable, make_world, part_bytes, settings
from tests.test_readme import write_files

pytest.importorskip("ray", reason="needs Ray: pip install 'benchbench-eval[ray]'")
pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm is here")]
STEPS = (10, 20, 30, 40, 50, 60, 70, 80)


class Job:
    """The script as the page tells to submit it."""

    def __init__(self, site: Site, folder: Path, world: Path, verb: str, model: Path) -> None:
        self.site, self.results, self.log = site, folder / verb, folder / f"{verb}.log"
        write_files(REPO / "docs/clusters.md", folder)
        self.line = ["sbatch", "--parsable", "--time=0:55:00", f"--output={self.log}", folder / "ray.sbatch", verb]
        self.line += ["--model", model, "--tasks", "toy", "--include-path", world / "tasks"]
        self.line += ["--data-root", world / "hub", "--output", self.results]
        self.job = ""

    def submit(self) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {**os.environ, "PATH": path, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(list(map(str, self.line)), env=env, capture_output=True, text=True, check=True)
        self.job = done.stdout.strip()

    @property
    def state(self) -> str:
        return self.site.ask("squeue", "-h", "-t", "all", "-j", self.job, "-o", "%T").strip()

    @property
    def done(self) -> int:
        return len(list(self.results.glob("sweeps/*/units/*/done.json")))

    def wait_until_done(self, count: int) -> None:
        until(lambda: self.done >= count or self.state not in ("PENDING", "RUNNING"), 300, f"for {count} checkpoints")
        assert self.done >= count, self.log.read_text()

    def wait(self) -> None:
        until(lambda: self.state not in ("PENDING", "RUNNING", "COMPLETING"), 600, "for the end of the job")


def workers_of(site: Site) -> list[int]:
    """Processes of Ray's workers in jobs of this Slurm."""
    steps = [pid for pid, line in processes().items() if "slurmstepd" in line]
    below = {child for step in steps for child in descendants(step)}
    return [pid for pid, line in processes().items() if "ray::RayWorker" in line and pid in below]


def test_a_job_that_is_cancelled_loses_a_node_and_a_worker_gives_the_results_of_the_local_engine(
    site: Site, tmp_path: Path
) -> None:
    world = make_world(tmp_path / "world", quiz=60, write=20)
    series = mpt_series(tmp_path / "csmpt", STEPS)
    job = Job(site, tmp_path, world, "sweep", series)
    job.submit()
    job.wait_until_done(1)
    site.ask("scancel", job.job)
    job.wait()
    assert job.done < len(STEPS)
    job.submit()
    job.wait_until_done(3)
    os.kill(workers_of(site)[-1], signal.SIGKILL)
    job.wait_until_done(4)
    site.kill_node("n2")
    job.wait()
    site.start_node("n2")
    assert job.state == "COMPLETED", job.log.read_text()
    assert "A worker died" in job.log.read_text()
    local = sweep(on_folder(world, series, tmp_path / "local"), readiness=impatient())
    (folder,) = (job.results / "sweeps").iterdir()
    assert len(SweepWriter(folder).all_done()) == len(STEPS)
    assert results(SweepWriter(folder)) == results(local.folder)


def test_a_run_on_two_nodes_gives_the_results_of_one_process(site: Site, tmp_path: Path) -> None:
    world = make_world(tmp_path / "world", quiz=60, write=20)
    model = models.tiny_mpt(tmp_path / "csmpt")
    job = Job(site, tmp_path, world, "run", model)
    job.submit()
    job.wait()
    assert job.state == "COMPLETED", job.log.read_text()
    alone = run(changed(settings(world), output=tmp_path / "alone", model=ModelOptions(str(model), device="cpu")))
    (path,) = [found.parent for found in job.results.glob("*/*/run.json")]
    assert part_bytes(path) == part_bytes(alone.path)
    spread, plain = comparable(RunFolder(path).record()), comparable(alone.record)
    assert spread.pop("backend") != plain.pop("backend"), "the record tells of the workers"
    assert spread == plain

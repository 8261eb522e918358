"""Real Slurm, two nodes, started here: what is cancelled, killed, preempted or told to stop is done in the end."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.runner.slurm.cluster import Cluster
from benchbench.runner.slurm.engine import submit
from benchbench.runner.slurm.folder import sent
from benchbench.runner.slurm.status import with_queue
from benchbench.runner.sweep.status import status_of
from benchbench.runner.sweep.sweep import sweep
from tests.runner.slurm.site import NODES, Site, missing, until
from tests.runner.sweep.series import impatient, mpt_series, on_folder, on_list, results, scripted_list
from tests.runner.toy import comparable, make_world

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm is here")]
LOW = Cluster(partition="low", time="0:10:00", mem="500M", setup="export HF_HUB_OFFLINE=1")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("slurm"))
    try:
        site.start()
        yield site
    finally:
        site.stop()


class Eight:
    """A sweep over eight scripted checkpoints whose units take seconds."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.world = make_world(folder / "world", quiz=40, write=16)
        self.listed = scripted_list(folder, 8, delay=0.25)
        self.settings = self.into("results")
        self.sent = submit(self.settings, LOW, readiness=impatient())
        (self.array,) = self.sent.arrays

    def into(self, name):
        return on_list(self.world, self.listed, self.folder / name)

    def task(self, index):
        """(state, node, restarts) of an array task."""
        return self.site.tasks().get(f"{self.array.job}_{index}", ("PENDING", "", 0))

    def scored(self, index):
        """Items of the task's unit that are on disk while it is at work."""
        step = self.array.units[index].checkpoint.step
        files = (self.folder / "results").glob(f"*@step{step}/*/items/*/live.jsonl")
        return sum(file.read_bytes().count(b"\n") for file in files)

    def at_work(self, *but):
        """A running task that has scored something, but is not about to end."""

        def found():
            return [
                index for index in range(8)
                if index not in but and self.task(index)[0] == "RUNNING" and 2 <= self.scored(index) <= 30
            ]  # fmt: skip

        until(found, 90, "for a task at work")
        return found()[0]

    def finished(self):
        """Nothing waits or runs any more."""
        one = [task.task.kind for task in sent(self.sent.folder).values() if task.task is not None]
        return all(kind == "ended" for kind in one)

    def sessions(self, index):
        """How often the run of the task's unit was opened."""
        step = self.array.units[index].checkpoint.step
        (log,) = (self.folder / "results").glob(f"*@step{step}/*/log.jsonl")
        return log.read_text().count('"session"')

    def status(self):
        return with_queue(status_of(self.sent.folder, self.settings), sent(self.sent.folder))


def test_whatever_happens_to_tasks_and_nodes_resume_ends_with_the_results_of_the_local_engine(site, tmp_path):
    eight = Eight(site, tmp_path)
    job = eight.array.job
    cancelled = eight.at_work()
    site.ask("scancel", f"{job}_{cancelled}")
    told = eight.at_work(cancelled)
    site.ask("scancel", "--batch", "--signal=USR1", f"{job}_{told}")
    until(lambda: eight.task(told)[0] == "PENDING", 30, "for the requeue before the time limit")
    preempted = eight.at_work(cancelled, told)
    node = eight.task(preempted)[1]
    subprocess.run(
        ["sbatch", "-p", "urgent", "-w", node, "--mem=100M", "-o", "/dev/null", "--wrap", "sleep 2"], check=True
    )
    until(lambda: eight.task(preempted)[0] != "RUNNING", 60, "for the preemption")
    lost = eight.at_work(cancelled, told, preempted)
    node = eight.task(lost)[1]
    site.kill_node(node)
    until(lambda: eight.task(lost)[0] != "RUNNING", 60, "for the loss of the node")
    site.start_node(node)
    until(eight.finished, 240, "for the end of the array")
    for index in (told, preempted, lost):
        assert (eight.task(index)[0], eight.task(index)[2]) == ("COMPLETED", 1)
        assert eight.sessions(index) == 2
    missing_step = eight.array.units[cancelled].checkpoint.step
    (left,) = [unit for unit in eight.status() if unit.state != "done"]
    assert (left.step, left.state) == (missing_step, "to do")
    assert f"job {job}_{cancelled}: its job was cancelled" in left.why
    again = submit(eight.settings, LOW, readiness=impatient())
    assert [unit.checkpoint.step for unit in again.arrays[0].units] == [missing_step]
    assert submit(eight.settings, LOW, readiness=impatient()).queued == 1
    until(eight.finished, 90, "for what was submitted again")
    assert {unit.state for unit in eight.status()} == {"done"}
    local = sweep(eight.into("local"), readiness=impatient())
    assert results(again.folder) == results(local.folder)
    assert submit(eight.settings, LOW, readiness=impatient()).arrays == ()


def test_real_models_score_on_nodes_as_they_do_here(site, tmp_path):
    world = make_world(tmp_path / "world")
    series = mpt_series(tmp_path / "csmpt", (5, 20, 100))
    sent_now = submit(on_folder(world, series, tmp_path / "results"), LOW, readiness=impatient())
    until(lambda: len(sent_now.folder.all_done()) == 3, 180, "for three checkpoints")
    local = sweep(on_folder(world, series, tmp_path / "local"), readiness=impatient())
    here, there = results(local.folder), results(sent_now.folder)
    assert list(here) == list(there) == [5, 20, 100]
    assert {step: comparable(record) for step, (record, _) in here.items()} == {
        step: comparable(record) for step, (record, _) in there.items()
    }
    assert [parts for _, parts in here.values()] == [parts for _, parts in there.values()]


def test_a_task_that_slurm_refuses_is_a_sentence_and_leaves_no_array_behind(site, tmp_path):
    world = make_world(tmp_path / "world")
    settings = on_list(world, scripted_list(tmp_path, 2), tmp_path / "results")
    from benchbench.core.errors import BackendError

    wrong = Cluster(partition="low", time="0:10:00", sbatch=("--constraint=h100",))
    with pytest.raises(BackendError, match="sbatch refused: .*[Ii]nvalid feature"):
        submit(settings, wrong, readiness=impatient())
    assert not list((tmp_path / "results").glob("sweeps/*/slurm/1"))


def test_the_command_submits_shows_and_resumes(site, tmp_path):
    world = make_world(tmp_path / "world")
    listed = scripted_list(tmp_path, 2)
    file = tmp_path / "cluster.yaml"
    file.write_text("partition: low\ntime: 0:10:00\nmem: 500M\nsetup: |\n  export HELLO=1\n")
    options = [
        "--backend",
        "scripted",
        "--tasks",
        "toy",
        "--include-path",
        world / "tasks",
        "--data-root",
        world / "hub",
    ]
    place = ["--output", tmp_path / "results"]

    def ask(*words):
        line = [sys.executable, "-m", "benchbench", "sweep", *map(str, words)]
        return subprocess.run(line, capture_output=True, text=True, check=False)

    first = ask("--checkpoints", listed, *options, *place, "--engine", "slurm", "--cluster", file)
    assert first.returncode == 0, first.stderr
    assert "Submitted job" in first.stderr
    assert "queued" in (said := ask("status", *place)).stdout or "running" in said.stdout
    until(lambda: ask("status", *place).stdout.count(" done ") == 2, 60)
    assert "Nothing is missing" in ask("resume", *place).stderr
    assert NODES == ("n1", "n2")

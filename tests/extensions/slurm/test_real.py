"""Real Slurm, two nodes, started here: what is cancelled, killed, preempted or told to stop is done in the end."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.engine import submit
from benchbench.extensions.slurm.folder import sent, with_queue
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.folder import SweepWriter, status_of
from tests.extensions.slurm.site import Site, missing, until
from tests.runner.sweep.series import impatient, mpt_series, on_folder, on_list, results, scripted_list
from tests.runner.toy import comparable, make_world

pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm is here")]
LOW = Cluster(partition="low", time="0:10:00", mem="500M", setup="export HF_HUB_OFFLINE=1")

DELAYS = (0.5, 0.5, 2.0, 2.0, 1.0, 1.0, 0.3, 0.3)
"""Seconds that a batch of each task takes, so that there is time to do something to it; a unit has 14 batches."""


class Eight:
    """A sweep over eight scripted checkpoints."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site, self.folder = site, folder
        self.world = make_world(folder / "world", quiz=16, write=8)
        self.listed = folder / "checkpoints.jsonl"
        lines = [
            {"step": 80 - 10 * n, "path": f"hash,salt={n},delay={delay}", "tokens": None}
            for n, delay in enumerate(DELAYS)
        ]
        self.listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
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

        found = []

        def look():
            tasks = self.site.tasks()
            running = [n for n in range(8) if tasks.get(f"{self.array.job}_{n}", ("",))[0] == "RUNNING"]
            found.extend(n for n in running if n not in but and 2 <= self.scored(n) <= 6)
            return found

        until(look, 90, "for a task at work")
        return found[0]

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


def signal_before_the_time_limit(task, heard):
    """scancel sends a signal again and again until a task that goes back into the queue has begun anew."""
    process = subprocess.Popen(["scancel", "--batch", "--signal=USR1", task])
    try:
        until(heard, 30, "for the requeue before the time limit")
    finally:
        process.kill()
        process.wait()


def test_whatever_happens_to_tasks_and_nodes_resume_ends_with_the_results_of_the_local_engine(site, tmp_path):
    eight = Eight(site, tmp_path)
    here = Thread(target=sweep, args=(eight.into("local"),), kwargs={"readiness": impatient()})
    here.start()
    job = eight.array.job
    cancelled = eight.at_work()
    site.ask("scancel", f"{job}_{cancelled}")
    told = eight.at_work(cancelled)
    signal_before_the_time_limit(f"{job}_{told}", lambda: eight.task(told)[0] == "PENDING")
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
    here.join()
    local = SweepWriter.of(eight.into("local"))
    assert len(local.all_done()) == 8
    assert results(again.folder) == results(local)
    assert submit(eight.settings, LOW, readiness=impatient()).arrays == ()


def test_real_models_score_on_nodes_as_they_do_here(site, tmp_path):
    world = make_world(tmp_path / "world")
    series = mpt_series(tmp_path / "csmpt", (5, 20, 100))
    sent_now = submit(on_folder(world, series, tmp_path / "results"), LOW, readiness=impatient())
    until(lambda: len(sent_now.folder.all_done()) == 3, 900, "for three checkpoints")
    local = sweep(on_folder(world, series, tmp_path / "local"), readiness=impatient())
    here, there = results(local.folder), results(sent_now.folder)
    assert list(here) == list(there) == [5, 20, 100]
    assert {step: comparable(record) for step, (record, _) in here.items()} == {
        step: comparable(record) for step, (record, _) in there.items()
    }
    assert [parts for _, parts in here.values()] == [parts for _, parts in there.values()]


def test_a_unit_longer_than_the_time_limit_is_told_in_time_and_goes_on_in_a_second_turn(site, tmp_path):
    world = make_world(tmp_path / "world", quiz=64, write=0)
    settings = on_list(world, scripted_list(tmp_path, 1, delay=2.7), tmp_path / "results", task_groups=("toy_quiz",))
    sent_now = submit(settings, replace(LOW, time="0:03:00", signal=60), readiness=impatient())
    until(sent_now.folder.all_done, 400, "for two turns")
    log = (sent_now.arrays[0].path / "0.log").read_text()
    assert log.count("The time limit is near: back into the queue.") == 1
    (events,) = (tmp_path / "results").glob("*/*/log.jsonl")
    assert events.read_text().count('"session"') == 2
    quick = on_list(world, scripted_list(tmp_path, 1), tmp_path / "local", task_groups=("toy_quiz",))
    (there,), (here,) = (results(one).values() for one in (sent_now.folder, sweep(quick, readiness=impatient()).folder))
    assert there[1] == here[1], "the same items to the byte"


def test_a_task_that_slurm_refuses_is_a_sentence_and_leaves_no_array_behind(site, tmp_path):
    world = make_world(tmp_path / "world")
    settings = on_list(world, scripted_list(tmp_path, 2), tmp_path / "results")
    from benchbench.core.errors import BackendError

    wrong = Cluster(partition="low", time="0:10:00", sbatch=("--constraint=h100",))
    with pytest.raises(BackendError, match=r"sbatch refused: .*[Ii]nvalid feature"):
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

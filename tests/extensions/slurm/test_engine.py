import json
import os
import signal
import subprocess
import time

import pytest

from benchbench.core.errors import ArgumentError, RunInUse
from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.engine import script, submit
from benchbench.extensions.slurm.folder import arrays, kept_cluster, sent, with_queue
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.folder import status_of
from benchbench.store.lock import RunLock
from tests.extensions.slurm.fake import run_task
from tests.runner.sweep.series import impatient, on_folder, on_list, results, scripted_list
from tests.runner.toy import make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def settings(world, tmp_path):
    return on_list(world, scripted_list(tmp_path, 3), tmp_path / "results")


def send(settings, cluster=Cluster()):  # noqa: B008 - frozen
    return submit(settings, cluster, readiness=impatient())


def shown(sweep_folder, settings):
    return {one.step: one for one in with_queue(status_of(sweep_folder, settings), sent(sweep_folder))}


def test_one_array_task_for_each_unit_newest_first(slurm, settings):
    sent_now = send(settings, Cluster(parallel=2))
    (array,) = sent_now.arrays
    assert [unit.checkpoint.step for unit in array.units] == [30, 20, 10]
    assert (array.job, slurm.asked("sbatch")) == ("101", [f"--parsable {array.path}/job.sh"])
    assert arrays(sent_now.folder) == [array]
    assert "#SBATCH --array=0-2%2\n" in (array.path / "job.sh").read_text()
    assert kept_cluster(sent_now.folder) == Cluster(parallel=2)


def test_a_task_does_its_unit_and_the_results_are_those_of_the_local_engine(slurm, settings, world, tmp_path):
    scripted_list(tmp_path, 1)
    (array,) = send(settings).arrays
    done = run_task(array.path, 0)
    assert done.returncode == 0, done.stderr
    local = sweep(on_list(world, tmp_path / "checkpoints.jsonl", tmp_path / "local"), readiness=impatient())
    assert results(array.sweep) == results(local.folder)
    again = send(settings)
    assert (again.arrays, again.done) == ((), 1)
    before = (array.sweep.path / "units/series@10/done.json").read_bytes()
    assert run_task(array.path, 0).returncode == 0
    assert (array.sweep.path / "units/series@10/done.json").read_bytes() == before, "done is not done again"


def test_only_what_is_neither_done_nor_queued_is_submitted_again(slurm, settings):
    first = send(settings)
    (array,) = first.arrays
    name = array.name
    assert run_task(array.path, 0).returncode == 0
    slurm.queue(f"101|0|{name}|COMPLETED|n1|None", f"101|1|{name}|RUNNING|n1|None", f"101|2|{name}|CANCELLED||None")
    second = send(settings)
    assert [unit.checkpoint.step for unit in second.arrays[0].units] == [10]
    assert (second.done, second.queued) == (1, 1)
    assert second.arrays[0].path.name == "2"


def test_status_says_what_the_queue_says(slurm, settings):
    sent_now = send(settings)
    (array,) = sent_now.arrays
    name = array.name
    slurm.queue(
        f"101|0|{name}|OUT_OF_MEMORY|n3|OutOfMemory",
        f"101|1|{name}|RUNNING|n1|None",
        f"101|2|{name}|PENDING||Priority",
    )
    (array.path / "0.log").write_text("something\nerror: no luck\n")
    units = shown(sent_now.folder, settings)
    assert [units[step].state for step in (30, 20, 10)] == ["to do", "running", "queued"]
    assert units[10].why == "job 101_2: Priority"
    assert units[20].why == "job 101_1 on n1, running"
    assert units[30].why.startswith("job 101_0: the scheduler killed it because it needed more memory")
    assert units[30].why.endswith("(on n3). It said: no luck")
    slurm.queue()
    (array.path / "0.log").unlink()
    assert shown(sent_now.folder, settings)[30].why == "job 101_0: the cluster has forgotten its job"


def test_more_units_than_an_array_may_have_become_several_arrays(slurm, settings):
    slurm.write("most", "3")
    sent_now = send(settings)
    assert [len(array.units) for array in sent_now.arrays] == [2, 1]
    assert [array.job for array in sent_now.arrays] == ["101", "102"]
    assert sent_now.arrays[1].units[0].checkpoint.step == 10


def test_a_dry_run_prints_the_script_and_leaves_nothing_behind(slurm, settings):
    text = script(settings, Cluster(partition="gpu"))
    assert "#SBATCH --array=0-2\n" in text
    assert str(settings.run.output) in text
    assert not settings.run.output.exists()
    assert slurm.asked("sbatch") == []
    (array,) = send(settings, Cluster(partition="gpu")).arrays
    assert (array.path / "job.sh").read_text() == text


def test_a_checkpoint_that_is_not_whole_is_passed_over_and_the_rest_submitted(slurm, settings, tmp_path):
    with (tmp_path / "checkpoints.jsonl").open("a") as file:
        file.write(json.dumps({"step": 40, "path": "./not/there"}) + "\n")
    sent_now = send(settings)
    assert [unit.checkpoint.step for unit in sent_now.arrays[0].units] == [30, 20, 10]
    ((unit, why),) = sent_now.skipped
    assert (unit.checkpoint.step, "there is no checkpoint at" in why) == (40, True)


def test_two_submissions_at_once_do_not_send_a_unit_twice(slurm, settings):
    folder = send(settings).folder
    with RunLock(folder.path / "slurm"), pytest.raises(RunInUse):
        send(settings)


def test_what_cannot_work_is_refused_before_anything_is_written(slurm, settings, world, tmp_path):
    with pytest.raises(ArgumentError, match=r"--watch waits for checkpoints in one process.*sweep resume"):
        send(on_folder(world, tmp_path, tmp_path / "results", watch=True))
    with pytest.raises(ArgumentError, match="no partition 'gpuu'"):
        send(settings, Cluster(partition="gpuu"))
    assert not settings.run.output.exists()


def begin(array, index=0):
    """A task whose worker has scored something."""
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": str(index), "SLURM_JOB_ID": "77"}
    with (array.path / f"{index}.log").open("w") as log:
        process = subprocess.Popen(["bash", array.path / "job.sh"], stdout=log, stderr=log, env=environment)
    deadline = time.monotonic() + 600
    while not any(file.stat().st_size for file in array.sweep.output.glob("*/*/items/*/live.jsonl")):
        assert process.poll() is None, (array.path / f"{index}.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(
    ("number", "code", "words", "requeued"),
    [
        (signal.SIGUSR1, 0, "back into the queue", ["requeue 77"]),
        pytest.param(signal.SIGTERM, 143, "Stopped from outside", [], marks=pytest.mark.slow),
    ],
)
def test_a_signal_stops_the_worker_between_items_and_the_next_turn_goes_on(
    slurm, world, tmp_path, number, code, words, requeued
):
    settings = on_list(world, scripted_list(tmp_path, 1, delay=0.2), tmp_path / "results")
    (array,) = send(settings).arrays
    process = begin(array)
    process.send_signal(number)
    assert process.wait(timeout=600) == code
    assert words in (array.path / "0.log").read_text()
    assert [call for call in slurm.asked("scontrol") if call.startswith("requeue")] == requeued
    assert run_task(array.path, 0).returncode == 0
    assert "goes on" not in (array.path / "0.log").read_text()
    local = sweep(on_list(world, tmp_path / "checkpoints.jsonl", tmp_path / "local"), readiness=impatient())
    assert results(array.sweep) == results(local.folder)


def test_a_task_whose_checkpoint_is_bad_fails_with_a_sentence_that_status_shows(slurm, world, tmp_path):
    listed = scripted_list(tmp_path, 1)
    listed.write_text(listed.read_text().replace("salt", "sald"))
    settings = on_list(world, listed, tmp_path / "results")
    sent_now = send(settings)
    (array,) = sent_now.arrays
    done = run_task(array.path, 0)
    assert done.returncode == 2
    assert "error: the scripted model has no option 'sald'" in done.stderr
    assert "Traceback" not in done.stderr
    slurm.queue(f"101|0|{array.name}|FAILED|n1|NonZeroExitCode")
    unit = shown(sent_now.folder, settings)[10]
    assert (unit.state, "no option 'sald'" in unit.why) == ("broken", True)

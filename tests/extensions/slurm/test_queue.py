from dataclasses import replace

import pytest

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.extensions.slurm import queue
from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.engine import check_fit, file_system
from benchbench.extensions.slurm.queue import Task

JOBS = {"101": "sweep-1", "102": "sweep-2"}


def test_the_queue_tells_state_node_and_reason_of_each_task(slurm):
    slurm.queue("101|0|sweep-1|RUNNING|n1|None", "101|1|sweep-1|PENDING||Resources", "102|0|sweep-2|FAILED|n2|NonZero")
    tasks = queue.tasks_of(JOBS)
    assert tasks["101", 0] == Task("RUNNING", "", "n1")
    assert (tasks["101", 1].kind, tasks["101", 1].reason) == ("queued", "Resources")
    assert tasks["102", 0].meaning == "its job failed (on n2)"
    assert slurm.asked("squeue") == ["-h -r -t all -j 101,102 -o %F|%K|%j|%T|%N|%r"]


def test_a_number_that_now_belongs_to_another_job_is_not_ours(slurm):
    slurm.queue("101|0|somebody|RUNNING|n1|None", "101|N/A|sweep-1|RUNNING|n1|None")
    assert queue.tasks_of(JOBS) == {}


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("OUT_OF_MEMORY", "more memory than it asked for; give more `mem`"),
        ("TIMEOUT", "at the time limit; give more `time`"),
        ("NODE_FAIL", "its node failed"),
        ("PREEMPTED", "make room for another job"),
        ("CANCELLED by 0", "was cancelled"),
    ],
)
def test_what_the_queue_forgot_is_asked_of_the_accounting(slurm, state, words):
    slurm.write("squeue.fails", "slurm_load_jobs error: Invalid job id specified")
    slurm.write("accounting", f"101_2|sweep-1|{state}|n7\n101_[3-5]|sweep-1|PENDING|None assigned\n")
    tasks = queue.tasks_of({"101": "sweep-1"})
    assert list(tasks) == [("101", 2)]
    assert words in tasks["101", 2].meaning
    assert tasks["101", 2].meaning.endswith(" (on n7)")


def test_without_accounting_a_forgotten_task_is_simply_not_known(slurm):
    assert queue.tasks_of(JOBS) == {}
    assert len(slurm.asked("sacct")) == 1


def test_a_controller_that_is_down_is_a_sentence_and_not_an_empty_queue(slurm):
    slurm.write("squeue.fails", "slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(BackendError, match=r"squeue refused: .*Unable to contact slurm controller"):
        queue.tasks_of(JOBS)


def test_no_slurm_here_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ArgumentError, match=r"there is no sinfo on this machine.*login node"):
        check_fit(Cluster(), tmp_path)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        (Cluster(partition="gpus"), "no partition 'gpus'; there are gpu, short. Did you mean gpu"),
        (Cluster(time="5:00:00"), "time is 5:00:00, but a job in partition gpu may run for 240 minutes"),
        (Cluster(cpus=32), "32 cpus, but no node of partition gpu has more than 16"),
        (Cluster(partition="short", gpus="1"), "1 gpus, but no node of partition short has more than 0"),
        (Cluster(gpus="a100:8"), "8 gpus, but no node of partition gpu has more than 4"),
        (Cluster(mem="1T"), "MB of mem, but no node of partition gpu has more than 64000"),
    ],
)
def test_what_no_node_can_give_is_refused(slurm, tmp_path, cluster, words):
    with pytest.raises(ArgumentError, match=words):
        check_fit(cluster, tmp_path)


def test_what_the_nodes_can_give_is_not(slurm, tmp_path):
    most = Cluster(partition="gpu", time="4:00:00", cpus=16, gpus="a100:4", mem="62G")
    check_fit(most, tmp_path)
    with pytest.raises(ArgumentError, match="17 cpus"):
        check_fit(replace(most, cpus=17), tmp_path)


def test_a_results_folder_on_this_machines_own_disk_is_refused_unless_it_is_served(slurm, tmp_path, monkeypatch):
    slurm.write("nodes", "gpu|node17|4:00:00|16|64000|gpu:4\n")
    monkeypatch.setattr("benchbench.extensions.slurm.engine.file_system", lambda path: "ext4")
    with pytest.raises(ArgumentError, match=r"on a disk of this machine .ext4., which node17 cannot see.*shared: true"):
        check_fit(Cluster(), tmp_path)
    check_fit(Cluster(shared=True), tmp_path)
    monkeypatch.setattr("benchbench.extensions.slurm.engine.file_system", lambda path: "lustre")
    check_fit(Cluster(), tmp_path)


def test_the_file_system_of_a_path_is_known(tmp_path):
    from pathlib import Path

    assert file_system(Path("/proc/self")) == "proc"
    assert file_system(tmp_path / "not" / "yet") == file_system(tmp_path)

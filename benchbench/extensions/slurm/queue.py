"""What the cluster says: the state of array tasks from squeue and sacct, what a partition has from sinfo."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.extensions.slurm.cluster import seconds

TaskId: TypeAlias = tuple[str, int]
"""(job, index in its array)."""
Kind: TypeAlias = Literal["queued", "running", "ended"]
PATIENCE = 60
"""Seconds in which the controller has to answer; a busy one takes some."""

_WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
_ENDED: Mapping[str, str] = {
    "COMPLETED": "its job ended without finishing it",
    "CANCELLED": "its job was cancelled",
    "FAILED": "its job failed",
    "TIMEOUT": "the scheduler killed it at the time limit; give more `time` in the cluster file",
    "OUT_OF_MEMORY": "the scheduler killed it because it needed more memory than it asked for; give more `mem` in the "
    "cluster file",
    "NODE_FAIL": "its node failed",
    "PREEMPTED": "it had to make room for another job",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "it could not end before the job's deadline",
    "REVOKED": "its job went to another cluster",
}
"""State of a job that is over → what that means for its unit, as the beginning of a sentence."""


@dataclass(frozen=True, slots=True)
class Task:
    """One array task as the cluster sees it."""

    state: str
    """Slurm's word, such as PENDING."""
    reason: str = ""
    """Why it waits or has failed, in Slurm's word."""
    node: str = ""

    @property
    def kind(self) -> Kind:
        """Whether it waits, runs or is over."""
        if self.state in _WAITING:
            return "queued"
        return "ended" if self.state in _ENDED else "running"

    @property
    def meaning(self) -> str:
        """Of a task that is over: what became of it."""
        where = f" (on {self.node})" if self.node else ""
        return _ENDED[self.state] + where


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a partition."""

    partition: str
    host: str
    limit: int | None
    """Seconds that a job may run there; None is no limit."""
    cpus: int
    megabytes: int
    gpus: int


def call(command: str, *arguments: str) -> str:
    """What a Slurm command prints. ArgumentError if there is no Slurm here, BackendError with its words if it fails."""
    if shutil.which(command) is None:
        raise ArgumentError(
            f"there is no {command} on this machine, so no job can be submitted. Go where jobs are submitted (a login "
            "node), or leave --engine slurm out to work here."
        )
    try:
        done = subprocess.run(  # noqa: S603 - a list of words, no shell
            [command, *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE, errors="replace"
        )
    except subprocess.TimeoutExpired:
        raise BackendError(f"{command} did not answer within {PATIENCE} s; the controller may be down.") from None
    if done.returncode != 0:
        text = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BackendError(f"{command} refused: {text}")
    return done.stdout


def tasks_of(jobs: Mapping[str, str]) -> dict[TaskId, Task]:
    """The array tasks of `jobs` (id → name) that the cluster still knows, in the queue or in its accounting.

    The name is compared because numbers begin again when a controller loses its memory.
    """
    if not jobs:
        return {}
    found = _from_queue(jobs)
    forgotten = {job: name for job, name in jobs.items() if not any(task[0] == job for task in found)}
    return {**_from_accounting(forgotten), **found}


def _from_queue(jobs: Mapping[str, str]) -> dict[TaskId, Task]:
    try:
        text = call("squeue", "-h", "-r", "-t", "all", "-j", ",".join(jobs), "-o", "%F|%K|%j|%T|%N|%r")
    except BackendError as error:
        if "Invalid job id" in str(error):  # it ended long ago
            return {}
        raise
    rows = (line.split("|", 5) for line in text.splitlines() if line.count("|") >= 5)
    return {
        (job, int(index)): Task(state, _reason(reason), node)
        for job, index, name, state, node, reason in rows
        if jobs.get(job) == name and index.isdecimal()
    }


def _from_accounting(jobs: Mapping[str, str]) -> dict[TaskId, Task]:
    """Many sites keep no accounting; then what the queue forgot is not known."""
    if not jobs or shutil.which("sacct") is None:
        return {}
    try:
        text = call("sacct", "-n", "-P", "-X", "-j", ",".join(jobs), "-o", "JobID,JobName,State,NodeList")
    except BackendError:
        return {}
    found = {}
    for line in text.splitlines():
        task, name, state, node = (*line.split("|"), "", "", "")[:4]
        job, _, index = task.partition("_")
        if jobs.get(job) == name and index.isdecimal() and state:
            found[job, int(index)] = Task(state.split()[0].rstrip("+"), "", _reason(node))
    return found


def _reason(text: str) -> str:
    return "" if text.strip("() ") in ("None", "None assigned", "n/a") else text.strip("() ")


def nodes() -> list[Node]:
    """Every node of every partition."""
    text = call("sinfo", "-h", "-N", "-o", "%R|%n|%l|%c|%m|%G")
    return [_node(line.split("|", 5)) for line in text.splitlines() if line.count("|") >= 5]


def _node(parts: list[str]) -> Node:
    partition, host, limit, cpus, megabytes, gres = parts
    gpus = sum(int(count) for count in re.findall(r"\bgpu(?::[^:,(\s]+)?:(\d+)", gres))
    return Node(partition, host, _limit(limit), _number(cpus), _number(megabytes), gpus)


def _limit(text: str) -> int | None:
    try:
        return seconds(text)
    except ArgumentError:  # infinite, n/a
        return None


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def most_in_array() -> int:
    """How many tasks one array may have."""
    found = re.search(r"MaxArraySize\s*=\s*(\d+)", call("scontrol", "show", "config"))
    return max(1, int(found[1]) - 1) if found else 1000


def default_partition() -> str | None:
    """The partition of a job that names none."""
    text = call("sinfo", "-h", "-o", "%P").split()
    return next((name.rstrip("*") for name in text if name.endswith("*")), None)


def submit(script: str) -> str:
    """Sends a job script and returns the job's number."""
    return call("sbatch", "--parsable", script).strip().split(";")[0]


def requeue(job: str) -> None:
    """Puts a running job back into the queue."""
    call("scontrol", "requeue", job)

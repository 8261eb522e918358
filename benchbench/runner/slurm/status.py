"""How far a sweep on Slurm is: what its folder says, and for what is not done, what the queue says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from benchbench.runner.slurm.folder import Sent
from benchbench.runner.sweep.status import UnitStatus

TAIL = 20_000
"""Bytes at the end of a log in which its last word is looked for."""


def with_queue(units: Iterable[UnitStatus], sent: Mapping[tuple[str, int, int], Sent]) -> list[UnitStatus]:
    """The units with the state of the array tasks that were last to do them."""
    return [_with_task(unit, sent.get(unit.place)) for unit in units]


def _with_task(unit: UnitStatus, sent: Sent | None) -> UnitStatus:
    if sent is None or unit.state == "done":
        return unit
    task = sent.task
    if task is not None and task.kind == "queued":
        reason = f": {task.reason}" if task.reason else ""
        return replace(unit, state="queued", why=f"job {sent.job}{reason}")
    if task is not None and task.kind == "running":
        where = f" on {task.node}" if task.node else ""
        return replace(unit, state="running", why=f"job {sent.job}{where}, {task.state.lower()}")
    if unit.state != "to do":
        return unit
    became = "the cluster has forgotten its job" if task is None else task.meaning
    return replace(unit, why=f"job {sent.job}: {became}{_last_word(sent.log)}")


def _last_word(log: Path) -> str:
    """The error at the end of a task's log, or where to look."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    errors = [line for line in lines if line.startswith("error: ")]
    return f". It said: {errors[-1].removeprefix('error: ')}" if errors else f". See {log}"

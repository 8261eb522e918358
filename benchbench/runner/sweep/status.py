"""How far a sweep is: every unit, whether done, being worked on, ready, still being written or broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchbench.core.errors import ArgumentError
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.runner.sweep.ready import Readiness
from benchbench.runner.sweep.settings import SweepSettings
from benchbench.runner.sweep.sweep import find_all
from benchbench.store.lock import is_held
from benchbench.store.sweeps import Done

UnitState: TypeAlias = Literal["done", "running", "queued", "to do", "being written", "broken"]


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit as it is now."""

    series: str
    step: int
    group: int
    state: UnitState
    why: str = ""
    """Why it is not done, where there is more to say."""
    done: Done | None = None


def status_of(folder: SweepWriter, settings: SweepSettings) -> list[UnitStatus]:
    """The units of the sweep by series and step; those whose checkpoint is gone are there if they are done.

    Loads no model and prepares no task, so units whose task files or data changed since are not noticed.
    """
    return _status(folder, settings, _checkpoints(settings))


def _checkpoints(settings: SweepSettings) -> list[Checkpoint]:
    try:
        return find_all(settings)
    except ArgumentError:
        return []


def _status(folder: SweepWriter, settings: SweepSettings, checkpoints: Iterable[Checkpoint]) -> list[UnitStatus]:
    readiness = Readiness(settle=0.0)
    found: dict[tuple[str, int, int], UnitStatus] = {
        (done.series, done.step, done.group): UnitStatus(done.series, done.step, done.group, "done", done=done)
        for done in folder.all_done()
    }
    for checkpoint in checkpoints:
        for group in range(len(settings.task_groups)):
            unit = Unit(checkpoint, group)
            found[unit.place] = _unit_status(folder, unit, readiness, found.get(unit.place))
    return [found[key] for key in sorted(found)]


def _unit_status(folder: SweepWriter, unit: Unit, readiness: Readiness, known: UnitStatus | None) -> UnitStatus:
    look = readiness.look(unit.checkpoint)
    place = unit.place
    done = None if known is None else known.done
    if known is not None and done is not None and done.stamp == look.stamp:
        return known
    said = folder.state(unit)
    if is_held(folder.unit_folder(unit)):
        return UnitStatus(
            *place, "running", f"process {said.get('pid')} on {said.get('host')}, since {said.get('since')}"
        )
    if look.state == "broken":
        return UnitStatus(*place, "broken", look.why)
    if look.state in ("incomplete", "settling"):
        return UnitStatus(*place, "being written", look.why)
    if said.get("state") == "passed over":
        return UnitStatus(*place, "broken", str(said.get("why", "")))
    if done is not None:
        return UnitStatus(*place, "to do", "the checkpoint was overwritten since it was scored")
    return UnitStatus(*place, "to do", "broken off; goes on where it was" if said else "")

"""How far a sweep is: every unit, whether done, being worked on, ready, still being written or broken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from benchbench.core.errors import ArgumentError
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.sweep.ready import Look, Readiness
from benchbench.runner.sweep.settings import SweepSettings
from benchbench.runner.sweep.sweep import find_all
from benchbench.runner.sweep.unit import SweepWriter, Unit
from benchbench.store.find import Done
from benchbench.store.lock import is_held

UnitState: TypeAlias = Literal["done", "running", "queued", "to do", "being written", "broken"]


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit as it is now."""

    series: str
    step: int | None
    group: int
    state: UnitState
    why: str = ""
    """Why it is not done, where there is more to say."""
    done: Done | None = None
    tokens_seen: int | None = None
    """As the checkpoint's own name or its list says."""

    @property
    def place(self) -> tuple[str, int, int]:
        """As `Unit.place`."""
        return (self.series, (self.tokens_seen or 0) if self.step is None else self.step, self.group)


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
        (done.series, done.position, done.group): UnitStatus(
            done.series, done.step, done.group, "done", done=done, tokens_seen=done.tokens_seen
        )
        for done in folder.all_done()
    }
    for checkpoint in checkpoints:
        for group in range(len(settings.task_groups)):
            unit = Unit(checkpoint, group)
            found[unit.place] = _unit_status(folder, unit, readiness, found.get(unit.place))
    return [found[key] for key in sorted(found)]


def _unit_status(folder: SweepWriter, unit: Unit, readiness: Readiness, known: UnitStatus | None) -> UnitStatus:
    look = readiness.look(unit.checkpoint)
    done = None if known is None else known.done
    if known is not None and done is not None and done.stamp == look.stamp:
        return known
    state, why = _state(folder, unit, look, was_done=done is not None)
    checkpoint = unit.checkpoint
    return UnitStatus(checkpoint.series, checkpoint.step, unit.group, state, why, tokens_seen=checkpoint.tokens_seen)


def _state(folder: SweepWriter, unit: Unit, look: Look, *, was_done: bool) -> tuple[UnitState, str]:
    said = folder.state(unit)
    if is_held(folder.unit_folder(unit)):
        return "running", f"process {said.get('pid')} on {said.get('host')}, since {said.get('since')}"
    if look.state == "broken":
        return "broken", look.why
    if look.state in ("incomplete", "settling"):
        return "being written", look.why
    if said.get("state") == "passed over":
        return "broken", str(said.get("why", ""))
    if was_done:
        return "to do", "the checkpoint was overwritten since it was scored"
    return "to do", "broken off; goes on where it was" if said else ""

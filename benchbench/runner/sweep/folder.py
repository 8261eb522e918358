"""The folder of a sweep: what is written there of each unit, and how far the sweep is by what lies there."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from benchbench.core.errors import ArgumentError, DamageError, StoreError
from benchbench.core.json_record import an_object
from benchbench.core.types import Json
from benchbench.runner.checkpoint import Checkpoint, Look, Readiness
from benchbench.runner.record import now
from benchbench.runner.settings import SweepSettings, from_json, model_places, to_json
from benchbench.runner.sweep.find import find_all
from benchbench.store.files import REPAIR, make_folder, read_json, remove_strays, write_json
from benchbench.store.find import SWEEP_SCHEMA_VERSION, SWEEPS, Done, SweepFolder
from benchbench.store.lock import is_held, shortly
from benchbench.store.names import folder_name, own_name


@dataclass(frozen=True, slots=True)
class Unit:
    """One checkpoint on one group of tasks: what a worker does at once."""

    checkpoint: Checkpoint
    group: int
    """Index into the sweep's task groups."""

    @property
    def place(self) -> tuple[str, int, int]:
        """Series, step (tokens where no step is known) and group: what tells it from the sweep's other units."""
        return (self.checkpoint.series, self.checkpoint.position, self.group)

    @property
    def id(self) -> str:
        """Its folder's name; unique in the sweep, because steps are."""
        name = f"{self.checkpoint.series}@{self.checkpoint.position}"
        return folder_name(name if self.group == 0 else f"{name}.{self.group}")


class SweepWriter(SweepFolder):
    """A sweep's folder with what an engine writes there. Many processes may, each for its own unit."""

    @classmethod
    def create(cls, settings: SweepSettings) -> SweepWriter:
        """The folder of this sweep, made if it is new. StoreError if it cannot be written."""
        folder = cls.of(settings)
        make_folder(folder.path)
        value: dict[str, Json] = {"schema_version": SWEEP_SCHEMA_VERSION, "asked": now(), "settings": to_json(settings)}
        with shortly(folder.path):
            remove_strays(folder.path, below=False)
            write_json(folder.path / "sweep.json", value, keep_copy=True)
        return folder

    @classmethod
    def of(cls, settings: SweepSettings) -> SweepWriter:
        """The folder that this sweep has, or would have."""
        names = settings.name or "+".join(map(own_name, model_places(settings)))
        path = settings.run.output / SWEEPS / folder_name(f"{names}-{settings.sweep_id()}")
        return cls(path if path.is_dir() else cls._moved(settings) or path)

    @classmethod
    def _moved(cls, settings: SweepSettings) -> Path | None:
        """The folder of this sweep in results that lay elsewhere when it was first asked for."""
        wanted = to_json(settings, only_identity=True)
        for path in sorted((settings.run.output / SWEEPS).glob("*/sweep.json")):
            with suppress(StoreError, ArgumentError):
                if to_json(cls(path.parent).settings(), only_identity=True) == wanted:
                    return path.parent
        return None

    def settings(self) -> SweepSettings:
        """What was asked, for the results folder that this one is in now. StoreError if sweep.json cannot be read."""
        try:
            asked = from_json(an_object(self.content()["settings"], f"`settings` of {self.path / 'sweep.json'}"))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamageError(f"{self.path / 'sweep.json'} is not as expected ({error!r}).{REPAIR}") from error
        return replace(asked, run=replace(asked.run, output=self.output))

    def unit_folder(self, unit: Unit) -> Path:
        """Where the unit's two files lie."""
        return self.path / "units" / unit.id

    def done(self, unit: Unit) -> Done | None:
        """The unit's done.json; None if the unit is not done."""
        return self.read_done(self.unit_folder(unit))

    def finish(self, unit: Unit, done: Done) -> None:
        """Writes done.json."""
        make_folder(self.unit_folder(unit))
        write_json(self.unit_folder(unit) / "done.json", done.to_json(), keep_copy=True)

    def note(self, unit: Unit, state: Literal["running", "passed over"], why: str = "") -> None:
        """Writes state.json: what a person who looks at an unfinished unit should know."""
        make_folder(self.unit_folder(unit))
        who: dict[str, Json] = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        noted: dict[str, Json] = {"state": state, "why": why, **who}
        write_json(self.unit_folder(unit) / "state.json", noted, keep_copy=True)

    def state(self, unit: Unit) -> dict[str, Json]:
        """What state.json says; {} where there is none, or a damaged one."""
        path = self.unit_folder(unit) / "state.json"
        with suppress(DamageError):
            return read_json(path) if path.is_file() else {}
        return {}


UnitState: TypeAlias = Literal["done", "running", "queued", "to do", "being written", "broken"]


@dataclass(frozen=True, slots=True)
class UnitStatus:
    """One unit as it is now."""

    series: str
    step: int | None
    group: int
    state: UnitState
    why: str = ""
    """Why it is not done, where that is known."""
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
    checkpoints: list[Checkpoint] = []
    with suppress(ArgumentError):
        checkpoints = find_all(settings)
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
    noted = folder.state(unit)
    if is_held(folder.unit_folder(unit)):
        return "running", f"process {noted.get('pid')} on {noted.get('host')}, since {noted.get('since')}"
    if look.state == "broken":
        return "broken", look.why
    if look.state in ("incomplete", "settling"):
        return "being written", look.why
    if noted.get("state") == "passed over":
        return "broken", str(noted.get("why", ""))
    if was_done:
        return "to do", "the checkpoint was overwritten since it was scored"
    return "to do", "broken off; goes on where it was" if noted else ""

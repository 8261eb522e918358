"""Writes a sweep's folder: what was asked, what becomes of each unit, and done.json as its last word."""

from __future__ import annotations

import os
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchbench.core.errors import StoreError
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.record import now
from benchbench.runner.sweep.settings import SweepSettings, from_json, to_json
from benchbench.store.files import make_folder, read_json, remove_strays, write_json
from benchbench.store.lock import shortly
from benchbench.store.names import folder_name, own_name
from benchbench.store.sweeps import SWEEPS, Done, SweepFolder

SCHEMA_VERSION = 1


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
        value = {"schema_version": SCHEMA_VERSION, "asked": now(), "settings": to_json(settings)}
        with shortly(folder.path):
            remove_strays(folder.path, below=False)
            write_json(folder.path / "sweep.json", value)
        return folder

    @classmethod
    def of(cls, settings: SweepSettings) -> SweepWriter:
        """The folder that this sweep has, or would have."""
        names = settings.name or "+".join(map(own_name, to_json(settings)["models"]))
        return cls(settings.run.output / SWEEPS / folder_name(f"{names}-{settings.sweep_id()}"))

    def settings(self) -> SweepSettings:
        """What was asked. StoreError if sweep.json is missing or damaged."""
        try:
            return from_json(self.content()["settings"])
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self.path / 'sweep.json'} is not as expected ({error!r}).") from error

    def unit_folder(self, unit: Unit) -> Path:
        """Where the unit's two files lie."""
        return self.path / "units" / unit.id

    def done(self, unit: Unit) -> Done | None:
        """The unit's done.json; None if the unit is not done."""
        return self.read_done(self.unit_folder(unit))

    def finish(self, unit: Unit, done: Done) -> None:
        """Writes done.json."""
        make_folder(self.unit_folder(unit))
        write_json(self.unit_folder(unit) / "done.json", asdict(done))

    def note(self, unit: Unit, state: Literal["running", "passed over"], why: str = "") -> None:
        """Writes state.json: what a person who looks at an unfinished unit should know."""
        make_folder(self.unit_folder(unit))
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        write_json(self.unit_folder(unit) / "state.json", {"state": state, "why": why, **who})

    def state(self, unit: Unit) -> dict[str, Any]:
        """What state.json says; {} where there is none."""
        path = self.unit_folder(unit) / "state.json"
        return read_json(path) if path.is_file() else {}

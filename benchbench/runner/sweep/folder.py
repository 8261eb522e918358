"""A sweep on disk: what was asked, and a folder per unit whose done.json says that the unit is done.

results/sweeps/<name>/sweep.json                what was asked
                      units/<unit>/state.json   what became of it last: running, passed over, failed
                                   done.json    which run holds its results; written last, by rename
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.record import now
from benchbench.runner.sweep.settings import SweepSettings, from_json, to_json
from benchbench.store.files import make_folder, read_json, write_json
from benchbench.store.folder import RunFolder
from benchbench.store.names import folder_name, model_name

SWEEPS = "sweeps"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """One checkpoint on one group of tasks: what a worker does at once."""

    checkpoint: Checkpoint
    group: int
    """Index into the sweep's task groups."""

    @property
    def id(self) -> str:
        """Its folder's name; unique in the sweep, because steps are."""
        name = f"{model_name(self.checkpoint.series)}@{self.checkpoint.step}"
        return folder_name(name if self.group == 0 else f"{name}.{self.group}")


@dataclass(frozen=True, slots=True)
class Done:
    """What done.json says: where a unit's results are, and of which weights."""

    series: str
    checkpoint: str
    """Its name, as in the run's `model`."""
    target: str
    step: int
    tokens_seen: int | None
    group: int
    stamp: str
    """Of the files when they were read; another one means that the checkpoint was overwritten."""
    run: str
    """Path of the run folder, from the results folder."""
    run_id: str
    model_identity: str
    tokenizer_identity: str
    failed_share: float
    timing: dict[str, float | None]
    """Seconds: `load` the weights, `first` until the first answer after that, `run` all."""
    finished: str


class SweepFolder:
    """Reads and writes one sweep's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, settings: SweepSettings) -> SweepFolder:
        """The folder of this sweep, made if it is new. StoreError if it cannot be written."""
        names = "+".join(model_name(name) for name in to_json(settings)["models"])
        folder = cls(settings.run.output / SWEEPS / folder_name(f"{names}-{settings.sweep_id()}"))
        make_folder(folder.path)
        folder._remember(settings)
        return folder

    def _remember(self, settings: SweepSettings) -> None:
        value = {
            "schema_version": SCHEMA_VERSION,
            "created": now(),
            "settings": to_json(settings),
        }
        path = self.path / "sweep.json"
        if path.is_file() and read_json(path).get("settings") == value["settings"]:
            return
        write_json(path, value)

    def settings(self) -> SweepSettings:
        """What was asked. StoreError if sweep.json is missing or damaged."""
        value = read_json(self.path / "sweep.json")
        try:
            return from_json(value["settings"])
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self.path / 'sweep.json'} is not as expected ({error!r}).") from error

    @property
    def output(self) -> Path:
        """The results folder that the sweep is in."""
        return self.path.parent.parent

    def unit_folder(self, unit: Unit) -> Path:
        """Where the unit's two files lie."""
        return self.path / "units" / unit.id

    def done(self, unit: Unit) -> Done | None:
        """The unit's done.json, if it is there and the run that it names is still finished."""
        found = _read_done(self.unit_folder(unit) / "done.json")
        return found if found is not None and RunFolder(self.output / found.run).finished else None

    def all_done(self) -> list[Done]:
        """Every unit that is done, by series, step and group; also those whose checkpoint is gone by now."""
        found = [_read_done(path) for path in sorted(self.path.glob("units/*/done.json"))]
        whole = [one for one in found if one is not None and RunFolder(self.output / one.run).finished]
        return sorted(whole, key=lambda one: (one.series, one.step, one.group))

    def finish(self, unit: Unit, done: Done) -> None:
        """Writes done.json."""
        make_folder(self.unit_folder(unit))
        write_json(self.unit_folder(unit) / "done.json", asdict(done))

    def note(self, unit: Unit, state: Literal["running", "passed over", "failed"], why: str = "") -> None:
        """Writes state.json: what a person who looks at an unfinished unit should know."""
        make_folder(self.unit_folder(unit))
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        write_json(self.unit_folder(unit) / "state.json", {"state": state, "why": why, **who})

    def state(self, unit: Unit) -> dict[str, Any]:
        """What state.json says; {} where there is none."""
        path = self.unit_folder(unit) / "state.json"
        return read_json(path) if path.is_file() else {}


def _read_done(path: Path) -> Done | None:
    if not path.is_file():
        return None
    try:
        return Done(**read_json(path))
    except (StoreError, TypeError):
        return None


def all_sweeps(output: Path) -> Iterator[SweepFolder]:
    """The sweeps in a results folder, the one that was asked last first."""
    found = sorted((output / SWEEPS).glob("*/sweep.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return (SweepFolder(path.parent) for path in found)


def find_sweep(name: str, output: Path) -> SweepFolder:
    """The sweep that `name` means: its folder, its name or the beginning of it, or `latest`. StoreError if none is."""
    if (Path(name) / "sweep.json").is_file():
        return SweepFolder(Path(name))
    sweeps = list(all_sweeps(output))
    if not sweeps:
        raise StoreError(f"there are no sweeps in {output}. Start with `benchbench sweep --model FOLDER`.")
    if name == "latest":
        return sweeps[0]
    names = [sweep.path.name for sweep in sweeps]
    matches = [sweep for sweep in sweeps if sweep.path.name == name] or [
        sweep for sweep in sweeps if sweep.path.name.startswith(name)
    ]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StoreError(f"no sweep {name!r} in {output}; there are {', '.join(names[:5])}.{did_you_mean(name, names)}")
    raise StoreError(f"{name!r} fits {len(matches)} sweeps: {', '.join(s.path.name for s in matches[:5])}.")

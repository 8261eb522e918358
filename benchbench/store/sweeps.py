"""A sweep on disk, for whoever reads it: which checkpoints are done, and which run holds the results of each.

results/sweeps/<name>/sweep.json                what was asked
                      units/<unit>/state.json   what became of it last: running, passed over
                                   done.json    which run holds its results; written last, by rename

A unit is a checkpoint × a group of tasks. It is done only when done.json is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.store.files import read_json
from benchbench.store.folder import RunFolder

SWEEPS = "sweeps"
"""The folder in a results folder that holds its sweeps."""


@dataclass(frozen=True, slots=True)
class Done:
    """What done.json says: where a unit's results are, and of which weights."""

    series: str
    """The training run, as its models are named before the `@`."""
    checkpoint: str
    """Its name, as in the run's `model`."""
    target: str
    """Folder, file, or hub name and revision."""
    step: int | None
    """None where tokens alone are known."""
    tokens_seen: int | None
    group: int
    """Which of the sweep's task groups, from 0."""
    stamp: str
    """Of the files when they were read; another one means that the checkpoint was overwritten."""
    asked: str
    """Hash over the tasks; another one means that a task file or its data changed."""
    run: str
    """Path of the run folder, from the results folder."""
    run_id: str
    model_identity: str
    tokenizer_identity: str
    failed_share: float
    timing: dict[str, float | None]
    """Seconds: `load` the weights, `first` until the first answer after that, `run` all."""
    finished: str
    """ISO 8601 time."""

    @property
    def position(self) -> int:
        """Where it stands in its series: its step, or the tokens seen where no step is known."""
        return (self.tokens_seen or 0) if self.step is None else self.step


class SweepFolder:
    """Reads one sweep's folder. Nothing here writes; see `benchbench.runner.sweep.folder`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def output(self) -> Path:
        """The results folder that the sweep is in."""
        return self.path.parent.parent

    def content(self) -> dict[str, Any]:
        """sweep.json. StoreError if it is missing or damaged."""
        return read_json(self.path / "sweep.json")

    def all_done(self) -> list[Done]:
        """Every unit that is done, by series, step and group; also those whose checkpoint is gone by now."""
        found = [self.read_done(path.parent) for path in sorted(self.path.glob("units/*/done.json"))]
        return sorted((one for one in found if one is not None), key=lambda one: (one.series, one.position, one.group))

    def runs(self) -> list[RunFolder]:
        """The run folders of what is done; steps that asked other tasks, documents or prompts than the last are not."""
        done = self.all_done()
        latest = {(one.series, one.group): one.asked for one in done}
        same = [one for one in done if one.asked == latest[one.series, one.group]]
        return [RunFolder(self.output / one.run) for one in same]

    def read_done(self, unit: Path) -> Done | None:
        """done.json in a unit's folder, if it is there and whole and the run that it names is still finished."""
        path = unit / "done.json"
        if not path.is_file():
            return None
        try:
            done = Done(**read_json(path))
        except (StoreError, TypeError):
            return None
        return done if RunFolder(self.output / done.run).finished else None


def all_sweeps(output: Path) -> Iterator[SweepFolder]:
    """The sweeps in a results folder, the one that was asked last first."""
    found = sorted((output / SWEEPS).glob("*/sweep.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    return (SweepFolder(path.parent) for path in found)


def find_sweep(name: str, output: Path) -> SweepFolder:
    """The sweep that `name` means: its folder, its name or the beginning of it, or `latest`. StoreError if none is."""
    if (Path(name) / "sweep.json").is_file():
        return SweepFolder(Path(name).absolute())
    sweeps = list(all_sweeps(output))
    if not sweeps:
        raise StoreError(f"there are no sweeps in {output}. Start with `benchbench sweep --model FOLDER`.")
    if name == "latest":
        return sweeps[0]
    names = [sweep.path.name for sweep in sweeps]
    exact = [sweep for sweep in sweeps if sweep.path.name == name]
    matches = exact or [sweep for sweep in sweeps if sweep.path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        raise StoreError(f"no sweep {name!r} in {output}; there are {', '.join(names[:5])}.{did_you_mean(name, names)}")
    raise StoreError(f"{name!r} fits {len(matches)} sweeps: {', '.join(names[:5])}. Give more of the name.")

"""What a sweep tells whoever watches it, besides the events of its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.events import Event
from benchbench.runner.run import RunResult
from benchbench.store.find import Done


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """The sweep's folder is there, its checkpoints are known."""

    path: Path
    checkpoints: int
    units: int
    done: int
    """Units that are done already."""


@dataclass(frozen=True, slots=True)
class CheckpointStarted:
    """The weights of a unit's checkpoint are about to be loaded."""

    checkpoint: Checkpoint
    group: int


@dataclass(frozen=True, slots=True)
class CheckpointFinished:
    """A unit is done; its done.json is on disk."""

    checkpoint: Checkpoint
    done: Done
    result: RunResult


@dataclass(frozen=True, slots=True)
class CheckpointSkipped:
    """A checkpoint is not scored, now or for good."""

    checkpoint: Checkpoint
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is ready; the next look comes in `seconds`."""

    seconds: float
    newest: int | None
    """The highest step that is done."""


SweepEvent: TypeAlias = Event | SweepStarted | CheckpointStarted | CheckpointFinished | CheckpointSkipped | Waiting
OnSweepEvent: TypeAlias = Callable[[SweepEvent], None]

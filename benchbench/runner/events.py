"""What a run tells whoever watches it. Plain values: the terminal, a log file or a test decide what to do with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person should know: the default suite was taken, few-shots are fewer, items were reused."""

    text: str


@dataclass(frozen=True, slots=True)
class Preparing:
    """A task's documents are being loaded and rendered."""

    task: str
    position: int
    """From 1."""
    count: int


@dataclass(frozen=True, slots=True)
class OpeningModel:
    """The engine is loading the weights."""

    model: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Work begins in `path`."""

    path: Path
    model: str
    tasks: int
    docs: int
    """Docs of all tasks."""
    requests: int
    """Requests of all tasks."""
    resumed: bool


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task's requests go to the backend."""

    task: str
    requests: int
    done: int
    """Requests whose responses were on disk already, here or in another run."""


@dataclass(frozen=True, slots=True)
class Progress:
    """One more request was answered."""

    task: str
    failed: bool = False
    """It has no answer: a `Failure`."""


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task's items are sealed."""

    task: str
    requests: int


@dataclass(frozen=True, slots=True)
class Scoring:
    """A finished task's translations go to a model that judges them."""

    task: str
    metric: str
    segments: int
    done: int
    """Segments whose scores were on disk already."""


@dataclass(frozen=True, slots=True)
class SegmentsScored:
    """So many more segments were judged."""

    count: int


Event: TypeAlias = (
    Note | Preparing | OpeningModel | RunStarted | TaskStarted | Progress | TaskFinished | Scoring | SegmentsScored
)
OnEvent: TypeAlias = Callable[[Event], None]


def ignore(event: object) -> None:
    """Watches nothing, of a run or of a sweep."""

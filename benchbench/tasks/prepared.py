"""What a task becomes before a model is asked: its documents as requests; and what every kind of task can say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self, TypeAlias

from benchbench.core.task_scoring import TaskScoring
from benchbench.core.types import Json, OutputType, RenderedDoc, ScoringSpec
from benchbench.tasks.gen_kwargs import GenKwargs
from benchbench.tasks.settings import FewshotMode
from benchbench.tasks.task import Task


class SourcedTask(Protocol):
    """A task that a task source brings (`tasks/sources.py`). Stands where a `Task` stands, up to rendering."""

    @property
    def name(self) -> str:
        """With the source's prefix."""
        ...

    @property
    def path(self) -> Path:
        """The file or folder that defines it."""
        ...

    @property
    def scoring(self) -> ScoringSpec:
        """What is known of its metrics; its own scoring may add more."""
        ...

    @property
    def output_type(self) -> OutputType:
        """What the task asks of a model."""
        ...

    @property
    def version(self) -> str:
        """As the task's definition says; `0` where it does not."""
        ...

    def resolved(self) -> dict[str, Json]:
        """The definition as JSON, for the run record."""
        ...

    def code(self) -> Iterable[tuple[str, str]]:
        """Every (key, function) of the definition that is code, which only `--trust-task-code` allows to run."""
        ...

    def with_gen_kwargs(self, given: GenKwargs) -> Self:
        """The task as if its definition had these generation settings."""
        ...

    def data_task(self) -> Task:
        """A task of ours that reads the same data: enough to find or fetch its splits. DataError if that is unknown."""
        ...


AnyTask: TypeAlias = Task | SourcedTask


@dataclass(frozen=True)
class PreparedTask:
    """A task's documents as requests, with the fingerprints that its scores will carry."""

    task: AnyTask
    docs: tuple[RenderedDoc, ...]
    num_fewshot: int
    fewshot_mode: FewshotMode
    """How the shots were drawn."""
    prompt_hash: str
    """8 hex digits over templates and rendering settings, not over data."""
    data_hash: str
    """16 hex digits over the evaluated documents and those used as shots."""
    data_revision: str | None
    """The Hub's commit, of a data root by its lock file; None where it is not known."""
    data_path: str
    notes: tuple[str, ...] = ()
    """Sentences a reader of the results should know."""
    own_scoring: TaskScoring | None = None
    """The scoring that the task's source brings; None: benchbench's own."""

"""Task sources: tasks that other packages define, named `<source>:<name>` wherever a task may be named.

A source is one class with the methods of `TaskSource`, and one line: in SOURCES, or, in a package of one's own, an
entry point in the group `benchbench.task_sources` whose name is the prefix and whose value is the class. It is imported
only where one of its tasks is named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from benchbench.core.plugins import entry_point_names, load
from benchbench.core.task_scoring import Group

if TYPE_CHECKING:
    from benchbench.tasks.settings import RenderSettings
    from benchbench.tasks.task import PreparedTask, SourcedTask

SOURCE_GROUP = "benchbench.task_sources"
SOURCES: Mapping[str, str] = {
    "lm_eval": "benchbench.extensions.lm_eval.source:LmEvalTasks",
}
"""Prefix → the source's class, as `module:name`."""

TaskT = TypeVar("TaskT")


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A name that a source knows: of a task, or of several."""

    name: str
    """With the prefix."""
    kind: str
    """`task`, `group` or whatever the source calls it."""
    path: Path | None
    """The file that defines it; None where there is none of its own."""
    members: tuple[str, ...] = ()
    """Names of its tasks, without the prefix, where it only lists them."""


class TaskSource(Protocol[TaskT]):
    """Tasks of another package. `TaskT` is its own kind of task, a `tasks.task.SourcedTask`."""

    title: str
    """What to call it in sentences, e.g. `lm-eval`."""

    def entries(self, pattern: str) -> Sequence[SourceEntry]:
        """Every name that equals or matches the pattern, with the prefix. TaskError if there is none."""
        ...

    def select(self, entry: str) -> tuple[list[TaskT], list[Group]]:
        """The tasks that an entry of `--tasks` stands for, at least one, and the groups whose rows are shown.

        TaskError if there are none, or if the package is missing.
        """
        ...

    def prepare(self, task: TaskT, settings: RenderSettings) -> PreparedTask:
        """Loads, draws and renders, with the scoring that the task brings. Errors as of `tasks.prepare.prepare`."""
        ...


def source_of(entry: str) -> TaskSource[SourcedTask] | None:
    """The source by whose prefix an entry of `--tasks` begins; None for tasks of ours."""
    prefix, colon, _ = entry.partition(":")
    if not colon or prefix not in SOURCES.keys() | entry_point_names(SOURCE_GROUP):
        return None
    kind = cast("type[TaskSource[SourcedTask]]", load(prefix, SOURCES, SOURCE_GROUP))
    return kind()

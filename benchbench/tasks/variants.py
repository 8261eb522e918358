"""The tasks that are known by name: read, or of a large folder only named until one is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import TaskError
from benchbench.core.types import Json
from benchbench.tasks.dialect import TaskVariant, read_task_file, variants


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task whose file was not read whole yet."""

    path: Path
    raw: Mapping[str, Json]
    """The keys that name things."""
    roots: Sequence[Path]
    """Folders out of which the file may not lead."""

    def read(self, name: str) -> TaskVariant:
        """The task. TaskError for what is wrong in its file."""
        for variant in variants(self.path, *read_task_file(self.path, self.roots)):
            if variant.name == name:
                return variant
        raise TaskError(f"{self.path}: it holds no task {name!r}.")


class Variants(Mapping[str, TaskVariant]):
    """Name → task, read when it is asked for. TaskError where its file is wrong."""

    def __init__(self) -> None:
        self._known: dict[str, TaskVariant | NamedTask] = {}

    def __getitem__(self, name: str) -> TaskVariant:
        known = self._known[name]
        if isinstance(known, NamedTask):
            known = self._known[name] = known.read(name)
        return known

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def listed(self, name: str) -> TaskVariant | NamedTask:
        """The task's path and the keys that a list tells, without reading its file."""
        return self._known[name]

    def add(self, name: str, task: TaskVariant | NamedTask) -> None:
        """A task; one of the same name gives way."""
        self._known[name] = task

    def update(self, others: Variants) -> None:
        """All tasks of others."""
        self._known |= others._known

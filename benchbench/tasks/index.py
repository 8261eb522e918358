"""Which tasks there are: the packaged files and the user's, found by name, group, tag, suite or glob."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.task_scoring import Group
from benchbench.core.types import Json
from benchbench.tasks.dialect import (
    TASK_NAME,
    TaskVariant,
    check_inside,
    read_task_file,
    read_yaml,
    tag_refusal,
    variants,
    where,
)
from benchbench.tasks.group_file import GroupFile, group_file
from benchbench.tasks.heads import UNREADABLE, Head, Heads
from benchbench.tasks.sources import source_of
from benchbench.tasks.variants import NamedTask, Variants

if TYPE_CHECKING:
    from benchbench.tasks.task import AnyTask, SourcedTask, Task

SUITES_FILE = "suites.yaml"
DEFAULT_SUITE = "default"
MOST_TOLD = 5
"""Skipped files that are named at once."""
READ_WHOLE = 500
"""Files of a folder that are read whole at once. Of a larger folder the lines are read that name the tasks; what else
is wrong with one of them is told when it is asked for."""


@dataclass(frozen=True)
class Suite:
    """A named choice of tasks from `suites.yaml`."""

    name: str
    entries: tuple[str, ...]
    description: str = ""


@dataclass(frozen=True)
class Selection:
    """What a run was asked for."""

    tasks: tuple[AnyTask, ...]
    groups: tuple[Group, ...]
    """Groups asked for by name: their rows are printed too."""


ASKS = ("dataset_path", "output_type", "doc_to_text", "doc_to_target", "doc_to_choice")
"""Keys of which every task has some."""
SEE_SKIPPED = "`benchbench tasks ls --skipped --include-path DIR` lists them."


def packaged_tasks() -> Path:
    """The tasks that ship: `benchbench/_tasks` in an installed wheel, `tasks/` in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "_tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


class NoTaskError(TaskError):
    """A file of something else."""


class _NoMemberError(TaskError):
    """A group names what there is not."""

    def __init__(self, path: Path, entry: str) -> None:
        super().__init__(f"{where(path, ['task'])}: no task, group or tag named {entry!r}.")
        self.entry = entry


class TaskIndex:
    """All tasks, groups, tags and suites. Reads files once; checks a task when it is selected."""

    def __init__(self, include_paths: Sequence[Path] = ()) -> None:
        self.variants = Variants()
        self.suites: dict[str, Suite] = {}
        self._group_files: dict[str, GroupFile] = {}
        self._tasks: dict[str, Task] = {}
        self._sourced: dict[str, SourcedTask] = {}
        self.skipped: dict[Path, TaskError] = {}
        """Files of --include-path that are no tasks of ours, and why."""
        self._lost: dict[str, TaskError] = {}
        """Names that skipped files give, and why these were."""
        self._doubled: dict[str, str] = {}
        """Names that two files of one folder give, and which."""
        self._broken: dict[str, _NoMemberError] = {}
        """Groups whose members are not all there, and which are not."""
        self._given: tuple[Path, ...] = ()
        """Folders of --include-path."""
        self._add_root(packaged_tasks(), strict=True)
        self._given = tuple(Path(root) for root in include_paths if Path(root).is_dir())
        for root in include_paths:
            self._add_root(Path(root))

    def _add_root(self, root: Path, *, strict: bool = False) -> Variants:
        """`strict`: a file that is none of ours is an error; in a folder of somebody else it is named and skipped."""
        if not root.exists():
            raise TaskError(f"{root}: no such task file or folder.")
        folders = (*([root] if root.is_dir() else self._around(root)), packaged_tasks())
        files, links = _yaml_files(root) if root.is_dir() else ([root], set[Path]())
        heads = Heads(folders) if len(files) > READ_WHOLE else None
        reading = _Reading(folders, strict or not root.is_dir(), heads, links)
        for path in files:
            with self._told(path, reading):
                self._add_file(path, reading)
        self.variants.update(reading.found)
        for path, raw in reading.groups:
            with self._told(path, reading):
                file, inside = group_file(path, raw, folders, self.variants)
                self._add_variants(_named(inside), reading.found)
                self.variants.update(reading.found)
                self._group_files[file.name] = file
        return reading.found

    def _around(self, file: Path) -> list[Path]:
        """Folders out of which a file that is named itself may not lead: its own, and that of --include-path."""
        return [file.parent, *(root for root in self._given if file.resolve().is_relative_to(root.resolve()))]

    @contextmanager
    def _told(self, path: Path, reading: _Reading) -> Iterator[None]:
        try:
            yield
        except TaskError as error:
            if reading.strict:
                raise
            with suppress(*UNREADABLE):
                check_inside(path, reading.folders)
                self._skip(Heads(reading.folders).of(path), error)
            self.skipped[path] = error

    def _skip(self, head: Head, error: TaskError) -> None:
        self.skipped[head.path] = error
        self._lost |= {name: error for key in ("task", "group") if isinstance(name := head.keys.get(key), str)}

    def _add_file(self, path: Path, reading: _Reading) -> None:
        if path.name == SUITES_FILE:
            check_inside(path, reading.folders)
            self.suites |= {suite.name: suite for suite in _read_suites(path)}
            return
        if path.name.startswith("_"):
            return
        head = None if reading.heads is None or path in reading.links else _head(path, reading.heads)
        if head is not None and head.python is not None:
            file, line = head.python
            self._skip(head, TaskError(tag_refusal(f"{file}:{line}", "!function")))
            return
        if head is not None:
            named = NamedTask(path, head.keys, reading.folders)
            self._add_variants([(str(head.keys["task"]), named)], reading.found)
            return
        raw, origins = read_task_file(path, reading.folders)
        if isinstance(raw.get("task"), str) and not raw.keys() & ASKS:
            raise NoTaskError(f"{path}: its `task` has none of {', '.join(ASKS)}: it is a file of something else.")
        if isinstance(raw.get("task"), list):
            reading.groups.append((path, raw))
            return
        if "task" not in raw:
            raise NoTaskError(f"{path}: no `task` key. A file that is only included gets a name that starts with _.")
        self._add_variants(_named(variants(path, raw, origins)), reading.found)

    def _add_variants(self, made: Iterable[tuple[str, TaskVariant | NamedTask]], found: Variants) -> None:
        """All tasks of a file or none. TaskError if another file has one of them, which then has nobody's name."""
        new: dict[str, TaskVariant | NamedTask] = {}
        for name, task in made:
            if name in found or name in new:
                other = found.listed(name) if name in found else new[name]
                reason = f"{where(task.path, ['task'])}: {other.path} has a task {name!r} too."
                self._doubled[name] = reason
                raise TaskError(reason)
            new[name] = task
        for name, task in new.items():
            found.add(name, task)

    @cached_property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Tag → names of its tasks."""
        return _collect(self.variants, "tag")

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Group → its tasks, from `group` keys of tasks and from group files."""
        groups = {name: Group(name, names, self._weight(names)) for name, names in self._members.items()}
        for name, file in self._group_files.items():
            names = [*self._members.get(name, ())]
            try:
                for entry in file.entries:
                    names += self._expand(entry, file.path, (name,))
            except _NoMemberError as error:
                self._broken[name] = error
                groups.pop(name, None)
                continue
            groups[name] = Group(name, tuple(dict.fromkeys(names)), file.weight_by_size)
        return groups

    @cached_property
    def _members(self) -> dict[str, tuple[str, ...]]:
        return _collect(self.variants, "group")

    def _weight(self, names: Sequence[str]) -> bool:
        return all(self.variants.listed(name).raw.get("weight_by_size", True) for name in names)

    def _expand(self, entry: str, path: Path, seen: tuple[str, ...]) -> list[str]:
        """Task names of a group file's entry: a task, a group file, a tag or a glob."""
        if entry in self.variants:
            return [entry]
        if entry in self._group_files and entry not in seen:
            return [n for part in self._group_files[entry].entries for n in self._expand(part, path, (*seen, entry))]
        for known in (self._members, self.tags):
            if entry in known:
                return [*known[entry]]
        names = _matching(entry, self.variants)
        if not names:
            raise _NoMemberError(path, entry)
        return names

    def task(self, name: str) -> Task:
        """One task by its name. TaskError with the nearest names, or for what is wrong in its file."""
        from benchbench.tasks.task import Task  # pydantic only when a task is wanted

        if name not in self.variants:
            raise TaskError(f"No task named {name!r}.{self._near(name)} See `benchbench tasks ls`.")
        if name in self._doubled:
            raise TaskError(self._doubled[name])
        if name not in self._tasks:
            self._tasks[name] = Task.of(self.variants[name])
        return self._tasks[name]

    def select(self, names: str | None) -> Selection:
        """Tasks of comma-separated names, groups, tags, suites, globs or YAML files; None: the default suite."""
        tasks, groups = self._resolve(names)
        return Selection(tuple(self._sourced.get(name) or self.task(name) for name in tasks), tuple(groups.values()))

    def names(self, names: str | None) -> list[str]:
        """Names of the tasks that `select` would give, whether or not their files are right."""
        return [*self._resolve(names)[0]]

    def _resolve(self, names: str | None) -> tuple[dict[str, None], dict[str, Group]]:
        tasks: dict[str, None] = {}
        groups: dict[str, Group] = {}
        entries = [DEFAULT_SUITE] if names is None else [part.strip() for part in names.split(",") if part.strip()]
        if not entries:
            raise TaskError("No task was named. See `benchbench tasks ls`.")
        for entry in entries:
            self._select(entry, tasks, groups, ())
        return tasks, groups

    def _select(self, entry: str, tasks: dict[str, None], groups: dict[str, Group], seen: tuple[str, ...]) -> None:
        if entry in self.variants:
            tasks[entry] = None
        elif (source := source_of(entry)) is not None:
            found, its_groups = source.select(entry)
            self._sourced |= {task.name: task for task in found}
            tasks |= dict.fromkeys(task.name for task in found)
            groups |= {group.name: group for group in its_groups}
        elif entry in self.groups:
            groups[entry] = self.groups[entry]
            tasks |= dict.fromkeys(self.groups[entry].tasks)
        elif entry in self._lost:
            raise self._lost[entry]
        elif entry in self._broken:
            error = self._broken[entry]
            known = self._lost.get(error.entry)
            why = f" {known}" if known else f"{self._near(error.entry)}{self._not_read()}"
            raise TaskError(f"{error}{why}")
        elif entry in self.tags:
            tasks |= dict.fromkeys(self.tags[entry])
        elif entry in self.suites:
            if entry in seen:
                raise TaskError(f"The suite {entry!r} holds itself.")
            for part in self.suites[entry].entries:
                self._select(part, tasks, groups, (*seen, entry))
        elif entry.endswith((".yaml", ".yml")):
            tasks |= dict.fromkeys(self._load_file(Path(entry)))
        else:
            names = _matching(entry, self.variants)
            if not names:
                part_of = f" (in the suite {seen[-1]!r})" if seen else ""
                near = self._near(entry)
                raise TaskError(
                    f"No task, group, tag or suite named {entry!r}{part_of}.{near} See `benchbench tasks ls`."
                    f"{self._not_read()}"
                )
            tasks |= dict.fromkeys(names)

    def _load_file(self, path: Path) -> list[str]:
        found = self._add_root(path)
        for cached in ("tags", "groups", "_members"):
            self.__dict__.pop(cached, None)
        return [*found]

    def _not_read(self) -> str:
        """What of --include-path was skipped, behind the sentence that something is missing."""
        some = "".join(f"\n  {reason}" for reason in [*self.skipped.values()][:MOST_TOLD])
        more = len(self.skipped) - MOST_TOLD
        return f"\nSkipped:{some}" + (f"\n  … and {more:,} more. {SEE_SKIPPED}" if more > 0 else "") if some else ""

    def _near(self, name: str) -> str:
        return did_you_mean(name, [*self.variants, *self._members, *self._group_files, *self.tags, *self.suites])


def _yaml_files(folder: Path) -> tuple[list[Path], set[Path]]:
    """The YAML files below a folder, sorted, without those of hidden folders; and which of them are links."""
    found, links, waiting = list[str](), set[str](), [str(folder)]
    while waiting:
        place = waiting.pop()
        with suppress(OSError), os.scandir(place) as entries:  # a folder that may not be read is as if empty
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                is_link = entry.is_symlink()
                if entry.is_dir():
                    if not is_link:
                        waiting.append(entry.path)
                elif entry.name.endswith((".yaml", ".yml")):
                    found.append(entry.path)
                    if is_link:
                        links.add(entry.path)
    return [Path(name) for name in sorted(found, key=lambda name: name.split("/"))], set(map(Path, links))


@dataclass(frozen=True, slots=True)
class _Reading:
    """A folder while its files are read."""

    folders: Sequence[Path]
    """Out of which no file leads."""
    strict: bool
    heads: Heads | None
    """Where the lines that name tasks are enough."""
    links: Set[Path] = frozenset()
    """Files that are links."""
    found: Variants = field(default_factory=Variants)
    groups: list[tuple[Path, dict[str, Json]]] = field(default_factory=list)


def _head(path: Path, heads: Heads) -> Head | None:
    """The head of a file that makes one task, or names Python; None for any other, which has to be read whole."""
    try:
        head = heads.of(path)
    except UNREADABLE:
        return None
    name = head.keys.get("task")
    is_one = isinstance(name, str) and TASK_NAME.fullmatch(name) is not None
    is_one = is_one and "dataset_path" in head.keys and not head.keys.keys() & {"class", "languages", "matrix"}
    return head if is_one or head.python is not None else None


def _named(found: Iterable[TaskVariant]) -> Iterator[tuple[str, TaskVariant]]:
    for variant in found:
        yield variant.name, variant


def _collect(found: Variants, key: str) -> dict[str, tuple[str, ...]]:
    members: dict[str, list[str]] = {}
    for task in found:
        names = found.listed(task).raw.get(key) or []
        for name in names if isinstance(names, list) else [names]:  # the task itself refuses what is no name
            members.setdefault(str(name), []).append(task)
    return {name: tuple(tasks) for name, tasks in members.items()}


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)] if any(sign in pattern for sign in "*?[") else []


def _are_names(value: Json) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(one, str) for one in value) and len(value) > 0


def _read_suites(path: Path) -> Iterator[Suite]:
    for name, value in read_yaml(path).items():
        entries = value.get("tasks") if isinstance(value, dict) else value
        if not _are_names(entries):
            raise TaskError(f"{where(path, [name])}: a suite is `{name}: {{description: …, tasks: [names]}}`.")
        if isinstance(value, dict) and (unknown := sorted(set(value) - {"tasks", "description"})):
            raise TaskError(
                f"{where(path, [name, unknown[0]])}: unknown key {unknown[0]!r} in a suite."
                f"{did_you_mean(unknown[0], ['tasks', 'description'])}"
            )
        yield Suite(str(name), tuple(entries), str(value.get("description", "")) if isinstance(value, dict) else "")

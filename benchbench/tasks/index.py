"""Which tasks there are: the packaged files and the user's, found by name, group, tag, suite or glob."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.task_scoring import Group
from benchbench.core.types import Json
from benchbench.tasks.dialect import TaskVariant, check_inside, read_task_file, read_yaml, variants, where
from benchbench.tasks.sources import source_of

if TYPE_CHECKING:
    from benchbench.tasks.task import AnyTask, SourcedTask, Task

SUITES_FILE = "suites.yaml"
DEFAULT_SUITE = "default"
GROUP_KEYS = (
    "group",
    "group_alias",
    "task",
    "aggregate_metric_list",
    "weight_by_size",
    "description",
    "metadata",
    "tag",
)


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


def packaged_tasks() -> Path:
    """The tasks that ship: `benchbench/_tasks` in an installed wheel, `tasks/` in a checkout."""
    package = Path(__file__).parent.parent
    inside = package / "_tasks"
    return inside if inside.is_dir() else package.parent / "tasks"


class TaskIndex:
    """All tasks, groups, tags and suites. Reads files once; checks a task when it is selected."""

    def __init__(self, include_paths: Sequence[Path] = ()) -> None:
        self.variants: dict[str, TaskVariant] = {}
        self.suites: dict[str, Suite] = {}
        self._group_files: dict[str, _GroupFile] = {}
        self._tasks: dict[str, Task] = {}
        self._sourced: dict[str, SourcedTask] = {}
        for root in (packaged_tasks(), *include_paths):
            self._add_root(Path(root))

    def _add_root(self, root: Path) -> None:
        if not root.exists():
            raise TaskError(f"{root}: no such task file or folder.")
        found: dict[str, TaskVariant] = {}
        folders = (root if root.is_dir() else root.parent, packaged_tasks())
        for path in [root] if not root.is_dir() else sorted([*root.rglob("*.yaml"), *root.rglob("*.yml")]):
            if path.is_dir():
                continue  # its files are found by themselves
            if path.name == SUITES_FILE:
                check_inside(path, folders)
                self.suites |= {suite.name: suite for suite in _read_suites(path)}
            elif not path.name.startswith("_"):
                self._add_file(path, found, folders)
        self.variants |= found

    def _add_file(self, path: Path, found: dict[str, TaskVariant], folders: Sequence[Path]) -> None:
        raw, origins = read_task_file(path, folders)
        if isinstance(raw.get("task"), list):
            group = _group_file(path, raw)
            self._group_files[group.name] = group
            return
        if "task" not in raw:
            raise TaskError(f"{path}: no `task` key. A file that is only included gets a name that starts with _.")
        for variant in variants(path, raw, origins):
            if variant.name in found:
                raise TaskError(f"{where(path, ['task'])}: {found[variant.name].path} has a task {variant.name!r} too.")
            found[variant.name] = variant

    @cached_property
    def tags(self) -> dict[str, tuple[str, ...]]:
        """Tag → names of its tasks."""
        return _collect(self.variants.values(), "tag")

    @cached_property
    def groups(self) -> dict[str, Group]:
        """Group → its tasks, from `group` keys of tasks and from group files."""
        groups = {name: Group(name, names, self._weight(names)) for name, names in self._members.items()}
        for name, file in self._group_files.items():
            names = [*self._members.get(name, ())]
            for entry in file.entries:
                names += self._expand(entry, file.path, (name,))
            groups[name] = Group(name, tuple(dict.fromkeys(names)), file.weight_by_size)
        return groups

    @cached_property
    def _members(self) -> dict[str, tuple[str, ...]]:
        return _collect(self.variants.values(), "group")

    def _weight(self, names: Sequence[str]) -> bool:
        return all(self.variants[name].raw.get("weight_by_size", True) for name in names)

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
            raise TaskError(f"{where(path, ['task'])}: no task, group or tag named {entry!r}.{self._near(entry)}")
        return names

    def task(self, name: str) -> Task:
        """One task by its name. TaskError with the nearest names, or for what is wrong in its file."""
        from benchbench.tasks.task import Task  # pydantic only when a task is wanted

        if name not in self.variants:
            raise TaskError(f"No task named {name!r}.{self._near(name)} See `benchbench tasks ls`.")
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
                )
            tasks |= dict.fromkeys(names)

    def _load_file(self, path: Path) -> list[str]:
        before = dict(self.variants)
        self._add_root(path)
        for cached in ("tags", "groups", "_members"):
            self.__dict__.pop(cached, None)
        return [name for name, variant in self.variants.items() if before.get(name) is not variant]

    def _near(self, name: str) -> str:
        return did_you_mean(name, [*self.variants, *self._members, *self._group_files, *self.tags, *self.suites])


def _collect(found: Iterable[TaskVariant], key: str) -> dict[str, tuple[str, ...]]:
    members: dict[str, list[str]] = {}
    for variant in found:
        names = variant.raw.get(key) or []
        for name in names if isinstance(names, list) else [names]:  # the task itself refuses what is no name
            members.setdefault(str(name), []).append(variant.name)
    return {name: tuple(tasks) for name, tasks in members.items()}


def _matching(pattern: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if fnmatchcase(name, pattern)] if any(sign in pattern for sign in "*?[") else []


@dataclass(frozen=True, slots=True)
class _GroupFile:
    name: str
    path: Path
    entries: tuple[str, ...]
    """Names of tasks, tags or groups."""
    weight_by_size: bool


def _group_file(path: Path, raw: dict[str, Json]) -> _GroupFile:
    for key in raw:
        if key not in GROUP_KEYS:
            raise TaskError(
                f"{where(path, [key])}: unknown key {key!r} in a group file.{did_you_mean(str(key), GROUP_KEYS)}"
            )
    name = raw.get("group")
    if not isinstance(name, str):
        raise TaskError(f"{path}: `task` is a list, so this is a group file: give it a `group` name.")
    return _GroupFile(name, path, tuple(_entries(path, raw["task"])), _weight_of_file(raw))


def _entries(path: Path, listed: Json) -> Iterator[str]:
    for position, entry in enumerate(listed if isinstance(listed, list) else []):
        if not isinstance(entry, str):
            raise TaskError(f"{where(path, ['task', position])}: a group lists names of tasks, tags or groups.")
        yield entry


def _weight_of_file(raw: dict[str, Json]) -> bool:
    listed = raw.get("aggregate_metric_list")
    metrics = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    stated = [entry["weight_by_size"] for entry in metrics if "weight_by_size" in entry]
    return bool(raw.get("weight_by_size", all(stated)))


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

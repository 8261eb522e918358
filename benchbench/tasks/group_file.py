"""A group file: its name, the names of its members, and the tasks that it brings inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.types import Json
from benchbench.tasks.dialect import TaskVariant, read_task_file, variants, where

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


@dataclass(frozen=True, slots=True)
class GroupFile:
    """What a group file says."""

    name: str
    path: Path
    entries: tuple[str, ...]
    """Names of tasks, tags or groups."""
    weight_by_size: bool


def group_file(
    path: Path, raw: Mapping[str, Json], roots: Sequence[Path], known: Mapping[str, TaskVariant]
) -> tuple[GroupFile, list[TaskVariant]]:
    """The group of a file, whose parts lie in the folders `roots`, and the tasks that are written inside it.

    An entry that is a mapping is a task: the keys of the file that no group has, and its own on top. One that has no
    data of its own changes the task of that name among `known`, and is called `group::task`.

    Raises:
        TaskError: a key that no group has, an entry that is neither a name nor a task.
    """
    listed = raw["task"] if isinstance(raw["task"], list) else []
    has_tasks = any(isinstance(entry, dict) for entry in listed)
    shared = {key: value for key, value in raw.items() if key not in GROUP_KEYS}
    for key in () if has_tasks else shared:
        raise TaskError(
            f"{where(path, [key])}: unknown key {key!r} in a group file.{did_you_mean(str(key), GROUP_KEYS)}"
        )
    name = raw.get("group")
    if not isinstance(name, str):
        raise TaskError(f"{path}: `task` is a list, so this is a group file: give it a `group` name.")
    names: list[str] = []
    inside: list[TaskVariant] = []
    for position, entry in enumerate(listed):
        if isinstance(entry, str):
            names.append(entry)
        elif isinstance(entry, dict):
            found = [*_inside(path, position, name, shared, entry, roots, known)]
            inside += found
            names += [variant.name for variant in found]
        else:
            raise TaskError(
                f"{where(path, ['task', position])}: a group lists names of tasks, tags or groups, or tasks."
            )
    return GroupFile(name, path, tuple(names), _weight_of_file(raw)), inside


def _inside(
    path: Path,
    position: int,
    group: str,
    shared: Mapping[str, Json],
    entry: Mapping[str, Json],
    roots: Sequence[Path],
    known: Mapping[str, TaskVariant],
) -> Iterator[TaskVariant]:
    own, origins = _with_include(path, entry, roots)
    name, merged = own.get("task"), {**shared, **own}
    if not isinstance(name, str):
        raise TaskError(f"{where(path, ['task', position])}: a task inside a group has a name, `task: NAME`.")
    if "dataset_path" in merged:
        named = name if name not in known else f"{group}::{name}"
        yield from variants(path, {**merged, "task": named}, origins)
        return
    if name not in known:
        raise TaskError(
            f"{where(path, ['task', position])}: no task named {name!r}, and the entry has no `dataset_path` of its "
            f"own.{did_you_mean(name, known)}"
        )
    base = known[name]
    places = {key: base.origins.get(key, base.path) for key in base.raw} | dict.fromkeys(merged, path)
    yield TaskVariant(
        f"{group}::{name}", {**base.raw, **merged, "task": f"{group}::{name}"}, base.variables, base.path, places
    )


def _with_include(
    path: Path, entry: Mapping[str, Json], roots: Sequence[Path]
) -> tuple[dict[str, Json], dict[str, Path]]:
    """An entry with the keys of the files that it includes under its own, and where these came from."""
    parents, own = entry.get("include") or [], {key: value for key, value in entry.items() if key != "include"}
    merged: dict[str, Json] = {}
    origins: dict[str, Path] = {}
    for name in parents if isinstance(parents, list) else [parents]:
        if not isinstance(name, str):
            raise TaskError(f"{where(path, ['task'])}: `include` takes file names, not {name!r}.")
        values, places = read_task_file(path.parent / name, roots)
        merged |= values
        origins |= {key: places.get(key, path.parent / name) for key in values}
    return merged | own, {key: place for key, place in origins.items() if key not in own}


def _weight_of_file(raw: Mapping[str, Json]) -> bool:
    listed = raw.get("aggregate_metric_list")
    metrics = [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []
    stated = [entry["weight_by_size"] for entry in metrics if "weight_by_size" in entry]
    return bool(raw.get("weight_by_size", all(stated)))

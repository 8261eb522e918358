"""Which tasks, groups and tags lm-eval has, found in about a second: only the few lines that name things are parsed.

lm-eval reads its 14,000 files whole, which takes half a minute. The rules are the same: a file with `class`
or `task` is a task, one with `group` a group, `include` is merged below a file's own keys, and of two files with one
name the first in the order of their paths counts.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Literal

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.extensions.lm_eval import PREFIX
from benchbench.tasks.heads import UNREADABLE, Head, Heads, listed

Kind = Literal["task", "class", "group", "tag"]
INSTALL = "pip install 'benchbench-eval[lm-eval]'"
NOT_INSTALLED = f"{PREFIX}… runs tasks of lm-eval, which is not installed. {INSTALL}"


@dataclass(frozen=True, slots=True)
class Named:
    """A task, group or tag of lm-eval's."""

    name: str
    kind: Kind
    path: Path | None
    """The YAML file; None for a tag."""
    members: tuple[str, ...] = ()
    """A tag's tasks, sorted."""


def tasks_folder() -> Path:
    """The folder of task files in the installed lm_eval, which is not imported. TaskError if it is not installed."""
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise TaskError(NOT_INSTALLED)
    return Path(next(iter(spec.submodule_search_locations))) / "tasks"


@cache
def names() -> Mapping[str, Named]:
    """Everything that lm-eval has a name for."""
    return index(tasks_folder())


def find(name: str) -> list[Named]:
    """What `name` (without the prefix) stands for: a task, group, tag, glob or YAML file. TaskError if nothing."""
    if name.endswith((".yaml", ".yml")):
        return [_of_file(Path(name))]
    known = names()
    if name in known:
        return [known[name]]
    if any(sign in name for sign in "*?["):
        found = [entry for entry in known.values() if entry.kind in ("task", "class") and fnmatchcase(entry.name, name)]
        if found:
            return sorted(found, key=lambda entry: entry.name)
    raise _unknown(name)


def matching(pattern: str) -> list[Named]:
    """Every task, group and tag of that name or glob, by name. TaskError if there is none."""
    known = names()
    found = [known[name] for name in sorted(known) if name == pattern or fnmatchcase(name, pattern)]
    if not found:
        raise _unknown(pattern)
    return found


def _unknown(name: str) -> TaskError:
    near = did_you_mean(name, names())
    return TaskError(f"lm-eval has no task, group or tag named {name!r}.{near} See `benchbench tasks ls '{PREFIX}*'`.")


def index(root: Path) -> dict[str, Named]:
    """Name → what it is, for all files below a folder."""
    found: dict[str, Named] = {}
    tags: dict[str, set[str]] = {}
    heads = Heads()
    for path in sorted(_files(root), key=Path.as_posix):
        try:
            named, labels = _named(heads.of(path))
        except UNREADABLE:
            continue  # lm-eval, too, knows nothing of a file that it cannot read
        if found.setdefault(named.name, named) is named:
            for label in labels:
                tags.setdefault(label, set()).add(named.name)
    for label, members in tags.items():
        found.setdefault(label, Named(label, "tag", None, tuple(sorted(members))))
    return found


def _of_file(path: Path) -> Named:
    if not path.is_file():
        raise TaskError(f"{PREFIX}{path}: no such file.")
    try:
        return _named(Heads().of(path.resolve()))[0]
    except UNREADABLE as error:
        raise TaskError(f"{path} is no task file of lm-eval's: {error}") from error


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".ipynb_checkpoints")]
        yield from (Path(folder, name) for name in files if name.endswith(".yaml"))


def _named(head: Head) -> tuple[Named, list[str]]:
    """What a file defines, and its tags. ValueError if it defines nothing."""
    keys = head.keys
    kind: Kind = "class" if "class" in keys else "group" if "group" in keys else "task"
    name = keys.get("group" if kind == "group" else "task")
    if not isinstance(name, str):
        raise ValueError("it names no task and no group")
    return Named(name, kind, head.path), [] if kind == "group" else listed(keys.get("tag"))

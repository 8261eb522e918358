"""Which tasks, groups and tags lm-eval has, found in about a second: only the few lines that name things are parsed.

lm-eval reads its 14,000 files whole, which takes half a minute. The rules are the same: a file with `class`
or `task` is a task, one with `group` a group, `include` is merged below a file's own keys, and of two files with one
name the first in the order of their paths counts.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.files import read_regular
from benchbench.extensions.lm_eval import PREFIX
from benchbench.tasks.dialect import MAX_FILE_BYTES, PlainLoader, check_depth

Kind = Literal["task", "class", "group", "tag"]
INSTALL = "pip install 'benchbench-eval[lm-eval]'"
NOT_INSTALLED = f"{PREFIX}… runs tasks of lm-eval, which is not installed. {INSTALL}"

_KEYS = re.compile(rb"^[\"']?(task|group|tag|class|include)[\"']?[ \t]*:(.*(?:\n(?:[ \t#-].*)?)*)", re.MULTILINE)
_PLAIN = re.compile(rb"\s*([\"']?)([A-Za-z_][\w./-]*)\1\s*")
_NO_TEXT = {b"null", b"true", b"false", b"yes", b"no", b"on", b"off", b"y", b"n"}


class _Loader(PlainLoader):
    """A safe loader, to which every tag is text."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


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
    for path in sorted(_files(root), key=Path.as_posix):
        try:
            named, labels = _named(path)
        except (yaml.YAMLError, TaskError, RecursionError, ValueError, OSError):
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
        return _named(path.resolve())[0]
    except (yaml.YAMLError, TaskError, RecursionError, ValueError, OSError) as error:
        raise TaskError(f"{path} is no task file of lm-eval's: {error}") from error


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".ipynb_checkpoints")]
        yield from (Path(folder, name) for name in files if name.endswith(".yaml"))


def _named(path: Path) -> tuple[Named, list[str]]:
    """What a file defines, and its tags. ValueError if it defines nothing."""
    head = _head(str(path))
    kind: Kind = "class" if "class" in head else "group" if "group" in head else "task"
    name = head.get("group" if kind == "group" else "task")
    if not isinstance(name, str):
        raise ValueError("it names no task and no group")
    return Named(name, kind, path), [] if kind == "group" else _listed(head.get("tag"))


def _listed(value: Any) -> list[str]:
    """One name or a list of them. ValueError for anything else."""
    names = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{value!r} stands where a name or a list of names is expected")
    return names


def _head(path: str, above: tuple[str, ...] = ()) -> Mapping[str, object]:
    """The keys that name things, with those of included files below. ValueError for a file that includes itself."""
    if path in above:
        raise ValueError(f"its includes go round in a circle: {' → '.join((*above[above.index(path) :], path))}")
    own = dict(_own(path))
    merged: dict[str, object] = {}
    for other in _listed(own.pop("include", None)):
        merged |= _head(os.path.normpath(Path(path).parent / other), (*above, path))
    return merged | own


@cache
def _own(path: str) -> Mapping[str, object]:
    """Those that the file itself has; the same few files are included thousands of times."""
    return {
        key.decode(): _value(text)
        for key, text in _KEYS.findall(read_regular(Path(path), MAX_FILE_BYTES).replace(b"\r\n", b"\n"))
    }


def _value(text: bytes) -> Any:
    plain = _PLAIN.fullmatch(text)
    if plain and plain[2].lower() not in _NO_TEXT:
        return plain[2].decode()
    check_depth(text.decode("utf-8"), Path("it"))
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader

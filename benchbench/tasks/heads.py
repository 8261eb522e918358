"""What a task file is called, by the few lines that say so: thousands of files are listed without being read whole."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import yaml

from benchbench.core.errors import TaskError
from benchbench.core.files import read_regular
from benchbench.core.types import Json
from benchbench.tasks.dialect import MAX_FILE_BYTES, PlainLoader, check_depth, check_inside

_KEYS = re.compile(
    rb"^[\"']?(task|group|tag|class|include|languages|matrix|output_type|num_fewshot|dataset_path|dataset_name"
    rb"|weight_by_size)[\"']?[ \t]*:(.*(?:\n(?:[ \t#-].*)?)*)",
    re.MULTILINE,
)
_PLAIN = re.compile(rb"\s*([\"']?)([A-Za-z_][\w./-]*)\1\s*")
_NUMBER = re.compile(rb"\s*(\d{1,9})\s*")
_NO_TEXT = {b"null", b"true", b"false", b"yes", b"no", b"on", b"off", b"y", b"n"}
_PYTHON = re.compile(rb"^[ \t]*(?:- )?[\w\"']+[\"']?[ \t]*:[ \t]*!function[ \t]+[\w.]+[ \t]*$", re.MULTILINE)

UNREADABLE = (yaml.YAMLError, TaskError, RecursionError, ValueError, OSError)
"""What `Heads.of` raises for a file that says nothing."""


class _Loader(PlainLoader):
    """A safe loader, to which every tag is text."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: str(node.value))


@dataclass(frozen=True, slots=True)
class Head:
    """The lines of a file, and of those that it includes, that name things."""

    path: Path
    keys: Mapping[str, Json]
    python: tuple[Path, int] | None
    """File and line of the first `!function`."""


class Heads:
    """Reads heads; a file that others include is read once."""

    def __init__(self, roots: Sequence[Path] | None = None) -> None:
        """`roots`: folders out of which no `include` leads; None where everything may be read."""
        self._roots = roots
        self._shared: dict[str, Head] = {}

    def of(self, path: Path) -> Head:
        """The head of a file. One of `UNREADABLE` where there is none, or it includes itself or what lies outside."""
        return self._read(path, ())

    def _read(self, path: Path, above: tuple[Path, ...]) -> Head:
        if path in above:
            circle = " → ".join(map(str, (*above[above.index(path) :], path)))
            raise ValueError(f"its includes go round in a circle: {circle}")
        own, python = _own(path)
        parents = own.pop("include", None)
        merged: dict[str, Json] = {}
        for other in listed(parents):
            parent = self._parent(path, other, above)
            merged |= parent.keys
            python = python or parent.python
        return Head(path, merged | own, python)

    def _parent(self, path: Path, name: str, above: tuple[Path, ...]) -> Head:
        place = os.path.normpath(os.path.join(os.path.dirname(path), name))  # noqa: PTH118, PTH120 - of 14,000 files
        if place not in self._shared:
            if self._roots is not None:
                check_inside(Path(place), self._roots)
            self._shared[place] = self._read(Path(place), (*above, path))
        return self._shared[place]


def listed(value: Json) -> list[str]:
    """One name or a list of them. ValueError for anything else."""
    entries = value if isinstance(value, list) else [] if value is None else [value]
    names = [name for name in entries if isinstance(name, str)]
    if len(names) < len(entries):
        raise ValueError(f"{value!r} stands where a name or a list of names is expected")
    return names


def _own(path: Path) -> tuple[dict[str, Json], tuple[Path, int] | None]:
    """The keys that the file itself has, and where it names Python."""
    text = read_regular(path, MAX_FILE_BYTES).replace(b"\r\n", b"\n")
    keys = {key.decode(): _value(value) for key, value in _KEYS.findall(text)}
    found = _PYTHON.search(text) if b"!function" in text else None
    return keys, None if found is None else (path, text.count(b"\n", 0, found.start()) + 1)


def _value(text: bytes) -> Json:
    if (plain := _plain(text)) is not None:
        return plain
    check_depth(text.decode("utf-8"), Path("it"))
    value: Json = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    return value


@lru_cache(maxsize=10_000)
def _plain(text: bytes) -> str | int | None:
    """A name or a number, which thousands of files share; None for what YAML has to read."""
    plain = _PLAIN.fullmatch(text)
    if plain and plain[2].lower() not in _NO_TEXT:
        return plain[2].decode()
    number = _NUMBER.fullmatch(text)
    return int(number[1]) if number else None

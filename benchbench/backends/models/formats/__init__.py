"""The formats in which checkpoints lie on disk. A new one is a module here and a line in `FORMATS`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    from benchbench.backends.models.formats.base import CheckpointFormat

FORMATS: Mapping[str, str] = {
    "folder": "benchbench.backends.models.formats.folder:FORMAT",
    "composer": "benchbench.backends.models.formats.composer:FORMAT",
    "gguf": "benchbench.backends.models.formats.gguf:FORMAT",
}
"""Name → where the `CheckpointFormat` is, in the order of looking."""


@cache
def format_named(name: str) -> CheckpointFormat:
    """The format of that name. KeyError where `FORMATS` has none."""
    found: CheckpointFormat = EntryPoint(name, FORMATS[name], "benchbench.formats").load()
    return found


def recognise(path: Path) -> tuple[str, Path] | None:
    """(name of the format, the folder or file to load) of what lies at `path`; None for a file of no known format.

    A folder of no known format is taken for one that lacks its configuration, which that format will say.
    """
    for name in FORMATS:
        place = format_named(name).locate(path)
        if place is not None:
            return name, place
    return ("folder", path) if path.is_dir() else None


def check_whole(path: Path) -> None:
    """ModelError where a part of the checkpoint is missing, cut short or unreadable. Reads headers only."""
    if not path.exists():
        raise ModelError(f"there is no checkpoint at {path}.")
    if (found := recognise(path)) is not None:
        name, place = found
        format_named(name).check_whole(place)

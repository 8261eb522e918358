"""Things that installed packages add under a name, through entry points; nothing is imported before it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@cache
def entry_points(group: str) -> Mapping[str, EntryPoint]:
    """Name → what installed packages declare in an entry point group, without importing any of it."""
    from importlib import metadata

    found: dict[str, EntryPoint] = {}
    for point in metadata.entry_points(group=group):
        found.setdefault(point.name, point)
    return found


def entry_point_names(group: str) -> frozenset[str]:
    """Names that installed packages declare in an entry point group, without importing any of them."""
    return frozenset(entry_points(group))


@cache
def load_entry_point(group: str, name: str) -> object:
    """What an installed package declares under this name; None if none does."""
    point = entry_points(group).get(name)
    return None if point is None else point.load()


def load(name: str, built_in: Mapping[str, str], group: str) -> object:
    """What stands under a name in a table of ours (`module:attribute`), else in an entry point group; None if nothing.

    Imports the module, so ask only for what is used.
    """
    if name not in built_in:
        return load_entry_point(group, name)
    return load_place(built_in[name])


def load_place(place: str) -> object:
    """The attribute of a module that `module:attribute` names. Imports the module."""
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)

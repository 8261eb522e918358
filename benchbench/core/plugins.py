"""Things that installed packages add under a name, through entry points; nothing is imported before it is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module


@cache
def entry_point_names(group: str) -> frozenset[str]:
    """Names that installed packages declare in an entry point group, without importing any of them."""
    from importlib.metadata import entry_points

    return frozenset(point.name for point in entry_points(group=group))


@cache
def load_entry_point(group: str, name: str) -> object:
    """What an installed package declares under this name; None if none does."""
    from importlib.metadata import entry_points

    found = list(entry_points(group=group, name=name))
    return found[0].load() if found else None


def load(name: str, built_in: Mapping[str, str], group: str) -> object:
    """What stands under a name in a table of ours (`module:attribute`), else in an entry point group; None if nothing.

    Imports the module, so ask only for what is used.
    """
    if name not in built_in:
        return load_entry_point(group, name)
    module, _, attribute = built_in[name].partition(":")
    return getattr(import_module(module), attribute)

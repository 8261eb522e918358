"""A smaller window, so that a few docs make a large task."""

from __future__ import annotations

import importlib
from collections.abc import Callable

PLACES = ("benchbench.tasks.spool", "benchbench.runner.evaluate", "benchbench.store.part_items")
"""The modules that read `WINDOW`."""


def window_of(size: int, set_value: Callable[[object, str, int], None] = setattr) -> None:
    """From now on a window holds `size` docs; `set_value` may be monkeypatch's."""
    for name in PLACES:
        set_value(importlib.import_module(name), "WINDOW", size)

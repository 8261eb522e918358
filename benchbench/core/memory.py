"""How often Python looks for dead objects that hold each other."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

OBJECTS = 1000000
"""New objects between two looks, more than a window of docs makes; Python's own number is 700."""


@contextmanager
def rare_collections() -> Iterator[None]:
    """Seldom, inside the block: docs and items never hold each other, and looking through them takes a fourth of the
    time of a run.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(OBJECTS, before[0]), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)

"""What the process is busy with while it answers no requests: told by who is busy, read by who reports progress.

It is text for people. Nothing is decided by it, and it is not recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_BEGUN: list[str] = []
"""What has begun and not ended, the innermost last."""


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Says that the block does `what`, such as "hashing the weights"."""
    _BEGUN.append(what)
    try:
        yield
    finally:
        _BEGUN.remove(what)


def activity() -> str:
    """The innermost thing that is being done; empty where nothing is told."""
    try:
        return _BEGUN[-1]
    except IndexError:
        return ""

"""Work on all cores: pages and columns by the thousand are Python's own work, which threads do one after the other."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

Part = TypeVar("Part")
Made = TypeVar("Made")

FEW = 2_000
"""Things to do up to which starting processes costs more than it saves."""
_held: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []


def cores() -> int:
    """Cores that this process may use; 1 where processes cannot be forked safely, such as on macOS."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


@contextmanager
def spread(work: Callable[[Part], Made], parts: Sequence[Part], processes: int) -> Iterator[Iterator[Made]]:
    """What `work` makes of each part, in order, begun at once in forked processes; with fewer than one, here and when
    it is asked for. What `work` changes elsewhere is lost.
    """
    if processes < 1:
        yield map(work, parts)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_hold, initargs=(work, parts)) as pool:
        futures: list[Future[Made]] = [pool.submit(_do, place) for place in range(len(parts))]
        try:
            yield (future.result() for future in futures)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _hold(work: Callable[[Any], Any], parts: Sequence[Any]) -> None:
    """Forked processes have both from memory: nothing but numbers and results goes through a pipe."""
    _held.append((work, parts))


def _do(place: int) -> Any:
    work, parts = _held[-1]
    return work(parts[place])

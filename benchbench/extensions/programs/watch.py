"""What the programs in their sandboxes use together with all that they started, looked at ten times a second.

Limits of the kernel count by process; a program that forks has as many of them. This counts the whole tree.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

PERIOD = 0.1
"""Seconds between two looks. Memory that fills faster passes its limit by what is written in that time."""
_PAGE, _TICKS = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Seen:
    """What was seen of one program's processes."""

    began: float = field(default_factory=monotonic)
    too_much: bool = False
    """They hold more memory than allowed."""
    stopped: bool = False
    """Whoever asked is not interested any more."""
    seconds: float = 0.0
    """Of processor time, of those alive at the last look."""
    looks: int = 0
    ready: int = 0
    """Looks at which one of them ran or waited for a processor."""


class _Process(NamedTuple):
    parent: int
    ready: bool
    seconds: float
    bytes: int


class Watch:
    """One thread for all sandboxes; it looks only while there is something to look at."""

    def __init__(self, memory: int) -> None:
        """`memory`: bytes that one program's processes may hold together."""
        self._memory = memory
        self._lock, self._some, self._closed = threading.Lock(), threading.Event(), False
        self._seen: dict[int, Seen] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, pid: int) -> Iterator[Seen]:
        """What is seen of the process and all that came of it, while the block runs."""
        seen = Seen()
        with self._lock:
            seen.stopped = self._closed
            self._seen[pid] = seen
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="watch of programs", daemon=True)
                self._thread.start()
        self._some.set()
        try:
            yield seen
        finally:
            with self._lock:
                del self._seen[pid]
                if not self._seen and not self._closed:
                    self._some.clear()

    def close(self) -> None:
        """Ends the thread; all that runs is stopped."""
        with self._lock:
            self._closed = True
            for seen in self._seen.values():
                seen.stopped = True
        self._some.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self) -> None:
        done = threading.Event()
        while self._some.wait() and not self._closed:
            done.wait(PERIOD)
            with self._lock:
                old = {pid: seen for pid, seen in self._seen.items() if monotonic() - seen.began > PERIOD}
            if old:
                processes = dict(_processes())
                children: dict[int, list[int]] = {}
                for pid, process in processes.items():
                    children.setdefault(process.parent, []).append(pid)
                for root, seen in old.items():
                    self._sum([processes[pid] for pid in _tree(root, children) if pid in processes], seen)

    def _sum(self, tree: list[_Process], seen: Seen) -> None:
        seen.looks += 1
        seen.ready += any(process.ready for process in tree)
        seen.seconds = sum(process.seconds for process in tree)
        seen.too_much = seen.too_much or sum(process.bytes for process in tree) > self._memory


def _tree(root: int, children: dict[int, list[int]]) -> list[int]:
    found = [root]
    for pid in found:
        found += children.get(pid, ())
    return found


def _processes() -> Iterator[tuple[int, _Process]]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - hundreds of names, ten times a second
        if name.isdecimal():
            with suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()  # from the state on: its name may hold anything
                cpu = (int(fields[11]) + int(fields[12])) / _TICKS
                yield int(name), _Process(int(fields[1]), fields[0] in b"RD", cpu, int(fields[21]) * _PAGE)

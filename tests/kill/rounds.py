"""Kills, then the same command: its files are those of an undisturbed one, and nothing is left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.kill.child import Child, clock_ahead, hub_of, killed_at, limited
from tests.kill.works import SITE, Tree, Work, rows_of, tree

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
YEAR = 365 * 24 * 3600.0
STRAYS = (".*.tmp", ".lock", ".new-*", "*.partial", "live.jsonl")
"""Names that no folder holds when nobody works in it."""


@dataclass(slots=True)
class Round:
    """One folder: some kills, then the command undisturbed."""

    work: str
    killed: list[str] = field(default_factory=list)
    """What ended the command, in order."""
    wrong: list[str] = field(default_factory=list)
    """What should not be, as sentences."""


class Killing:
    """Kills one work in one world."""

    def __init__(self, work: Work, world: Path, seed: int = 1) -> None:
        """Runs the work once undisturbed: that is what each round must come to, and how long it takes."""
        self.work, self.world, self._random = work, world, random.Random(f"{work.name} {seed}")
        self._count = 0
        whole = self.fresh("whole")
        began = time.monotonic()
        child = self.start(whole)
        while not self.work.begun(whole) and not child.ended():
            time.sleep(0.002)
        self._to_begin, middle = time.monotonic() - began, time.monotonic()
        assert child.code() == 0, self.said()
        self.seconds = time.monotonic() - middle
        self.expected: Tree = work.seen(whole)
        before = world / f"before-{work.name}"
        self.old: Tree = tree(before) if before.exists() else {}

    def fresh(self, name: str) -> Path:
        """A folder as the work finds it."""
        folder = self.world / f"{self.work.name}-{name}"
        if (before := self.world / f"before-{self.work.name}").exists():
            shutil.copytree(before, folder)
        return folder

    def start(self, folder: Path, change: Callable[[], None] = lambda: None) -> Child:
        """The command; `change` is called in its process first."""
        hub = hub_of(partial(rows_of, self.world)) if self.work.hub else lambda: None

        def before() -> None:
            hub()
            change()

        return Child(self.work.arguments(self.world, folder), self._said, before)

    @property
    def _said(self) -> Path:
        return self.world / f"{self.work.name}.said"

    def said(self) -> str:
        """What the last command said."""
        return self._said.read_text(encoding="utf-8", errors="replace")

    def rounds(self, kills: int) -> Iterator[Round]:
        """Rounds until so many kills hit a command at work."""
        hit = tries = 0
        while hit < kills:
            self._count += 1
            folder = self.fresh(f"killed{self._count}")
            made = Round(self.work.name)
            for _ in range(self._random.choice([1, 1, 2])):
                tries += 1
                assert tries < 20 * kills, f"{self.work.name} gets through before it can be killed"
                self.kill(folder, SIGNALS[tries % len(SIGNALS)], made)
            hit += len(made.killed)
            self.finish(folder, made)
            shutil.rmtree(folder)
            yield made

    def at_calls(self, first: int, step: int) -> Iterator[Round]:
        """A round for each `step`-th system call that writes, from the `first` on, until the command gets through."""
        call, through = first, False
        while not through:
            folder, made = self.fresh(f"call{call}"), Round(self.work.name)
            child = self.start(folder, killed_at(call))
            through = child.code() == 0
            if not through:
                made.killed.append(f"call {call}")
                self.check_stopped(folder, child, made)
                self.finish(folder, made)
                yield made
            shutil.rmtree(folder)
            call += step

    def clock_set_back(self, kills: int) -> Iterator[Round]:
        """As `rounds`, but the clock was a year ahead until the kill and is right afterwards."""
        hit = tries = 0
        while hit < kills:
            tries += 1
            assert tries < 20 * kills, f"{self.work.name} gets through before it can be killed"
            folder, made = self.fresh(f"clock{tries}"), Round(self.work.name)
            self.kill(folder, signal.SIGKILL, made, clock_ahead(YEAR))
            hit += len(made.killed)
            for path in folder.rglob("*"):
                os.utime(path, (path.stat().st_atime + YEAR, path.stat().st_mtime + YEAR))
            self.finish(folder, made)
            shutil.rmtree(folder)
            yield made

    def out_of_memory(self, cgroup: Path | None) -> Iterator[Round]:
        """A round for each limit of memory, from little to enough: enforced by the kernel's killer in `cgroup`, or by
        refusing memory where there is none. Python waits for ever for a thread that begins and finds no memory
        (`Thread.start`): a command that stands still is killed, and has to go on like any other.
        """
        megabytes, code = 1, -1
        while code != 0:
            folder, made = self.fresh(f"memory{megabytes}"), Round(self.work.name)
            child = self.start(folder, limited(megabytes << 20, cgroup))
            try:
                code = child.code(still=10.0)
            except TimeoutError:
                code = -signal.SIGKILL
            made.killed.append(f"{megabytes} MB: {code}")
            if code != 0:
                self.check_stopped(folder, child, made)
            self.finish(folder, made)
            shutil.rmtree(folder)
            yield made
            megabytes *= 2

    def kill(
        self,
        folder: Path,
        number: signal.Signals,
        made: Round,
        change: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the command and sends the signal at a random moment of its work."""
        child = self.start(folder, change)
        while not self.work.begun(folder) and not child.ended():
            time.sleep(0.001)
        until = time.monotonic() + self._random.uniform(0, self.seconds)
        while time.monotonic() < until and not child.ended():
            time.sleep(0.001)
        child.send(number)
        if (code := child.code()) == 0:
            return
        made.killed.append(number.name)
        if code not in (-number, 130):
            made.wrong.append(f"{number.name}: exit code {code}: {self.said()}")
        self.check_stopped(folder, child, made)

    def check_stopped(self, folder: Path, child: Child, made: Round) -> None:
        """What must hold right after a kill."""
        if child.left():
            made.wrong.append("processes went on after the kill")
        if self.work is SITE and (held := pages(folder)) not in (pages_of(self.old), pages_of(self.expected)):
            made.wrong.append(f"old and new pages side by side: {len(held)} pages")

    def finish(self, folder: Path, made: Round) -> None:
        """The same command to its end, and what must hold then."""
        child = self.start(folder)
        if child.code() != 0:
            made.wrong.append(f"the same command ended with {child.code()}: {self.said()}")
            return
        if "Traceback" in self.said():
            made.wrong.append(self.said())
        found = self.work.seen(folder)
        for name in sorted({*found, *self.expected}):
            if found.get(name) != self.expected.get(name):
                made.wrong.append(f"{name} is not that of an undisturbed command")
        made.wrong += [f"{path.relative_to(folder)} is left" for path in strays(folder)]


def strays(folder: Path) -> list[Path]:
    """Files that were for work in progress."""
    return sorted(path for pattern in STRAYS for path in folder.rglob(pattern))


def pages(folder: Path) -> Tree:
    """The pages of a site as they are."""
    return pages_of(tree(folder))


def pages_of(files: Tree) -> Tree:
    """The pages among files."""
    return {name: data for name, data in files.items() if name.endswith(".html")}

"""One program while it runs in its sandbox, seen from outside: until it ends, tells how it ended, or is stopped."""

from __future__ import annotations

import os
import selectors
import subprocess
from time import monotonic

from benchbench.extensions.programs import ENDINGS, Limits, Verdict
from benchbench.extensions.programs.watch import PERIOD, Seen

_SHOWN = 300
"""Characters of a program's error that are kept."""
_KEPT = 8192
"""Bytes of what it writes that are kept: the last of its errors, the first of its report."""
_SIGXCPU, _SIGKILL, _MOST_SIGNALS = 24, 9, 64


class NotStartedError(Exception):
    """The sandbox could not be made, or was stopped: nothing is known of the program."""


class Session:
    """Reads what a started sandbox tells. The process is reaped in the end."""

    def __init__(self, process: subprocess.Popen[bytes], report: int, secret: str, limits: Limits, wall: float) -> None:
        """`report` is the end of the pipe on which the launcher tells how the program ended, signed with `secret`.

        It may take `wall` seconds on the clock.
        """
        if process.stderr is None:
            raise AssertionError("the sandbox was started without a pipe for errors")
        self._process, self._report, self._errors = process, report, process.stderr.fileno()
        self._secret, self._limits, self._wall = secret.encode("ascii"), limits, wall
        self._told, self._said, self._written = b"", b"", 0
        self._late = False

    def watch(self, seen: Seen) -> None:
        """Waits until the program ended or its time did, then ends all that is left of it."""
        try:
            self._until_it_ends(seen)
        finally:
            os.kill(self._process.pid, _SIGKILL)  # not reaped yet, so the number is its own
            _, status, self._usage = os.wait4(self._process.pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)

    def _until_it_ends(self, seen: Seen) -> None:
        until, ended = monotonic() + self._wall, os.pidfd_open(self._process.pid)
        try:
            with selectors.DefaultSelector() as selector:
                for file in (self._report, self._errors, ended):
                    os.set_blocking(file, False)
                    selector.register(file, selectors.EVENT_READ)
                while not (seen.too_much or seen.stopped or self._has_ended or self._written > self._limits.output):
                    left = until - monotonic()
                    if left <= 0:
                        self._late = True
                        return
                    ready = [key.fd for key, _ in selector.select(min(left, 0.1))]
                    for file in ready:
                        if file != ended and not self._read(file):
                            selector.unregister(file)
                    if ended in ready:
                        while self._read(self._report) or self._read(self._errors):
                            pass
                        return
        finally:
            os.close(ended)

    @property
    def _has_ended(self) -> bool:
        """The launcher told how."""
        return self._secret in self._told

    def _read(self, file: int) -> bool:
        """Whether there was more."""
        try:
            block = os.read(file, 1 << 16)
        except BlockingIOError:
            return False
        if file == self._report:
            self._told = (self._told + block)[:_KEPT]
        else:
            self._written += len(block)
            self._said = (self._said + block)[-_KEPT:]
        return bool(block) and self._written <= self._limits.output

    def verdict(self, seen: Seen, *, by_itself: bool) -> Verdict:
        """How the program ended.

        Args:
            by_itself: its interpreter's status says so; else the launcher tells.

        Raises:
            NotStartedError: it never began.
        """
        lines = self._told.splitlines()
        if seen.stopped:
            raise NotStartedError("it was stopped.")
        if not lines or lines[0] != b"started":
            raise NotStartedError(self._last_words or "bubblewrap ended without a word.")
        if seen.too_much:
            return Verdict("memory", f"more than {self._limits.memory >> 20:,} MiB")
        if self._has_ended:
            return self._as_told(next(line for line in lines if self._secret in line))
        if self._written > self._limits.output:
            return Verdict("output", f"more than {self._limits.output >> 10:,} KiB")
        if self._late:
            return Verdict("slow", f"more than {self._wall:g} s")
        return self._by_status(self._process.returncode, self._processor(seen), by_itself=by_itself)

    def _as_told(self, line: bytes) -> Verdict:
        _, ending, why = line.decode("ascii").split(" ")
        text = bytes.fromhex(why).decode("utf-8", "replace")
        found = next((one for one in ENDINGS if one == ending), None)
        if found is None:
            raise NotStartedError(text)
        return Verdict(found, text[:_SHOWN])

    def _by_status(self, code: int, seconds: float, *, by_itself: bool) -> Verdict:
        signal = code - 128
        # Half: where the processors are busy, the last look at what it used may be seconds old.
        if signal == _SIGXCPU or (signal == _SIGKILL and seconds >= self._limits.seconds / 2):
            return Verdict("slow", f"more than {self._limits.seconds:g} s of processor time")
        if 0 < signal <= _MOST_SIGNALS:
            return Verdict("crashed", f"signal {signal}. {self._last_words}"[:_SHOWN].strip())
        if by_itself:
            return Verdict("passed") if code == 0 else Verdict("failed", self._last_words or f"exit status {code}")
        return Verdict("failed", "it ended itself before its last line")

    def _processor(self, seen: Seen) -> float:
        """Seconds that it used, about: bubblewrap may not wait for its children, so what was seen counts too."""
        return max(self._usage.ru_utime + self._usage.ru_stime, seen.seconds + 3 * PERIOD)

    @property
    def _last_words(self) -> str:
        lines = [line for line in self._said.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip()[:_SHOWN] if lines else ""

    def starved(self, seen: Seen) -> bool:
        """It ran out of time on the clock while it mostly waited for a processor that others had."""
        return self._late and seen.seconds < self._limits.seconds and 2 * seen.ready > seen.looks

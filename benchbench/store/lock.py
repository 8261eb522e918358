"""One writer per run folder: the second process is told who holds it and stops."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from benchbench.core.errors import RunInUse, StoreError
from benchbench.core.types import Json
from benchbench.store.files import os_errors, write_all

LOCK_NAME = ".lock"


class RunLock:
    """Holds a run folder until closed or until the process ends, however it ends (the kernel releases it)."""

    def __init__(self, folder: Path) -> None:
        """Takes the lock. RunInUse naming the holder's process, host and start if another has it."""
        self.path = folder / LOCK_NAME
        self._fd = self._take()
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S %z")}
        with os_errors(self.path, "write"):
            os.ftruncate(self._fd, 0)
            write_all(self._fd, json.dumps(holder).encode("ascii"))

    def _take(self) -> int:
        while True:
            with os_errors(self.path, "open"):
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            try:
                self._flock(fd)
            except BaseException:
                os.close(fd)
                raise
            if _same_file(fd, self.path):
                return fd
            os.close(fd)  # the holder before us removed the file between our open and our lock

    def _flock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunInUse(_taken(self.path, fd)) from None
        except OSError as error:
            raise StoreError(
                f"cannot lock {self.path} ({error.strerror}): this file system has no file locks. Choose a --results"
                " folder that has them (on Lustre, one mounted with -o flock)."
            ) from error

    def close(self) -> None:
        """Removes the lock file and lets go. Removing comes first, so that nobody locks a file about to vanish."""
        if self._fd >= 0:
            with suppress(OSError):
                self.path.unlink()
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


@contextmanager
def shortly(folder: Path, seconds: float = 10.0) -> Iterator[None]:
    """Holds the lock of `folder` for a moment, after those who hold it for one. RunInUse if it is never free."""
    until = time.monotonic() + seconds
    while True:
        try:
            lock = RunLock(folder)
            break
        except RunInUse:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    with lock:
        yield


def remove_left(folder: Path) -> None:
    """Removes the lock file that a killed process left in `folder`, if there is one and it may be written."""
    if (folder / LOCK_NAME).exists():
        with suppress(StoreError):
            RunLock(folder).close()


def is_held(folder: Path) -> bool:
    """Whether a process holds the lock of `folder` just now. A lock file that a killed process left is not held."""
    try:
        fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _same_file(fd: int, path: Path) -> bool:
    try:
        named, held = path.stat(), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)


def _taken(path: Path, fd: int) -> str:
    try:
        holder: dict[str, Json] = json.loads(os.pread(fd, 4096, 0))
        who = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
    except (ValueError, KeyError, TypeError):
        who = "another process"
    return (
        f"the run {path.parent} is being written by {who}. Wait until it ends or stop it, then give the same command"
        " again; --fresh starts another attempt beside it."
    )

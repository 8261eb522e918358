"""Files that are either whole or absent, and operating system errors as sentences."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from benchbench.core.errors import StoreError
from benchbench.core.types import Json

_MAKE_ROOM = "Make room and give the same command again: what is already written is kept."
_ADVICE = {
    errno.ENOSPC: f"the disk is full. {_MAKE_ROOM}",
    errno.EDQUOT: f"the disk quota is used up. {_MAKE_ROOM}",
    errno.EFBIG: f"the file would outgrow what this process may write (`ulimit -f`). {_MAKE_ROOM}",
    errno.EROFS: "the file system is read-only. Choose another folder with --output.",
    errno.EACCES: "permission denied. Choose another folder with --output, or ask its owner for write access.",
    errno.EPERM: "permission denied. Choose another folder with --output, or ask its owner for write access.",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another folder with --output.",
    errno.EEXIST: "a file stands where a folder is needed. Choose another folder with --output.",
    errno.ENAMETOOLONG: "the path is too long for this file system. Choose a shorter --output.",
    errno.EIO: "the disk reports an input/output error.",
}


def sentence(path: Path, doing: str, error: OSError) -> StoreError:
    """The StoreError that tells a user what went wrong while `doing` something with `path`."""
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}.")
    return StoreError(f"cannot {doing} {path}: {advice}")


@contextmanager
def os_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns any OSError inside into a StoreError sentence."""
    try:
        yield
    except OSError as error:
        raise sentence(path, doing, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Writes all of `data`, going on after short writes (a signal, a nearly full disk)."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def fsync_folder(folder: Path) -> None:
    """Makes names created or renamed in `folder` survive a power cut, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_folder(folder: Path) -> None:
    """Creates `folder` and its parents; StoreError if that cannot be done."""
    with os_errors(folder, "create"):
        folder.mkdir(parents=True, exist_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Writes `path` so that it is either absent (or as before) or complete: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_folder(path.parent)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write, which becomes `path` when the block ends well, and is gone when it does not."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_folder(path.parent)


def write_json(path: Path, value: Mapping[str, Json]) -> None:
    """Writes `value` as indented JSON, whole or not at all. NaN and infinity are refused (ValueError)."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode("utf-8", errors="replace"))


def read_json(path: Path) -> dict[str, Json]:
    """The JSON object in `path`; StoreError if it is missing or not one."""
    with os_errors(path, "read"):
        data = path.read_bytes()
    try:
        value = json.loads(data)
    except ValueError as error:
        raise StoreError(f"{path} is not JSON ({error}); the run folder is damaged.") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds no JSON object; the run folder is damaged.")
    return value


def remove_strays(folder: Path, *, below: bool = True) -> None:
    """Deletes temporary files that a killed writer left behind, also in folders `below`. Call only while holding the
    folder's lock.
    """
    for stray in folder.rglob(".*.tmp") if below else folder.glob(".*.tmp"):
        with suppress(OSError):
            stray.unlink()

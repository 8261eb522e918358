"""Files that somebody else made: regular ones only, and no more of them than a stated size."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path, *, follow: bool = True) -> BufferedReader:
    """`path` for reading. OSError, with a clause as its `strerror`, for anything but a regular file (EINVAL).

    Without `follow` a link is none either (ELOOP); links on the way to it are followed.

    A pipe without a writer, a device or a folder is refused at once, and a pipe that takes the file's place after it
    was looked at does not make us wait.
    """
    return os.fdopen(_opened(path, follow=follow)[0], "rb")


def read_regular(path: Path, most: int) -> bytes:
    """All of a regular file of at most `most` bytes; OSError as `open_regular`, and for a longer one."""
    handle, size = _opened(path, follow=True)
    try:
        content = os.read(handle, min(size, most) + 1)
        if len(content) != size:  # cut short by a signal, or the file grows
            with os.fdopen(handle, "rb", closefd=False) as file:
                content += file.read(most + 1 - len(content))
    finally:
        os.close(handle)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most:,} bytes", str(path))
    return content


def _opened(path: Path, *, follow: bool) -> tuple[int, int]:
    """Of a regular file the open handle and the size in bytes."""
    _check_regular(os.stat(path, follow_symlinks=follow), path)  # noqa: PTH116 - of 14,000 files
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        found = os.fstat(handle)
        _check_regular(found, path)
    except OSError:
        os.close(handle)
        raise
    return handle, found.st_size


def is_regular(path: Path) -> bool:
    """Whether `path` is a regular file, or a link to one."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):  # ValueError: a NUL byte in the name
        return False


def _check_regular(found: os.stat_result, path: Path) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "it is a link, which is not followed", str(path))
    raise OSError(errno.EINVAL, f"it is {_KINDS.get(stat.S_IFMT(found.st_mode), 'no file')}", str(path))


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
}

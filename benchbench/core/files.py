"""Reading files that a stranger may have put there: plain files only, and no more of them than fits."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from benchbench.core.errors import BenchbenchError


def open_regular(path: Path, error: type[BenchbenchError], *, follow: bool = True) -> int:
    """A descriptor to read `path` with. `error` if it is a folder, pipe, device or socket; OSError as `os.open`.

    Args:
        follow: a link is as good as the file; False: it is refused.
    """
    if not follow and path.is_symlink():
        raise error(f"{path} is a link to somewhere else; a plain file was expected. Remove it, or put a copy there.")
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise error(f"{path} is no plain file (a folder, a pipe or a device); a plain file was expected there.")
    return fd


def read_regular(path: Path, limit: int, error: type[BenchbenchError], *, follow: bool = True) -> bytes:
    """All of a plain file of at most `limit` bytes; `error` for any other. OSError where it cannot be read."""
    with os.fdopen(open_regular(path, error, follow=follow), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise error(f"{path} has more than {limit:,} bytes, the most that is read of such a file.")
    return data

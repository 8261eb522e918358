"""A file of JSON lines to which one process appends: a kill tears at most the last line, and readers pass over it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from benchbench.core.types import Json
from benchbench.store.files import os_errors, sentence, write_all

_ENCODER = json.JSONEncoder(separators=(",", ":"))


def read_lines(path: Path) -> Iterator[dict[str, Json]]:
    """The objects in `path`, oldest first. Lines that are not whole are passed over; a missing file is empty."""
    data = b""
    with os_errors(path, "read"), suppress(FileNotFoundError):
        data = path.read_bytes()
    return _whole(data)


def _whole(data: bytes) -> Iterator[dict[str, Json]]:
    for line in data.split(b"\n")[:-1]:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


class LineLog:
    """Appends objects to a file, each with one write. A failed write leaves the file as it was before it."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending and cuts off a torn last line. Only the holder of the run's lock may do this."""
        self.path = path
        with os_errors(path, "open"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._size = _cut_torn_line(self._fd)

    def append(self, value: Mapping[str, Json]) -> None:
        """Adds one line. StoreError if the disk is full or gone; then no part of the line stays."""
        data = _ENCODER.encode(value).encode("ascii") + b"\n"
        try:
            write_all(self._fd, data)
        except BaseException as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self._size)
            if isinstance(error, OSError):
                raise sentence(self.path, "write to", error) from error
            raise
        self._size += len(data)

    def close(self) -> None:
        """Closes the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> LineLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def _cut_torn_line(fd: int) -> int:
    """Truncates the file after its last newline and returns the size that is left."""
    size = end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - 65536)
        block = os.pread(fd, end - start, start)
        newline = block.rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    if end < size:
        os.ftruncate(fd, end)
    return end

"""A file of JSON lines to which one process appends: a kill tears at most the last line, and readers pass over it.

Each line ends in a checksum of its own. A line that is not what was written is passed over, too.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from functools import cache, partial
from pathlib import Path
from types import TracebackType

from benchbench.core.types import Item, Json
from benchbench.store.files import open_plain, os_errors, sentence, write_all

MAX_LINE = 2**28
"""Bytes of the longest line that is read."""
_CHECKSUM = re.compile(rb',?"crc":"([0-9a-f]{8})"}\Z')


def read_lines(path: Path) -> Iterator[dict[str, Json]]:
    """The objects in `path`, oldest first. Lines that are not whole are passed over; a missing file is empty."""
    return (value for value in judged_lines(path) if value is not None)


def judged_lines(path: Path) -> Iterator[dict[str, Json] | None]:
    """Each line's object, oldest first; None for one that is damaged. What stands behind the last line is left out.

    Files of former versions have no checksums; where one line has one, those after it have.
    """
    has_checksum = False
    with os_errors(path, "read"), suppress(FileNotFoundError), open_plain(path) as file:
        while (line := file.readline(MAX_LINE)).endswith(b"\n"):
            value, is_checked = _read_line(line[:-1])
            has_checksum |= is_checked
            yield value if is_checked or not has_checksum else None


def _read_line(line: bytes) -> tuple[dict[str, Json] | None, bool]:
    """The line's object, None if it is none, and whether its checksum is right."""
    found = _CHECKSUM.search(line, max(0, len(line) - 20))
    if found is not None and zlib.crc32(line[: found.start()]) != int(found[1], 16):
        return None, False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None, False
    if not isinstance(value, dict):
        return None, False
    if found is not None:
        del value["crc"]
    return value, found is not None


def encode_line(value: Mapping[str, Json] | Item) -> bytes:
    """The object, or an item as the object of its fields, as a line with its checksum."""
    whole = _json(value)[:-1]
    return b'%b%b"crc":"%08x"}\n' % (whole, b"," if value else b"", zlib.crc32(whole))


@cache
def _encoder() -> Callable[[object], bytes]:
    """What takes a fifth of the time of the standard library's encoder; loaded by the first that writes."""
    from pydantic_core import to_json

    return partial(to_json, inf_nan_mode="constants")


@cache
def _item_encoder() -> Callable[[Item], bytes]:
    """The same for items, whose fields it knows beforehand: two thirds of the time, at each doc of a run."""
    from pydantic_core import SchemaSerializer, core_schema

    names = [field.name for field in fields(Item)]
    values = [core_schema.dataclass_field(name, core_schema.any_schema()) for name in names]
    schema = core_schema.dataclass_schema(Item, core_schema.dataclass_args_schema("Item", values), names, slots=True)
    return SchemaSerializer(schema, core_schema.CoreConfig(ser_json_inf_nan="constants")).to_json


def _json(value: Mapping[str, Json] | Item) -> bytes:
    """JSON in one line."""
    try:
        return _item_encoder()(value) if isinstance(value, Item) else _encoder()(value)
    except ValueError:  # half a surrogate pair has no UTF-8
        plain = asdict(value) if isinstance(value, Item) else value
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


class LineLog:
    """Appends objects to a file, each with one write. A failed write leaves the file as it was before it."""

    def __init__(self, path: Path) -> None:
        """Opens `path` for appending and cuts off a torn last line. Only the holder of the run's lock may do this."""
        self.path = path
        with os_errors(path, "open"):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
            self._size = _cut_torn_line(self._fd)

    def append(self, value: Mapping[str, Json] | Item) -> None:
        """Adds one line. StoreError if the disk is full or gone; then no part of the line stays."""
        data = encode_line(value)
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

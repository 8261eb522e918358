"""Values of which there may be too many to hold: up to a window of them in memory, more in a temporary file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain, islice
from operator import attrgetter
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar, cast, overload

from benchbench.core.errors import DataError
from benchbench.core.types import (
    WINDOW,
    Doc,
    GenerateRequest,
    LoglikelihoodRequest,
    Prompt,
    RenderedDoc,
    RollingRequest,
)

T = TypeVar("T")

_FIELDS = {
    kind: attrgetter(*(field.name for field in fields(kind)))
    for kind in (Doc, GenerateRequest, LoglikelihoodRequest, Prompt, RenderedDoc, RollingRequest)
}
"""What is taken apart before it is written."""


BLOCK = 1000
"""Values that are written and read together: as many as lie near the processor."""


def held(values: Iterable[T], *, block: int = BLOCK) -> Sequence[T]:
    """A tuple of `values` if they are no more than a window, else a `Spool` of them in blocks of `block`.

    DataError where the temporary file cannot be written.
    """
    values = iter(values)
    first = tuple(islice(values, WINDOW + 1))
    return first if len(first) <= WINDOW else Spool(chain(first, values), min(block, WINDOW))


class Spool(Sequence[T], Generic[T]):
    """Values in a nameless temporary file, which is gone with the process however that ends; read block by block."""

    def __init__(self, values: Iterable[T], block: int) -> None:
        self._block = block
        self._places = [0]
        """Where each block begins, and the last one ends."""
        self._size = 0
        values = iter(values)
        try:
            self._file: IO[bytes] = TemporaryFile(prefix="benchbench-")  # noqa: SIM115  # as long as this object
            while some := [*islice(values, block)]:
                self._size += len(some)
                self._places.append(self._places[-1] + self._file.write(pickle.dumps(_apart(some), protocol=5)))
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"documents cannot be kept in a temporary file: {error.strerror or error}. Name a folder with room in "
                "the environment variable TMPDIR."
            ) from error

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        for number in range(len(self._places) - 1):
            yield from self._read(number)

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        if isinstance(place, slice):
            places = range(self._size)[place]
            blocks = dict.fromkeys(at // self._block for at in places)
            values = {number: self._read(number) for number in blocks}
            return [values[at // self._block][at % self._block] for at in places]
        at = range(self._size)[place]
        return self._read(at // self._block)[at % self._block]

    def _read(self, number: int) -> Sequence[T]:
        start, end = self._places[number], self._places[number + 1]
        return _together(*pickle.loads(os.pread(self._file.fileno(), end - start, start)))  # noqa: S301  # written above


_Apart = tuple[type | None, Sequence[int] | None, Sequence[Any]]


def _apart(values: Sequence[Any]) -> _Apart:
    """Objects of one kind as columns of their fields, in half the time that pickling one by one takes.

    Gives (kind, place of each value among those written or None if that is its own, columns); for tuples of such
    objects (tuple, length of each, all objects); for anything else (None, None, values).
    """
    kinds = {*map(type, values)}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is tuple and values[0] and type(values[0][0]) in _FIELDS:
        return kind, [*map(len, values)], _apart([*chain.from_iterable(values)])
    if kind not in _FIELDS:
        return None, None, values
    places = None
    if kind is Prompt:  # those of one doc's choices are one object
        once = dict(zip(map(id, values), values, strict=True))
        numbers = dict(zip(once, range(len(once)), strict=True))
        places, values = [numbers[id(value)] for value in values], [*once.values()]
    return kind, places, [_apart(column) for column in zip(*map(_FIELDS[kind], values), strict=True)]


def _together(kind: type | None, places: Sequence[int] | None, parts: Any) -> Sequence[Any]:
    """The values of which `_apart` gave this."""
    if kind is None:
        return cast("Sequence[Any]", parts)
    if kind is tuple:
        each = iter(_together(*parts))
        return [tuple(islice(each, length)) for length in places or ()]
    made = [*map(kind, *[_together(*column) for column in parts])]
    return made if places is None else [made[place] for place in places]

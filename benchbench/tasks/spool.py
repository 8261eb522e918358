"""Values of which there may be too many to hold: up to a window of them in memory, more in a temporary file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from io import BytesIO
from itertools import chain, islice
from operator import attrgetter
from tempfile import TemporaryFile
from typing import IO, Any, Generic, TypeVar, overload

from benchbench.core.chat import Conversation, Shot
from benchbench.core.errors import DataError
from benchbench.core.types import (
    WINDOW,
    Doc,
    GenerateRequest,
    GenerationParams,
    LoglikelihoodRequest,
    Prompt,
    RenderedDoc,
    RollingRequest,
)

T = TypeVar("T")

_Rebuilt = tuple[Callable[..., object], tuple[object, ...]]


def _as_call(kind: type) -> Callable[[object], _Rebuilt]:
    """How a dataclass is written: as the call that makes it again, which is a third of the time of its fields one by
    one.
    """
    values = attrgetter(*(field.name for field in fields(kind)))
    return lambda value: (kind, values(value))


_WRITTEN: dict[type, Callable[[object], _Rebuilt]] = {
    kind: _as_call(kind)
    for kind in (
        Conversation,
        Doc,
        GenerateRequest,
        GenerationParams,
        LoglikelihoodRequest,
        Prompt,
        RenderedDoc,
        RollingRequest,
        Shot,
    )
}


def held(values: Iterable[T], *, block: int | None = None) -> Sequence[T]:
    """A tuple of `values` if they are no more than a window, else a `Spool` of them in blocks of `block`
    (of a window, where it is None).

    DataError where the temporary file cannot be written.
    """
    values = iter(values)
    first = tuple(islice(values, WINDOW + 1))
    return first if len(first) <= WINDOW else Spool(chain(first, values), block or WINDOW)


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
            while values_of_block := list(islice(values, block)):
                self._size += len(values_of_block)
                self._places.append(self._places[-1] + self._file.write(_encoded(values_of_block)))
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

    def _read(self, number: int) -> list[T]:
        start, end = self._places[number], self._places[number + 1]
        values: list[T] = pickle.loads(os.pread(self._file.fileno(), end - start, start))  # noqa: S301  # written above
        return values


def _encoded(values: list[Any]) -> bytes:
    data = BytesIO()
    pickler = pickle.Pickler(data, protocol=5)
    pickler.dispatch_table = _WRITTEN
    pickler.dump(values)
    return data.getvalue()

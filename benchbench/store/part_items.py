"""The items of a large task, as they lie in its parquet part: read by row groups and by columns, never held at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

from benchbench.core.types import WINDOW, Item, Outcome
from benchbench.store.table import (
    COLUMNS,
    LISTS,
    column_name,
    items_of,
    part_scores,
    read_part,
    score_names,
    whole_parquet,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

AT_ONCE = 4096
"""Items that are made at once where all are read."""
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(COLUMNS),
    **dict.fromkeys(LISTS, ()),
    "task": "",
    "doc_id": -1,
    "doc_hash": "",
    "prompt_name": "",
    "item_key": "",
    "outcome": "answered",
    "tie": False,
    "dropped_shots": 0,
    "truncated_tokens": 0,
}


class PartItems(Sequence[Item]):
    """The items of parts that follow each other, or some of them. An `ItemTable`. StoreError where one is damaged."""

    def __init__(self, parts: Sequence[Path], kept: NDArray[np.bool_] | None = None) -> None:
        """`kept` says of every row of the parts whether it counts; None: all do."""
        self._parts, self._kept = tuple(parts), kept
        self._size = sum(map(rows_in, parts)) if kept is None else int(kept.sum())
        self._clusters: list[str | None] | None = None
        """Once read, they are kept: every metric asks for them."""

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Item]:
        return self.reading(*COLUMNS, "scores")

    @overload
    def __getitem__(self, place: int) -> Item: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Item]: ...
    def __getitem__(self, place: int | slice) -> Item | Sequence[Item]:
        if isinstance(place, slice):
            wanted = set(range(self._size)[place])
            return [item for at, item in enumerate(self) if at in wanted]
        at = range(self._size)[place]
        return next(item for number, item in enumerate(self) if number == at)

    def scores(self, metric: str) -> list[float | None]:
        """See ItemTable."""
        return _listed(self._column(column_name(metric)))

    def clusters(self) -> list[str | None]:
        """See ItemTable. Items of one cluster share its name."""
        if self._clusters is None:
            self._clusters = _shared(self._column("cluster"))
        return self._clusters

    def outcomes(self) -> list[Outcome]:
        """See ItemTable."""
        return cast("list[Outcome]", _shared(self._column("outcome")))

    def numbers(self, name: str) -> list[int]:
        """See ItemTable."""
        return _listed(self._column(name))

    def sizes(self, name: str) -> list[int]:
        """See ItemTable."""
        import pyarrow.compute as pc

        return _listed(pc.list_value_length(self._column(name)))

    def total(self, name: str) -> int:
        """See ItemTable."""
        import pyarrow.compute as pc

        return int(pc.sum(pc.list_flatten(self._column(name))).as_py() or 0)

    def reading(self, *names: str) -> Iterator[Item]:
        """See ItemTable."""
        place = 0
        for path in self._parts:
            for item in read_items(path, names):
                if self._kept is None or self._kept[place]:
                    yield item
                place += 1

    def where(self, keep: Iterable[bool]) -> PartItems:
        """See ItemTable."""
        import numpy as np

        kept = np.fromiter(keep, np.bool_, self._size)
        if kept.all():
            return self
        if self._kept is None:
            return PartItems(self._parts, kept)
        rows = self._kept.copy()
        rows[rows] = kept
        return PartItems(self._parts, rows)

    def _column(self, column: str) -> pa.ChunkedArray[Any]:
        import pyarrow as pa

        found = pa.chunked_array([chunk for path in self._parts for chunk in _chunks(path, column)])
        return found if self._kept is None else found.filter(pa.array(self._kept))


def read_items(path: Path, names: Sequence[str]) -> Iterator[Item]:
    """The items of a part with the fields `names`; in the others stands nothing. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    scores = part_scores(path) if "scores" in names else {}
    columns = [*(name for name in names if name != "scores"), *scores.values()]
    with whole_parquet(path), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=AT_ONCE, columns=columns):
            yield from items_of(batch, scores, _NOTHING)


def _chunks(path: Path, column: str) -> Sequence[pa.Array[Any]]:
    """A column of a part; of a score that it does not have, as many times nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with whole_parquet(path), pq.ParquetFile(path) as file:
        if column not in file.schema_arrow.names:
            return [pa.nulls(file.metadata.num_rows, pa.float64())]
        return file.read(columns=[column], use_threads=False).column(column).chunks


def _listed(column: pa.ChunkedArray[Any]) -> list[Any]:
    """The values of a column of numbers, by numpy where none is missing: in a tenth of the time."""
    return column.to_pylist() if column.null_count else cast("list[Any]", column.to_numpy().tolist())


def _shared(column: pa.ChunkedArray[Any]) -> list[Any]:
    """The values of a column of texts; equal ones are one object."""
    values: list[Any] = []
    for chunk in column.chunks:
        found = chunk.dictionary_encode(null_encoding="encode")
        values += map(found.dictionary.to_pylist().__getitem__, found.indices.to_numpy().tolist())
    return values


def items_with_keys(path: Path, keys: Collection[str]) -> Iterator[Item]:
    """The items of those row groups of a part in which there is one of `keys`. StoreError if the part is damaged.

    The keys alone are read first: most runs of the same weights share none, and texts can be large.
    """
    import pyarrow.parquet as pq

    with whole_parquet(path), pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            found = file.read_row_group(group, columns=["item_key"], use_threads=False).column("item_key").to_pylist()
            if any(key in keys for key in found):
                yield from items_of(file.read_row_group(group), score_names(file.schema_arrow))


def rows_in(path: Path) -> int:
    """How many items a part holds. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path), pq.ParquetFile(path) as file:
        return file.metadata.num_rows


def held_or_read(path: Path) -> Sequence[Item]:
    """The items of a part: in memory if they are no more than a window, else as they lie."""
    return read_part(path) if rows_in(path) <= WINDOW else PartItems([path])

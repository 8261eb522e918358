"""Item scores of many entries side by side, read once: what ranks, duels and sweeps rest on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from benchbench.core.errors import StoreError
from benchbench.leaderboard.site.processes import FEW, cores, spread
from benchbench.leaderboard.site.records import Cell, Entry, Variant
from benchbench.stats.influence import Floats
from benchbench.store.columns import Column, read_clusters, read_column


@dataclass(frozen=True, slots=True)
class Paired:
    """Scores of several entries on the docs that all of them have a score for."""

    scores: Floats
    """Shape (entries, docs). Their means are the values; of perplexities the logarithms, of corpus metrics the value
    plus the doc's influence on it."""
    clusters: tuple[str | None, ...] | None
    """Of the docs; None where no two share one."""
    dropped: int
    """Docs left out because an entry has no score for them."""

    @property
    def influences(self) -> Floats:
        """How each doc pulls each value; rows sum to 0."""
        return np.asarray(self.scores - self.scores.mean(axis=1, keepdims=True))


AT_ONCE = 256
"""Files that a process reads before it hands over."""


class ItemScores:
    """Reads columns when they are asked for, and keeps them."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str, str], Column | None] = {}
        self._clusters: dict[Variant, dict[int, str | None]] = {}
        self.problems: list[str] = []
        """Items that could not be read."""

    def paired(self, variant: Variant, entries: Sequence[Entry]) -> Paired | None:
        """Their scores side by side; None where any of them has no items, or none in common."""
        return self.paired_cells(variant, [entry.cells[variant] for entry in entries])

    def paired_cells(self, variant: Variant, cells: Sequence[Cell]) -> Paired | None:
        """The same for cells, which may have another metric than the variant's."""
        columns = [column for column in map(self._column, cells) if column is not None]
        if len(columns) < len(cells):
            return None
        common = _common([column.doc_ids for column in columns])
        rows = np.stack([_on(cell, column, common) for cell, column in zip(cells, columns, strict=True)])
        kept = np.flatnonzero(~np.isnan(rows).any(axis=0))
        if kept.size == 0:
            return None
        names = self._names(cells[0], variant, common[kept])
        most = max(column.doc_ids.size for column in columns)
        return Paired(rows[:, kept], names, most - int(kept.size))

    @staticmethod
    def _key(cell: Cell) -> tuple[str, str, str]:
        return (str(cell.source.folder.path), cell.variant.task, cell.metric.name)

    def _column(self, cell: Cell) -> Column | None:
        key = self._key(cell)
        if key not in self._columns:
            self._columns[key] = self._read(cell)
        return self._columns[key]

    def _read(self, cell: Cell) -> Column | None:
        folder, task = cell.source.folder, cell.variant.task
        if cell.metric.kind is None or cell.value is None or not folder.is_sealed(task):
            return None
        try:
            return read_column(folder, task, cell.metric.column, whole=_whole(cell))
        except StoreError as error:
            sentence = str(error).replace(str(folder.path), cell.source.name)
            self.problems.append(f"{cell.source.name}: {sentence}")
            return None

    def has(self, cell: Cell) -> bool:
        """There are items of it, with a score."""
        return self._column(cell) is not None

    def read_ahead(self, cells: Iterable[Cell]) -> None:
        """Reads many columns at once, on all cores."""
        wanted = [cell for cell in cells if self._key(cell) not in self._columns]
        parts = [wanted[i : i + AT_ONCE] for i in range(0, len(wanted), AT_ONCE)]
        with spread(self._read_part, parts, cores() if len(wanted) > FEW else 0) as made:
            for columns, problems in made:
                self._columns.update(columns)
                self.problems += problems

    @staticmethod
    def _read_part(cells: Sequence[Cell]) -> tuple[dict[tuple[str, str, str], Column | None], list[str]]:
        reader = ItemScores()
        columns = {reader._key(cell): reader._read(cell) for cell in cells}
        return columns, reader.problems

    def _names(self, cell: Cell, variant: Variant, doc_ids: NDArray[np.int64]) -> tuple[str | None, ...] | None:
        """Cluster names; read only where the row says that there are clusters."""
        if cell.row.get("n_clusters") is None:
            return None
        if variant not in self._clusters:
            self._clusters[variant] = read_clusters(cell.source.folder, variant.task)
        known = self._clusters[variant]
        return tuple(known.get(int(doc)) for doc in doc_ids)


def _common(ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    first = ids[0]
    if all(np.array_equal(first, other) for other in ids[1:]):
        return first
    return np.asarray(reduce(np.intersect1d, ids), dtype=np.int64)


def _on(cell: Cell, column: Column, doc_ids: NDArray[np.int64]) -> Floats:
    """The column's values on these docs, turned so that their mean is the value (or its logarithm)."""
    values = column.values
    if not np.array_equal(column.doc_ids, doc_ids):
        values = values[np.searchsorted(column.doc_ids, doc_ids)]
    kind, value = cell.metric.kind, cell.value
    if kind == "mean" or value is None:
        return values
    if kind == "log mean":
        return np.asarray(-values)
    known = values - np.nanmean(values)
    return np.asarray(known + (math.log(value) if cell.metric.is_log and value > 0 else value))


def _whole(cell: Cell) -> int | None:
    """How many docs there are, if our own record says that every one of them has an outcome other than failed."""
    counts = cell.task_record["counts"]
    n = counts.get("n")
    return int(n) if counts.get("failed") == 0 and not cell.source.is_imported and isinstance(n, int) else None

"""Item scores of several runs on the docs that all of them have a score for: what ranks, duels and sweeps rest on."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchbench.core.errors import BenchbenchError, StoreError
from benchbench.core.task_scoring import unit_names
from benchbench.leaderboard.records import Cell
from benchbench.scoring.estimates import corpus_estimate
from benchbench.stats.difference import Reach, reach_of_difference
from benchbench.stats.influence import Estimate, Floats
from benchbench.store.frames import ScoreColumn, read_clusters, read_column


@dataclass(frozen=True, slots=True)
class Paired:
    """Scores of several cells on the same docs."""

    scores: Floats
    """Shape (cells, docs). Their means are the values on these docs; of perplexities the logarithms. Of corpus metrics
    the value on these docs plus the doc's influence on it."""
    doc_ids: NDArray[np.int64]
    """Shape (docs,), increasing."""
    clusters: tuple[str | None, ...] | None
    """Passage or source of each doc; None where no two share one."""
    units: tuple[Hashable | None, ...] | None
    """What each doc is called wherever it is asked: docs of other tasks with this name are the same question in another
    language; a cluster of this task alone has a name that no other task has. None: docs are all of their own."""
    dropped: int
    """Docs left out because a cell has no score for them."""
    lacking: tuple[int, ...]
    """For each cell the docs that another one has a score for and it has not."""

    @property
    def estimates(self) -> list[Estimate]:
        """Value and influences of each cell, on these docs."""
        values = self.scores.mean(axis=1)
        return [Estimate(float(value), row - value) for value, row in zip(values, self.scores, strict=True)]

    @property
    def influences(self) -> Floats:
        """How each doc pulls each value, shape (cells, docs); rows sum to 0."""
        return np.asarray(self.scores - self.scores.mean(axis=1, keepdims=True))


AT_ONCE = 256
"""Files that a process reads before it hands over."""
_Key = tuple[str, str, str]


class ItemScores:
    """Reads columns when they are asked for, and keeps them."""

    def __init__(self) -> None:
        self._columns: dict[_Key, ScoreColumn | str] = {}
        self._clusters: dict[tuple[str, str], dict[int, str | None]] = {}

    @property
    def problems(self) -> list[str]:
        """Items that could not be read, and why."""
        return sorted({column for column in self._columns.values() if isinstance(column, str) and column})

    def paired(self, cells: Sequence[Cell]) -> Paired:
        """Their scores side by side.

        Raises:
            StoreError: one of them has no items with this metric, no doc is common to all, or a corpus metric cannot
                be worked out on the docs that are.
        """
        columns = [self._needed(cell) for cell in cells]
        common = _common([column.doc_ids for column in columns])
        rows = np.stack([_on(column, common) for column in columns])
        kept = np.flatnonzero(~np.isnan(rows).any(axis=0))
        if kept.size == 0:
            raise StoreError(f"no doc of {cells[0].task} has a {cells[0].metric.name} in all of them.")
        docs = common[kept]
        scored = [column.doc_ids[~np.isnan(column.values)] for column in columns]
        every = reduce(np.union1d, scored)
        values = [self._values(c, s, row[kept], docs) for c, s, row in zip(cells, scored, rows, strict=True)]
        names, first = self._names(cells[0], docs), cells[0]
        clusters = names if names is not None and len(set(names)) < len(names) else None
        return Paired(
            scores=np.stack(values),
            doc_ids=docs,
            clusters=clusters,
            units=None if names is None else unit_names(first.family, names) or unit_names(first.task, clusters or ()),
            dropped=reduce(np.union1d, [column.doc_ids for column in columns]).size - int(docs.size),
            lacking=tuple(int(every.size - own.size) for own in scored),
        )

    def reach(self, a: Cell, b: Cell) -> Reach | None:
        """b − a where docs failed on one side, and where it could lie if they had not.

        None where none did, and for metrics that are no mean of item scores between two bounds.
        """
        bounds, columns = a.metric.bounds, [self._column(cell) for cell in (a, b)]
        known = [column for column in columns if isinstance(column, ScoreColumn)]
        if a.metric.kind != "mean" or bounds is None or len(known) < 2:
            return None
        docs = reduce(np.union1d, [column.doc_ids for column in known])
        x, y = (_spread_on(column, docs) for column in known)
        lacks = np.isnan(x) != np.isnan(y)
        return reach_of_difference(x, y, bounds) if lacks.any() and not (np.isnan(x) | np.isnan(y)).all() else None

    def has(self, cell: Cell) -> bool:
        """There are items of it, with a score."""
        return isinstance(self._column(cell), ScoreColumn)

    def read_ahead(self, cells: Iterable[Cell]) -> None:
        """Reads many columns at once, on all cores."""
        wanted = [cell for cell in cells if _key(cell) not in self._columns]
        parts = [wanted[i : i + AT_ONCE] for i in range(0, len(wanted), AT_ONCE)]
        with spread(_read_part, parts, cores() if len(wanted) > FEW else 0) as made:
            for columns in made:
                self._columns.update(columns)

    def _needed(self, cell: Cell) -> ScoreColumn:
        column = self._column(cell)
        if isinstance(column, ScoreColumn):
            return column
        raise StoreError(column or f"{cell.run.name} has no items of {cell.task} with a {cell.metric.name}.")

    def _column(self, cell: Cell) -> ScoreColumn | str:
        key = _key(cell)
        if key not in self._columns:
            self._columns[key] = _read(cell)
        return self._columns[key]

    @staticmethod
    def _values(cell: Cell, scored: NDArray[np.int64], row: Floats, docs: NDArray[np.int64]) -> Floats:
        """The cell's scores on these docs, turned so that their mean is its value there."""
        if cell.metric.kind == "mean":
            return row
        if cell.metric.kind == "log mean":
            return np.asarray(-row)
        if np.array_equal(scored, docs) and cell.value is not None:
            value = math.log(cell.value) if cell.metric.is_log and cell.value > 0 else cell.value
            return np.asarray(row - row.mean() + value)
        items = [item for item in cell.run.folder.items(cell.task) if item.doc_id in set(docs.tolist())]
        pulls = corpus_estimate(cell.task_record.scoring.spec(cell.task), cell.metric.name, items)
        return np.array([pulls[doc] for doc in docs.tolist()], dtype=np.float64)

    def _names(self, cell: Cell, docs: NDArray[np.int64]) -> tuple[str | None, ...] | None:
        """Cluster names; read only where docs share them, in the task or with other tasks."""
        if cell.row.n_clusters is None and cell.family is None:
            return None
        key = (str(cell.run.folder.path), cell.task)
        if key not in self._clusters:
            self._clusters[key] = read_clusters(cell.run.folder, cell.task)
        known = self._clusters[key]
        names = tuple(known.get(doc) for doc in docs.tolist())
        return names if any(name is not None for name in names) else None


def _key(cell: Cell) -> _Key:
    return (str(cell.run.folder.path), cell.task, cell.metric.name)


def _read_part(cells: Sequence[Cell]) -> dict[_Key, ScoreColumn | str]:
    return {_key(cell): _read(cell) for cell in cells}


def _read(cell: Cell) -> ScoreColumn | str:
    """The column, or why there is none; the empty text where there are no items to begin with."""
    folder = cell.run.folder
    if cell.metric.kind is None:
        return f"{cell.metric.name} is a median, which has no influence values."
    if cell.value is None or not folder.is_sealed(cell.task):
        return ""
    try:
        return read_column(folder, cell.task, cell.metric.column, whole=_whole(cell))
    except StoreError as error:
        return f"{cell.run.name}: {str(error).replace(str(folder.path), cell.run.name)}"


def _common(ids: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    first = ids[0]
    if all(np.array_equal(first, other) for other in ids[1:]):
        return first
    return np.asarray(reduce(np.intersect1d, ids), dtype=np.int64)


def _on(column: ScoreColumn, doc_ids: NDArray[np.int64]) -> Floats:
    if np.array_equal(column.doc_ids, doc_ids):
        return column.values
    return np.asarray(column.values[np.searchsorted(column.doc_ids, doc_ids)])


def _spread_on(column: ScoreColumn, docs: NDArray[np.int64]) -> Floats:
    """The column on these docs, which hold all of its own; NaN on the others."""
    found = np.full(docs.size, np.nan)
    found[np.searchsorted(docs, column.doc_ids)] = column.values
    return found


def _whole(cell: Cell) -> int | None:
    """How many docs there are, if our own record says that every one of them has an outcome other than failed."""
    counts = cell.task_record.counts
    drawn = cell.run.record.settings.get("random_docs")
    return counts.n if counts.failed == 0 and not cell.run.is_imported and not drawn else None


Part = TypeVar("Part")
Made = TypeVar("Made")

FEW = 2_000
"""Things to do up to which starting processes costs more than it saves."""
_held: list[tuple[Callable[[Any], Any], Sequence[Any]]] = []


def cores() -> int:
    """Cores that this process may use; 1 where processes cannot be forked safely, such as on macOS."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


@contextmanager
def spread(work: Callable[[Part], Made], parts: Sequence[Part], processes: int) -> Iterator[Iterator[Made]]:
    """What `work` makes of each part, in order, begun at once in forked processes; with fewer than one, here and when
    it is asked for. What `work` changes elsewhere is lost.
    """
    if processes < 1:
        yield map(work, parts)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_hold, initargs=(work, parts, os.getpid())) as pool:
        futures: list[Future[Made]] = [pool.submit(_do, place) for place in range(len(parts))]
        try:
            yield (future.result() for future in futures)
        except BrokenProcessPool:
            raise BenchbenchError(ENDED) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


ENDED = (
    "a process that helped was ended from outside, most likely for want of memory. Nothing on disk was changed. Fewer "
    "processes need less: taskset -c 0 benchbench leaderboard works in one."
)
_PR_SET_PDEATHSIG = 1


def _hold(work: Callable[[Any], Any], parts: Sequence[Any], parent: int) -> None:
    """Forked processes have both from memory: nothing but numbers and results goes through a pipe.

    Ctrl-C is the business of the process that began them; when that one is gone, they go, too.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    _held.append((work, parts))


def _do(place: int) -> Any:
    work, parts = _held[-1]
    return work(parts[place])

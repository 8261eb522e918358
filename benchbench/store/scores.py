"""Item scores of finished runs as arrays: what two or more models answered to the same docs, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchbench.core.errors import StoreError
from benchbench.store.added import column_name, with_added_columns
from benchbench.store.folder import PART, RunFolder
from benchbench.store.table import part_scores, read_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_KEYS = ("doc_id", "prompt_name", "doc_hash", "cluster", "outcome")


@dataclass(frozen=True, slots=True)
class Scores:
    """One column of a task's item table."""

    keys: tuple[tuple[int, str], ...]
    """(doc_id, prompt_name) of each item, sorted."""
    hashes: tuple[str, ...]
    """doc_hash of each item."""
    clusters: tuple[str | None, ...]
    values: NDArray[np.float64]
    """Shape (items,). NaN where the item failed or has no finite score."""


@dataclass(frozen=True, slots=True)
class Paired:
    """The same items of several runs."""

    keys: tuple[tuple[int, str], ...]
    clusters: tuple[str | None, ...]
    values: NDArray[np.float64]
    """Shape (runs, items). No NaN."""
    dropped: int
    """Items that at least one run lacks, or has no score for."""


def read_scores(run: RunFolder, task: str, column: str) -> Scores:
    """One score column of a sealed task. StoreError if the task or the column is not there."""
    import numpy as np

    path = run.task_folder(task) / PART
    if not path.is_file():
        raise StoreError(f"the run {run.path} has no finished items of {task}.")
    known = part_scores(path)
    table = read_table(path, [*_KEYS, *([known[column]] if column in known else [])])
    place = column_name(column)
    if column not in known:
        table = with_added_columns(table, run.path, task)
    if place not in table.column_names:
        raise StoreError(f"the items of {task} in {run.path} have no score {column!r}; they have {', '.join(known)}.")
    columns = {key: table.column(key).to_pylist() for key in _KEYS}
    values = np.array([np.nan if v is None else v for v in table.column(place).to_pylist()], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    values[np.array([outcome == "failed" for outcome in columns["outcome"]], dtype=bool)] = np.nan
    keys = tuple(zip(columns["doc_id"], columns["prompt_name"], strict=True))
    return Scores(keys, tuple(columns["doc_hash"]), tuple(columns["cluster"]), values)


def pair(runs: Sequence[Scores]) -> Paired:
    """The items that all runs have a score for, in order of doc id.

    Raises:
        StoreError: one doc id stands for different docs.
    """
    import numpy as np

    first, places = runs[0], [{key: i for i, key in enumerate(run.keys)} for run in runs]
    shared = [key for key in first.keys if all(key in place for place in places)]
    rows = [np.array([place[key] for key in shared], dtype=np.intp) for place in places]
    for run, row in zip(runs, rows, strict=True):
        if [run.hashes[i] for i in row] != [first.hashes[i] for i in rows[0]]:
            raise StoreError("the same doc ids stand for different docs in these runs.")
    values = np.stack([run.values[row] for run, row in zip(runs, rows, strict=True)])
    kept = np.flatnonzero(~np.isnan(values).any(axis=0))
    every = {key for run in runs for key in run.keys}
    return Paired(
        keys=tuple(shared[i] for i in kept),
        clusters=tuple(first.clusters[rows[0][i]] for i in kept),
        values=values[:, kept],
        dropped=len(every) - len(kept),
    )

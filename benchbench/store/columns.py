"""One column of many runs' items, quickly: for boards of hundreds of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import StoreError
from benchbench.store.added import KEYS, added_part
from benchbench.store.folder import PART, RunFolder
from benchbench.store.table import COLUMNS, read_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AT_A_TIME = 2**20
"""Bytes up to which a file is read whole: seeking in small ones takes nearly twice as long."""


@dataclass(frozen=True, slots=True)
class Column:
    """A score of a task's items."""

    doc_ids: NDArray[np.int64]
    values: NDArray[np.float64]
    """NaN where the item failed or has no finite score."""


def read_column(run: RunFolder, task: str, column: str, *, whole: int | None = None) -> Column:
    """Doc ids and one score column of a sealed task. StoreError if the task or the column is not there, or damaged.

    Args:
        whole: the number of docs, where the record says that none of them failed and that they are the first of the
            split: if the part holds as many, their ids and outcomes need not be read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _part(run, task)
    place = f"score_{column}" if column in COLUMNS else column
    try:
        small = path.stat().st_size <= AT_A_TIME
        with pq.ParquetFile(pa.BufferReader(path.read_bytes()) if small else path) as file:
            short = file.metadata.num_rows == whole
            table = file.read(columns=[place] if short else ["doc_id", "outcome", place], use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} cannot be read as parquet ({error}); the run folder is damaged.") from error
    if place not in table.column_names:
        added = added_part(run.path, task, column)
        if added is not None:
            return _added_column(path, added, place)
        raise StoreError(f"the items of {task} in {run.path} have no score {column!r}.")
    values = np.array(table.column(place).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    if short:
        return Column(np.arange(values.size), values)
    values[[outcome == "failed" for outcome in table.column("outcome").to_pylist()]] = np.nan
    return Column(np.asarray(table.column("doc_id").to_numpy(), dtype=np.int64), values)


def _added_column(path: Path, added: Path, place: str) -> Column:
    """A column that was added to the run's own items; failed ones have no value there."""
    import numpy as np

    own, scores = read_table(path, KEYS), read_table(added)
    if any(not own.column(key).equals(scores.column(key)) for key in KEYS):
        raise StoreError(f"{added} holds scores of other items than the run has. Remove it, and score again.")
    values = np.array(scores.column(place).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return Column(np.asarray(own.column("doc_id").to_numpy(), dtype=np.int64), values)


def read_clusters(run: RunFolder, task: str) -> dict[int, str | None]:
    """Doc id → name of its cluster. StoreError as `read_column`."""
    table = read_table(_part(run, task), ["doc_id", "cluster"])
    return dict(zip(table.column("doc_id").to_pylist(), table.column("cluster").to_pylist(), strict=True))


def _part(run: RunFolder, task: str) -> Path:
    path = run.task_folder(task) / PART
    if not path.is_file():
        raise StoreError(f"the run {run.path} has no finished items of {task}.")
    return path

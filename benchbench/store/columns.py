"""One column of many runs' items, quickly: for boards of hundreds of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import StoreError
from benchbench.store.folder import PART, RunFolder
from benchbench.store.table import score_names

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Column:
    """A score of a task's items."""

    doc_ids: NDArray[np.int64]
    values: NDArray[np.float64]
    """NaN where the item failed or has no finite score."""


def read_column(run: RunFolder, task: str, column: str) -> Column:
    """Doc ids and one score column of a sealed task. StoreError if the task or the column is not there, or damaged."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = _part(run, task)
    try:
        with pq.ParquetFile(path) as file:
            known = score_names(file.schema_arrow)
            if column not in known:
                raise StoreError(f"the items of {task} in {run.path} have no score {column!r}.")
            table = file.read(columns=["doc_id", "outcome", known[column]], use_threads=False)
        failed = pc.equal(table.column("outcome"), "failed").to_numpy()
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} cannot be read as parquet ({error}); the run folder is damaged.") from error
    values = np.array(table.column(known[column]).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values) | failed.astype(bool)] = np.nan
    return Column(np.asarray(table.column("doc_id").to_numpy(), dtype=np.int64), values)


def read_clusters(run: RunFolder, task: str) -> dict[int, str | None]:
    """Doc id → name of its cluster. StoreError as `read_column`."""
    from benchbench.store.table import read_table

    table = read_table(_part(run, task), ["doc_id", "cluster"])
    return dict(zip(table.column("doc_id").to_pylist(), table.column("cluster").to_pylist(), strict=True))


def _part(run: RunFolder, task: str) -> Path:
    path = run.task_folder(task) / PART
    if not path.is_file():
        raise StoreError(f"the run {run.path} has no finished items of {task}.")
    return path

"""Run records and items as pandas DataFrames with stable columns, and as arrays. Loads pandas on first use."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchbench.core.errors import StoreError, did_you_mean
from benchbench.core.record import ModelRun, PlanRecord, Row, RunRecord, TaskRecord
from benchbench.core.types import Item
from benchbench.store.extra_scores import KEYS, added_part, scores_beside, scores_folder, with_added_columns
from benchbench.store.find import all_runs, finished_runs
from benchbench.store.folder import FinishedRun, RunFolder
from benchbench.store.names import folder_name, told_apart
from benchbench.store.table import COLUMNS, column_name, encode_part, part_scores, read_table, whole_parquet

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray


RUN_COLUMNS: dict[str, str] = {
    "run": "string",
    "run_id": "string",
    "attempt": "Int64",
    "model": "string",
    "series": "string",
    "step": "Int64",
    "tokens_seen": "Int64",
    "model_identity": "string",
    "revision": "string",
    "num_parameters": "Int64",
    "backend": "string",
    "dtype": "string",
    "device": "string",
    "task": "string",
    "is_group": "boolean",
    "metric": "string",
    "value": "Float64",
    "stderr": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "n": "Int64",
    "n_clusters": "Int64",
    "se_method": "string",
    "higher_is_better": "boolean",
    "chance": "Float64",
    "num_fewshot": "Int64",
    "failed": "Int64",
    "unanswered": "Int64",
    "truncated": "Int64",
    "signature": "string",
    "note": "string",
    "started": "string",
    "finished": "string",
    "benchbench": "string",
    "current": "boolean",
}


def load_runs(path: str | Path = "results") -> pd.DataFrame:
    """One row per finished run, task (or group) and metric, for everything under `path`.

    `path` is a results folder, a model's folder in it, or one run. Broken folders are skipped with a warning.

    | column | meaning |
    |---|---|
    | run | the run's folder |
    | run_id, attempt | its id without the attempt, and the attempt's number from 1 |
    | model, revision, model_identity, num_parameters | name, hub revision, sha256 of the weights, their number |
    | series | the training that the model is a checkpoint of; of other models their name |
    | step, tokens_seen | where in its training the model was saved, if its name, files or a list say so |
    | backend, dtype, device | engine and how it computed |
    | task, is_group | task name; for a group's aggregate row the group's name and True |
    | metric, value, higher_is_better | |
    | stderr, ci_low, ci_high, se_method | standard error, 95 % interval, how they were made |
    | n, n_clusters | docs behind the value, and independent clusters of them |
    | chance | score of a guesser, where the task knows it |
    | num_fewshot | shots |
    | failed, unanswered, truncated | docs with these outcomes in the task (missing for groups) |
    | signature | everything that moves the number, in one line |
    | note | why a value is missing, or what to know when reading it |
    | started, finished | ISO 8601 times |
    | benchbench | version that wrote the run |
    | current | no newer run has a value for this series, step, task and metric |

    A step that was overwritten and scored again, a second attempt and a run with other shots stand as rows of their
    own; `current` is False for the older ones, so that one row is left of each value.
    Models that share a name but not their folder get more of their paths: `runA/final` and `runB/final`.
    """
    return frame_of(finished_runs(Path(path)))


def frame_of(runs: Iterable[FinishedRun]) -> pd.DataFrame:
    """The frame of `load_runs` for these runs."""
    import pandas as pd

    rows = [row for run in runs for row in run_rows(run.folder, run.record)]
    mark_current(rows)
    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    return frame.astype(RUN_COLUMNS)


RunRow: TypeAlias = "dict[str, str | int | float | bool | None]"
"""A row of `load_runs`: column → value."""


def run_rows(run: RunFolder, record: RunRecord) -> list[RunRow]:
    """The rows of a record with the keys of `RUN_COLUMNS`, as `load_runs` gives them.

    `current` is not among them: it depends on the other runs (`mark_current`).
    """
    backend, provenance = record.backend, record.provenance
    shared: RunRow = {
        "run": str(run.path),
        "run_id": record.run_id,
        "attempt": record.attempt,
        "model": record.model,
        "series": record.series,
        "step": record.step,
        "tokens_seen": record.tokens_seen,
        "model_identity": backend.model_identity,
        "revision": backend.revision,
        "num_parameters": backend.num_parameters,
        "backend": backend.name,
        "dtype": backend.dtype,
        "device": backend.device,
        "started": provenance.started,
        "finished": provenance.finished,
        "benchbench": record.versions.get("benchbench"),
    }
    return [
        {**shared, **{name: getattr(row, name) for name in _ROW_COLUMNS}, **_task_columns(record.tasks.get(row.task))}
        for row in record.rows
    ]


_ROW_COLUMNS = tuple(
    one.name for one in fields(Row) if one.name in RUN_COLUMNS and one.name not in ("model", "step", "tokens_seen")
)


def _task_columns(task: TaskRecord | None) -> RunRow:
    """What a task's record adds to each of its rows; nothing is known of groups."""
    if task is None:
        return {"chance": None, "failed": None, "unanswered": None, "truncated": None}
    counts = task.counts
    return {
        "chance": task.scoring.chance,
        "failed": counts.failed,
        "unanswered": counts.unanswered,
        "truncated": counts.truncated,
    }


def mark_current(rows: Sequence[RunRow]) -> None:
    """Sets `current` of rows of many runs: the newest of each series, step, task and metric is."""
    ages = {str(row["run"]): _age(row) for row in {row["run"]: row for row in rows}.values()}
    newest: dict[tuple[object, ...], str] = {}
    for row in rows:
        place, run = _place(row), str(row["run"])
        newest[place] = max(newest.get(place, run), run, key=ages.__getitem__)
    for row in rows:
        row["current"] = row["run"] == newest[_place(row)]


def _place(row: RunRow) -> tuple[object, ...]:
    """What one value is kept of. A model whose step is not known is told by its tokens, or is the only one."""
    place = row["step"] if row["step"] is not None else f"{row['tokens_seen']} tokens"
    return (row["series"], place, row["task"], row["metric"])


def _age(row: RunRow) -> tuple[str, int, str]:
    """When its run was finished; runs of the same second are told apart by when run.json was written."""
    path = Path(str(row["run"])) / "run.json"
    return (str(row["finished"] or ""), path.stat().st_mtime_ns if path.is_file() else 0, str(row["run"]))


def load_items(
    path: str | Path, task: str | Sequence[str] | None = None, *, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """One row per item (scored doc) of a run, or of all finished runs under `path`.

    `task` keeps one task or several. A run that is still going gives the items it has so far.
    `columns` keeps some columns, in their order; of finished tasks the others are not read, so that millions of items
    fit in memory. Broken folders are skipped with a warning.

    Raises:
        StoreError: no item has a column of `columns`.

    | column | meaning |
    |---|---|
    | run, run_id, model, step | as in `load_runs`; `run_id` here is the folder's name, attempt included |
    | num_fewshot | shots of the task |
    | task, doc_id, doc_hash | which doc; `doc_hash` joins two runs even where row numbers moved |
    | cluster | passage or source shared with other docs |
    | prompt_name | prompt variant |
    | item_key | sha256 of what was asked |
    | gold | index of the right choice as text, or the first right text |
    | targets | choices (multiple choice) or right texts |
    | prediction | index of the chosen choice as text, or the filtered text |
    | outcome | answered, unanswered, truncated, failed |
    | tie | the best choice was not unique |
    | loglikelihoods, is_greedy, num_tokens, prompt_tokens | one per request, choices first |
    | texts, finish_reasons | raw completions |
    | dropped_shots, truncated_tokens | what was left out because the prompt did not fit |
    | failure | kind and message of a failure |
    | every metric's name | item score (float; missing where the metric has none) |
    | `<metric>_influence` | corpus metrics: how far the doc pulls the value (of a perplexity: its logarithm) |
    """
    import pyarrow as pa

    root = Path(path)
    runs = all_runs(root)
    chosen = [run for run in runs if run.finished or len(runs) == 1]
    wanted = None if task is None else {task} if isinstance(task, str) else set(task)
    known = [(run, plan) for run in chosen for plan in _plans(run)]
    named = told_apart([plan for _, plan in known])
    asked = None if columns is None else [*columns]
    tables = [table for (run, _), plan in zip(known, named, strict=True) for table in _tables(run, plan, wanted, asked)]
    if not tables:
        tables = [_chosen(_from_items([]).select(list(COLUMNS)), _OfRun(str(root), root.name, "", None, None), asked)]
    table = pa.concat_tables(tables, promote_options="default")
    _refuse_unknown(asked, table, root, chosen)
    frame: pd.DataFrame = (table if asked is None else table.select(asked)).to_pandas()
    return frame.astype({name: "Int64" for name in ("step", "num_fewshot") if name in frame})


@dataclass(frozen=True, slots=True)
class _OfRun:
    """The columns of an item that say which run and task it is of."""

    run: str
    run_id: str
    model: str
    step: int | None
    num_fewshot: int | None


OF_RUN = tuple(field.name for field in fields(_OfRun))


def _refuse_unknown(asked: Sequence[str] | None, table: pa.Table, root: Path, runs: Sequence[RunFolder]) -> None:
    unknown = next((name for name in asked or () if name not in table.column_names), None)
    if unknown is not None:
        parts = [run.part(task) for run in runs for task in run.tasks() if run.is_sealed(task)]
        scores = {column for part in parts for column in part_scores(part).values()}
        hint = did_you_mean(unknown, [*OF_RUN, *COLUMNS, *sorted(scores)])
        raise StoreError(f"the items under {root} have no column {unknown!r}.{hint}")


def _plans(run: RunFolder) -> Iterator[ModelRun]:
    """What the run is, from its record where it is finished, so that models are told apart as in `load_runs`."""
    if run.finished:
        with suppress(StoreError):
            yield run.record()
            return
    try:
        yield run.plan()
    except StoreError as error:
        warnings.warn(f"passed over {run.path}: {error}", stacklevel=2)


def _tables(run: RunFolder, plan: ModelRun, wanted: set[str] | None, asked: Sequence[str] | None) -> Iterator[pa.Table]:
    try:
        for task in run.tasks():
            if wanted is None or task in wanted:
                of = _OfRun(str(run.path), run.path.name, plan.model, plan.step, _shots_of(plan, task))
                yield _chosen(_task_table(run, task, asked), of, asked)
    except StoreError as error:
        warnings.warn(f"passed over {run.path}: {error}", stacklevel=2)


def _shots_of(plan: ModelRun, task: str) -> int | None:
    """`task` is the name of its folder."""
    tasks = plan.tasks if isinstance(plan, PlanRecord | RunRecord) else {}
    return next((one.num_fewshot for name, one in tasks.items() if folder_name(name) == task), None)


def _task_table(run: RunFolder, task: str, asked: Sequence[str] | None) -> pa.Table:
    """The items of a task; of a sealed one without added scores only the columns that are asked for."""
    if not run.is_sealed(task):
        return _from_items(run.items(task))
    path, added = run.part(task), scores_folder(run.path, task).is_dir()
    if asked is None or added:
        return with_added_columns(read_table(path), run.path, task)
    with whole_parquet(path):
        import pyarrow.parquet as pq

        names = [name for name in pq.read_schema(path).names if name in asked]
    return read_table(path, names or ["doc_id"])


def _from_items(items: list[Item]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(encode_part(items)))


def _chosen(table: pa.Table, of: _OfRun, asked: Sequence[str] | None) -> pa.Table:
    """The table with the columns of its run in front, and of all only those that are asked for."""
    import pyarrow as pa

    types = {"step": pa.int64(), "num_fewshot": pa.int64(), **dict.fromkeys(("run", "run_id", "model"), pa.string())}
    kept = table.select([name for name in table.column_names if asked is None or name in asked])
    for place, name in enumerate(name for name in OF_RUN if asked is None or name in asked):
        kept = kept.add_column(place, name, pa.array([getattr(of, name)] * table.num_rows, types[name]))
    return kept.replace_schema_metadata(None)


AT_A_TIME = 2**20
"""Bytes up to which a file is read whole: seeking in small ones takes nearly twice as long."""


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """A score of a task's items."""

    doc_ids: NDArray[np.int64]
    values: NDArray[np.float64]
    """NaN where the item failed or has no finite score."""


def read_column(run: RunFolder, task: str, column: str, *, whole: int | None = None) -> ScoreColumn:
    """Doc ids and one score column of a sealed task. StoreError if the task or the column is not there, or damaged.

    Args:
        whole: the number of docs, where the record says that none of them failed and that they are the first of the
            split: if the part holds as many, their ids and outcomes need not be read.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, place = _part(run, task), column_name(column)
    with whole_parquet(path):
        small = path.stat().st_size <= AT_A_TIME
        with pq.ParquetFile(pa.BufferReader(path.read_bytes()) if small else path) as file:
            short = file.metadata.num_rows == whole
            table = file.read(columns=[place] if short else ["doc_id", "outcome", place], use_threads=False)
    if place not in table.column_names:
        added = added_part(run.path, task, column)
        if added is not None:  # failed items have no value there
            own = read_table(path, KEYS)
            return ScoreColumn(_doc_ids(own), _finite(scores_beside(added, own), place))
        raise StoreError(f"the items of {task} in {run.path} have no score {column!r}.")
    values = _finite(table, place)
    if short:
        return ScoreColumn(np.arange(values.size), values)
    values[[outcome == "failed" for outcome in table.column("outcome").to_pylist()]] = np.nan
    return ScoreColumn(_doc_ids(table), values)


def _doc_ids(table: pa.Table) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(table.column("doc_id").to_numpy(), dtype=np.int64)


def _finite(table: pa.Table, column: str) -> NDArray[np.float64]:
    """The column's values; NaN where they are missing or infinite."""
    import numpy as np

    values = np.array(table.column(column).to_numpy(), dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    return values


def read_clusters(run: RunFolder, task: str) -> dict[int, str | None]:
    """Doc id → name of its cluster. StoreError as `read_column`."""
    table = read_table(_part(run, task), ["doc_id", "cluster"])
    return dict(zip(table.column("doc_id").to_numpy().tolist(), table.column("cluster").to_pylist(), strict=True))


def _part(run: RunFolder, task: str) -> Path:
    if not run.is_sealed(task) and folder_name(task) not in run.parts():
        raise StoreError(f"the run {run.path} has no finished items of {task}.")
    return run.part(task)

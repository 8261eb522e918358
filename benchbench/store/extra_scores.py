"""Metrics that were added to a finished run: beside its own results, which stay as they are. Readers see both.

<run>/scores/<task>/<metric>.json             the rows and what they rest on; written last, by rename
                    <metric>-<hash>.parquet   a row per item, in the order of the item table: its scores
                    <metric>.live.jsonl       scores so far, while they are being made
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import StoreError
from benchbench.core.json_record import JsonRecord
from benchbench.core.record import Row, RunRecord
from benchbench.core.types import Item, Json, MetricSpec
from benchbench.store.files import make_folder, os_errors, read_json, write_json, write_whole
from benchbench.store.names import folder_name
from benchbench.store.table import column_name, metric_name, parquet_bytes, read_table

if TYPE_CHECKING:
    import pyarrow as pa

SCORES = "scores"
ADDED_SCHEMA_VERSION = 1
KEYS = ("doc_id", "prompt_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedMetric(JsonRecord):
    """One metric of one task or group, made after the run."""

    schema_version: int = ADDED_SCHEMA_VERSION
    task: str
    """Or the group."""
    spec: MetricSpec
    """The metric; its `kwargs` are its whole identity."""
    rows: tuple[Row, ...]
    """Rows of the results table; several where the task has several filters."""
    part: str | None
    """File with the items' scores; None for groups."""
    made: Mapping[str, Json]
    """When, where and by what."""

    @property
    def metric(self) -> str:
        """Its name, without filters."""
        return self.spec.name

    @property
    def columns(self) -> list[str]:
        """Names of its rows' metrics."""
        return [row.metric for row in self.rows]


def read_added(run: Path) -> list[AddedMetric]:
    """What was added to the run in this folder, by task and metric. StoreError if a file is damaged."""
    return [_read(path) for path in sorted((run / SCORES).glob("*/*.json"))]


def _read(path: Path) -> AddedMetric:
    try:
        return AddedMetric.from_json(read_json(path), str(path))
    except StoreError as error:
        raise StoreError(f"{error} Remove it, and score again.") from error


def scores_folder(run: Path, task: str) -> Path:
    """Where the metrics added to a task lie."""
    return run / SCORES / folder_name(task)


def live_path(run: Path, task: str, metric: str) -> Path:
    """Scores so far."""
    return scores_folder(run, task) / f"{folder_name(metric)}.live.jsonl"


def write_added(run: Path, added: AddedMetric, items: Sequence[Item] = ()) -> AddedMetric:
    """Adds a metric, or replaces what was added under its name; returns it with the name of its part.

    `items`, sorted as in the item table, hold the scores; none for a group. Call only while holding the run's lock.
    A kill at any moment leaves the old or the new one whole.
    """
    folder, name = scores_folder(run, added.task), folder_name(added.metric)
    make_folder(folder)
    part = None
    if items:
        data = _encode(items, added.columns)
        part = f"{name}-{hashlib.sha256(data).hexdigest()[:8]}.parquet"
        write_whole(folder / part, data)
    written = replace(added, part=part)
    write_json(folder / f"{name}.json", written.to_json())
    for old in folder.glob(f"{name}-????????.parquet"):
        if old.name != part:
            with suppress(OSError):
                old.unlink()
    live_path(run, added.task, added.metric).unlink(missing_ok=True)
    return written


def remove_added(run: Path, task: str, metric: str) -> None:
    """Takes an added metric away; nothing happens if there is none."""
    path = scores_folder(run, task) / f"{folder_name(metric)}.json"
    if path.is_file():
        part = read_json(path).get("part")
        with os_errors(path, "remove"):
            path.unlink()
            if part is not None:
                (path.parent / str(part)).unlink(missing_ok=True)


def _encode(items: Sequence[Item], columns: Sequence[str]) -> bytes:
    """The items' keys and those of their scores that belong to `columns`, as parquet."""
    import pyarrow as pa

    names = [name for name in items[0].scores if any(name in (column, f"{column}_influence") for column in columns)]
    data: dict[str, pa.Array[Any]] = {
        "doc_id": pa.array([item.doc_id for item in items], pa.int64()),
        "prompt_name": pa.array([item.prompt_name for item in items], pa.string()),
    }
    for name in names:
        data[column_name(name)] = pa.array([item.scores.get(name) for item in items], pa.float64())
    return parquet_bytes(pa.table(data))


def with_added_rows(record: RunRecord, run: Path) -> RunRecord:
    """The record with the rows and the metrics that were added to it; what it says itself always counts."""
    found = read_added(run)
    if not found:
        return record
    tasks, rows = dict(record.tasks), list(record.rows)
    for added in found:
        known = {(row.task, row.metric) for row in rows}
        new = [row for row in added.rows if (row.task, row.metric) not in known]
        places = [i for i, row in enumerate(rows) if row.task == added.task]
        if not places or not new:
            continue
        rows[places[-1] + 1 : places[-1] + 1] = new
        if added.task in tasks:
            task = tasks[added.task]
            tasks[added.task] = replace(
                task, scoring=replace(task.scoring, metrics=(*task.scoring.metrics, added.spec))
            )
    made = tuple({"task": one.task, "metric": one.metric, **one.made} for one in found)
    return replace(record, tasks=tasks, rows=tuple(rows), added=made)


def added_part(run: Path, task: str, column: str) -> Path | None:
    """The parquet file that holds a score column which was added to a task."""
    for path in sorted(scores_folder(run, task).glob("*.json")):
        added = _read(path)
        if added.part is not None and any(column in (name, f"{name}_influence") for name in added.columns):
            return path.parent / added.part
    return None


def with_added_columns(table: pa.Table, run: Path, task: str) -> pa.Table:
    """A task's item table with the scores that were added; it must hold the columns of `KEYS`.

    Raises:
        StoreError: they were made for other items.
    """
    for path in sorted(scores_folder(run, task).glob("*.json")):
        part = _read(path).part
        if part is not None:
            scores = scores_beside(path.parent / part, table)
            for name in scores.column_names:
                if name not in table.column_names:
                    table = table.append_column(name, scores.column(name))
    return table


def scores_beside(part: Path, table: pa.Table) -> pa.Table:
    """The scores in `part`, row by row those of the items in `table`. StoreError if they were made for others."""
    scores = read_table(part)
    if any(not scores.column(key).equals(table.column(key)) for key in KEYS):
        raise StoreError(f"{part} holds scores of other items than the run has. Remove it, and score again.")
    return scores.drop_columns(list(KEYS))


def items_with_added(items: Iterable[Item], run: Path, task: str) -> list[Item]:
    """The task's items, sorted, with the scores that were added. StoreError as `with_added_columns`."""
    import pyarrow as pa

    rows = list(items)
    if not scores_folder(run, task).is_dir():
        return rows
    docs = pa.chunked_array([pa.array([item.doc_id for item in rows], pa.int64())])
    prompts = pa.chunked_array([pa.array([item.prompt_name for item in rows], pa.string())])
    keys = pa.Table.from_arrays([docs, prompts], names=["doc_id", "prompt_name"])
    scores = with_added_columns(keys, run, task).drop_columns(list(KEYS)).to_pylist()
    return [
        replace(item, scores={**item.scores, **{metric_name(name): value for name, value in more.items()}})
        for item, more in zip(rows, scores, strict=True)
    ]

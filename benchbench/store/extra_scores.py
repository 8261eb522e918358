"""Metrics that were added to a finished run: beside its own results, which stay as they are. Readers see both.

<run>/scores/<task>/<metric>.json             the rows and what they rest on; written last, by rename
                    <metric>-<hash>.parquet   a row per item, in the order of the item table: its scores
                    <metric>.live.jsonl       scores so far, while they are being made
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from benchbench.core.errors import DamageError, StoreError
from benchbench.core.json_record import JsonRecord
from benchbench.core.record import Row, RunRecord
from benchbench.core.types import Item, Json, MetricSpec
from benchbench.store.files import (
    REPAIR,
    inside,
    make_folder,
    os_errors,
    read_json,
    remove_copied,
    sha256_of,
    write_json,
    write_whole,
)
from benchbench.store.names import folder_name
from benchbench.store.table import column_name, metric_name, parquet_bytes, read_table

if TYPE_CHECKING:
    import pyarrow as pa

SCORES = "scores"
ADDED_SCHEMA_VERSION = 1
KEYS = ("doc_id", "prompt_name")
_PART = re.compile(r"[\w.@+=:-]+-([0-9a-f]{8})\.parquet")


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
    asked: str | None = None
    """The name that a task's `metric_list` or `--metric` gives it; its rows stand where that listed it."""

    optional: ClassVar[tuple[str, ...]] = ("asked",)
    schema: ClassVar[int | None] = ADDED_SCHEMA_VERSION

    @property
    def metric(self) -> str:
        """Its name, without filters."""
        return self.spec.name

    def is_same(self, other: AddedMetric) -> bool:
        """They say the same, whenever and wherever they were made."""
        one, two = (replace(metric, made=_what_counts(metric.made)) for metric in (self, other))
        return one == two

    @property
    def columns(self) -> list[str]:
        """Names of its rows' metrics."""
        return [row.metric for row in self.rows]


def _what_counts(made: Mapping[str, Json]) -> dict[str, Json]:
    return {name: value for name, value in made.items() if name not in ("finished", "host", "seconds")}


def read_added(run: Path) -> list[AddedMetric]:
    """What was added to the run in this folder, by task and metric. StoreError if a file is damaged."""
    return [read_metric(path) for path in added_files(run)]


def added_files(run: Path, task: str = "*") -> list[Path]:
    """The JSON files of what was added, of all tasks or of the one whose folder is named."""
    return sorted(path for path in (run / SCORES).glob(f"{task}/*.json") if inside(run, str(path.relative_to(run))))


def read_metric(path: Path) -> AddedMetric:
    """One file of those. DamageError if it is damaged, or names as its part what is no part of its folder."""
    try:
        added = AddedMetric.from_json(read_json(path), str(path))
    except DamageError as error:
        raise DamageError(f"{error} Remove it, and score again.") from error
    if added.part is not None and not _PART.fullmatch(added.part):
        raise DamageError(
            f"`part` of {path} is {added.part!r}; it is the name of a file beside it, as {path.stem}-0a1b2c3d.parquet. "
            "Remove it, and score again."
        )
    return added


def part_of(path: Path, added: AddedMetric) -> Path | None:
    """The parquet file with the scores of the metric in `path`, as it was written; None for groups.

    Raises:
        DamageError: it is missing, or not what was written: its name ends in its hash.
    """
    if added.part is None:
        return None
    part = path.parent / added.part
    with os_errors(part, "read"):
        if not part.is_file():
            raise DamageError(f"{part} is missing; the added scores are damaged.{REPAIR}")
        if sha256_of(part)[:8] != added.part[-16:-8]:
            raise DamageError(f"{part} is damaged: its content is not that of its name.{REPAIR}")
    return part


def scores_folder(run: Path, task: str) -> Path:
    """Where the metrics added to a task lie. DamageError if a link leads out of the run there."""
    return inside(run, SCORES, folder_name(task))


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
    before = _before(folder / f"{name}.json")
    if before is not None and before.is_same(written):
        written = before
    else:
        write_json(folder / f"{name}.json", written.to_json(), keep_copy=True)
    _remove_parts(folder, name, but=part)
    live_path(run, added.task, added.metric).unlink(missing_ok=True)
    return written


def _before(path: Path) -> AddedMetric | None:
    with suppress(StoreError):
        return read_metric(path)
    return None


def remove_added(run: Path, task: str, metric: str) -> None:
    """Takes an added metric away, damaged or not; nothing happens if there is none."""
    folder, name = scores_folder(run, task), folder_name(metric)
    remove_copied(folder / f"{name}.json")
    _remove_parts(folder, name)


def _remove_parts(folder: Path, name: str, *, but: str | None = None) -> None:
    for old in folder.glob(f"{glob.escape(name)}-????????.parquet"):
        if old.name != but:
            with suppress(OSError):
                old.unlink()


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
        known = {(row.task, row.metric) for row in rows if not _waits_for(row, added)}
        new = [row for row in added.rows if (row.task, row.metric) not in known]
        places = [i for i, row in enumerate(rows) if row.task == added.task]
        if not places or not new:
            continue
        place = next((i for i in places if _waits_for(rows[i], added)), None)
        if place is None:
            rows[places[-1] + 1 : places[-1] + 1] = new
        else:
            rows[place : place + 1] = new
        if added.task in tasks:
            task = tasks[added.task]
            tasks[added.task] = replace(
                task, scoring=replace(task.scoring, metrics=(*task.scoring.metrics, added.spec))
            )
    made = tuple({"task": one.task, "metric": one.metric, **one.made} for one in found)
    return replace(record, tasks=tasks, rows=tuple(rows), added=made)


def _waits_for(row: Row, added: AddedMetric) -> bool:
    """It stands in the run's own results for a metric that was not computed yet, and is now."""
    return added.asked is not None and row.metric == added.asked and row.value is None and not row.is_group


def added_part(run: Path, task: str, column: str) -> Path | None:
    """The parquet file that holds a score column which was added to a task."""
    for path in added_files(run, folder_name(task)):
        added = read_metric(path)
        if any(column in (name, f"{name}_influence") for name in added.columns):
            return part_of(path, added)
    return None


def with_added_columns(table: pa.Table, run: Path, task: str) -> pa.Table:
    """A task's item table with the scores that were added; it must hold the columns of `KEYS`.

    Raises:
        StoreError: they were made for other items.
    """
    for path in added_files(run, folder_name(task)):
        part = part_of(path, read_metric(path))
        if part is not None:
            scores = scores_beside(part, table)
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

"""Plain tables, CSV or JSON lines: one row per model, task and metric."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, DataError, did_you_mean
from benchbench.core.record import Origin
from benchbench.core.types import Json
from benchbench.extensions.interchange.imported import (
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    imported_score,
    in_order,
)
from benchbench.store.names import names_called
from benchbench.store.spreadsheet import unprotected

FIELDS = ("model", "step", "tokens_seen", "task", "metric", "value", "stderr", "n", "num_fewshot", "version", "date")
NEEDED = ("model", "task", "metric", "value")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What the columns of a table are called, and what it leaves unsaid."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Our field → the table's column, where they differ."""
    defaults: Mapping[str, str] = field(default_factory=dict)
    """Our field → its value for every row, where the table has no such column."""

    def __post_init__(self) -> None:
        for name in (*self.columns, *self.defaults):
            if name not in FIELDS:
                raise ArgumentError(
                    f"there is no field {name!r}.{did_you_mean(name, FIELDS)} Fields are {', '.join(FIELDS)}."
                )


@dataclass(slots=True)
class _Task:
    values: Mapping[str, Any]
    """Of its first row."""
    scores: dict[str, ImportedScore] = field(default_factory=dict)


def read_table(path: Path, name: str, mapped: Mapped) -> list[ImportedRun]:
    """A run for each model and step in the table.

    Raises:
        DataError: a column is missing or a row cannot be read; the sentence names file, line and column.
    """
    runs: dict[ImportedModel, dict[str, _Task]] = {}
    for number, row in _rows(path):
        values = _values(row, mapped, f"{path}, line {number}")
        model = _model(values, f"{path}, line {number}")
        tasks = runs.setdefault(model, {})
        task = tasks.setdefault(values["task"], _Task(values))
        score = _score(values, f"{path}, line {number}")
        if score.metric in task.scores:
            where = f"{model.name}, {values['task']}, {score.metric}"
            raise DataError(f"{path}, line {number}: a second value for {where}. Every row must be a different one.")
        task.scores[score.metric] = score
    if not runs:
        raise DataError(f"{path} holds no rows.")
    origin = Origin(kind="table", file=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    return [_run(model, tasks, origin, str(path)) for model, tasks in runs.items()]


def _model(values: Mapping[str, Any], where: str) -> ImportedModel:
    """The model of a row: step and tokens are as its columns say, else as the name does."""
    step, tokens, name = _integer(values, "step", where), _integer(values, "tokens_seen", where), values["model"]
    reading = names_called(name).reading
    if step is not None and step != reading.step:
        name = f"{name}@step{step}"
    known = reading.tokens if tokens is None else tokens
    return ImportedModel(name, names_called(name).series, reading.step if step is None else step, known)


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Json]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix == ".jsonl":
            for number, text in enumerate(file, 1):
                if text.strip():
                    yield number, _json_row(text, path, number)
            return
        dialect = "excel-tab" if path.suffix == ".tsv" else "excel"
        reader = csv.DictReader(file, dialect=dialect)
        for row in reader:
            yield reader.line_num, dict(_cells(row))


def _cells(row: Mapping[str | None, str | list[str] | None]) -> Iterator[tuple[str, str | None]]:
    """Heading and text of the cells that have a heading, without apostrophes that keep a formula from being one."""
    for key, value in row.items():
        if key is not None:
            yield unprotected(key), unprotected(value) if isinstance(value, str) and value else None


def _json_row(text: str, path: Path, number: int) -> dict[str, Json]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{path}, line {number}: not JSON ({error}).") from error
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {number}: an object was expected.")
    return row


def _values(row: Mapping[str, Json], mapped: Mapped, where: str) -> dict[str, Any]:
    values = {name: row.get(mapped.columns.get(name, name)) for name in FIELDS}
    values |= {name: default for name, default in mapped.defaults.items() if values[name] is None}
    for name in NEEDED:
        if values[name] is None and not (name == "value" and mapped.columns.get(name, name) in row):
            column = mapped.columns.get(name, name)
            raise DataError(
                f"{where}: no column {column!r} for {name}.{did_you_mean(column, row)} Say which one it is with"
                f" --column {name}=NAME, or give one value for all rows with --set {name}=VALUE."
            )
    return {**values, "model": str(values["model"]), "task": str(values["task"]), "metric": str(values["metric"])}


def _number(values: Mapping[str, Any], name: str, where: str) -> float | None:
    value = values[name]
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is {value!r}; a number was expected.") from None


def _integer(values: Mapping[str, Any], name: str, where: str) -> int | None:
    value = _number(values, name, where)
    if value is None:
        return None
    if not math.isfinite(value) or value != int(value) or value < 0:
        raise DataError(f"{where}: {name} is {values[name]!r}; a whole number was expected.")
    return int(value)


def _score(values: Mapping[str, Any], where: str) -> ImportedScore:
    value, stderr = _number(values, "value", where), _number(values, "stderr", where)
    error = stderr if stderr is not None and math.isfinite(stderr) and stderr >= 0 else None
    return imported_score(values["metric"], value, error, _integer(values, "n", where))


def _run(model: ImportedModel, tasks: Mapping[str, _Task], origin: Origin, where: str) -> ImportedRun:
    found = {
        name: ImportedTask(
            scores=in_order(task.scores.values()),
            version=task.values["version"],
            num_fewshot=_integer(task.values, "num_fewshot", where),
            output_type="multiple_choice" if {"acc", "acc_norm"} & set(task.scores) else None,
        )
        for name, task in tasks.items()
    }
    dates = [str(task.values["date"]) for task in tasks.values() if task.values["date"]]
    return ImportedRun(model, found, origin, date=max(dates, default=None))

"""Plain tables, as CSV, JSON or parquet: one row per model, task and metric."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import ArgumentError, DataError, did_you_mean
from benchbench.core.record import BackendRecord, Origin
from benchbench.core.types import Json
from benchbench.extensions.interchange.imported import (
    ImportedGroup,
    ImportedModel,
    ImportedRun,
    ImportedScore,
    ImportedTask,
    Stated,
    imported_score,
    in_order,
    version_in,
)
from benchbench.extensions.interchange.rows import rows_of
from benchbench.store.names import names_called

FIELDS = ("model", "step", "tokens_seen", "task", "metric", "value", "stderr", "n", "num_fewshot", "version", "date")
TRUE = ("True", "true", "1")
OWN_MARKS = ("run_id", "signature", "se_method", "is_group")
"""Columns by which a table is known that `results export` wrote."""
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
    own: Mapping[str, Any] | None
    """The row's other columns, where benchbench wrote it."""
    scores: dict[str, ImportedScore] = field(default_factory=dict)


def read_table(path: Path, name: str, mapped: Mapped) -> list[ImportedRun]:
    """A run for each model and step in the table.

    Raises:
        DataError: a column is missing or a row cannot be read; the sentence names file, line and column.
    """
    runs: dict[tuple[ImportedModel, str, int], dict[str, _Task]] = {}
    rows = list(rows_of(path))
    newest = _newest_weights(row for _, row in rows if _is_own(row))
    for number, row in rows:
        where = f"{path}, line {number}"
        own = row if _is_own(row) else None
        values = _values(row, mapped, where)
        model = _model(values, where, own, newest)
        run = "" if own is None else f"{own['run_id']} {own.get('attempt')}"
        task = _place(runs, (model, run), values, own)
        score = _score(values, where) if own is None else _own_score(values, own, where)
        if score.metric in task.scores:
            named = f"{model.name}, {values['task']}, {score.metric}"
            raise DataError(f"{where}: a second value for {named}. Every row must be a different one.")
        task.scores[score.metric] = score
    if not runs:
        raise DataError(f"{path} holds no rows.")
    origin = Origin(kind="table", file=name, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16])
    return [_run(model, tasks, origin, str(path), run) for (model, run, _), tasks in runs.items()]


def _is_own(row: Mapping[str, Json]) -> bool:
    return all(name in row for name in OWN_MARKS)


def _newest_weights(rows: Iterable[Mapping[str, Json]]) -> dict[str, str]:
    """Model → its weights; of several the newest. Others under the name are another model."""
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        one = (str(row.get("finished") or ""), str(row.get("model_identity") or ""))
        model = str(row.get("model"))
        found[model] = max(one, found.get(model, one))
    return {model: weights for model, (_, weights) in found.items()}


def _place(
    runs: dict[tuple[ImportedModel, str, int], dict[str, _Task]],
    of: tuple[ImportedModel, str],
    values: Mapping[str, Any],
    own: Mapping[str, Any] | None,
) -> _Task:
    """The task of a row. A task that was asked in two ways (shots, version) is of two runs, as with runs of ours."""
    for number in itertools.count():
        task = runs.setdefault((*of, number), {}).setdefault(values["task"], _Task(values, own))
        if all(str(task.values[name]) == str(values[name]) for name in ("num_fewshot", "version")):
            return task
    raise AssertionError


def _model(
    values: Mapping[str, Any], where: str, own: Mapping[str, Any] | None, newest: Mapping[str, str]
) -> ImportedModel:
    """The model of a row: step and tokens are as its columns say, else as the name does."""
    if own is not None:
        weights = str(own.get("model_identity") or "")
        apart = () if weights == newest.get(values["model"], weights) else (("weights", weights[:16]),)
        series = str(own.get("series") or values["model"])
        step, tokens = _integer(values, "step", where), _integer(values, "tokens_seen", where)
        return ImportedModel(values["model"], series, step, tokens, arguments=apart)
    step, tokens, name = _integer(values, "step", where), _integer(values, "tokens_seen", where), values["model"]
    reading = names_called(name).reading
    if step is not None and step != reading.step:
        name = f"{name}@step{step}"
    known = reading.tokens if tokens is None else tokens
    return ImportedModel(name, names_called(name).series, reading.step if step is None else step, known)


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


def _own_score(values: Mapping[str, Any], own: Mapping[str, Any], where: str) -> ImportedScore:
    """A row that benchbench wrote: everything is as it stands there."""
    score = _score(values, where)
    numbers = {name: _number(own, name, where) for name in ("ci_low", "ci_high")}
    clusters = _integer(own, "n_clusters", where) if own.get("n_clusters") else None
    stated = Stated(numbers["ci_low"], numbers["ci_high"], clusters, _text(own, "se_method"), _text(own, "signature"))
    higher = str(own.get("higher_is_better", "True")) in TRUE
    n = None if values["n"] is None else score.n
    return replace(score, n=n, note=_text(own, "note"), higher_is_better=higher, stated=stated)


def _text(own: Mapping[str, Any], name: str) -> str | None:
    return str(own[name]) if own.get(name) else None


def _run(
    model: ImportedModel, tasks: Mapping[str, _Task], origin: Origin, where: str, source_run: str = ""
) -> ImportedRun:
    dates = [str(task.values["date"]) for task in tasks.values() if task.values["date"]]
    owns = [task.own for task in tasks.values() if task.own is not None]
    dates += [str(own["finished"]) for own in owns if own.get("finished")]
    groups = {name: task for name, task in tasks.items() if task.own is not None and str(task.own["is_group"]) in TRUE}
    return ImportedRun(
        model,
        {name: _imported_task(task, where) for name, task in tasks.items() if name not in groups},
        origin,
        groups=tuple(
            ImportedGroup(
                name,
                (),
                weight_by_size=True,
                scores=tuple(task.scores.values()),
                num_fewshot=_integer(task.values, "num_fewshot", where),
            )
            for name, task in groups.items()
        ),
        backend=_backend(owns[0], where) if owns else None,
        date=max(dates, default=None),
        source_run=source_run or None,
    )


def _imported_task(task: _Task, where: str) -> ImportedTask:
    own = task.own
    signature = None if own is None else _text(own, "signature")
    return ImportedTask(
        scores=in_order(task.scores.values()) if own is None else tuple(task.scores.values()),
        version=version_in(task.values["version"]) if signature is None else _version_in(signature),
        num_fewshot=_integer(task.values, "num_fewshot", where),
        output_type="multiple_choice" if {"acc", "acc_norm"} & set(task.scores) else None,
        chance=None if own is None else _number({"chance": None, **own}, "chance", where),
        asked=(signature,) if signature and "|imported:" not in signature else (),
    )


def _version_in(signature: str) -> str | None:
    """`gsm8k.v3|shots:5` → `3`."""
    version = signature.partition("|")[0].rpartition(".v")[2]
    return None if version in ("", "?") else version


def _backend(own: Mapping[str, Any], where: str) -> BackendRecord:
    return BackendRecord(
        name=str(own.get("backend") or "table"),
        dtype=_text(own, "dtype"),
        device=_text(own, "device"),
        revision=_text(own, "revision"),
        num_parameters=_integer({"num_parameters": None, **own}, "num_parameters", where),
    )

"""Published numbers: `reported/*.yaml` in a results folder. Shown apart from measured ones, never ranked or paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import DataError, did_you_mean
from benchbench.core.files import read_regular
from benchbench.core.types import Json

FOLDER = "reported"
MAX_FILE = 2**24
"""Bytes of the largest file of published numbers that is read."""

_SOURCE = ("source", "url", "date", "known", "unknown", "note", "tables")
_TABLE = ("title", "columns", "rows", "note")
_COLUMN = ("name", "metric", "task", "unit")
_ROW = ("model", "step", "known", "values")


@dataclass(frozen=True, slots=True)
class ReportedColumn:
    """A column of a published table."""

    name: str
    """As printed in the source."""
    metric: str
    task: str | None
    """Our task that measures the same thing, if there is one."""
    unit: str | None


@dataclass(frozen=True, slots=True)
class ReportedRow:
    """A model's line."""

    model: str
    step: int | None
    known: Mapping[str, str]
    """Settings stated for this line alone."""
    values: tuple[float | None, ...]
    """One per column; None where the source has none."""


@dataclass(frozen=True, slots=True)
class ReportedTable:
    """One table of a source."""

    title: str
    columns: tuple[ReportedColumn, ...]
    rows: tuple[ReportedRow, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class ReportedSource:
    """A paper, model card or set of slides."""

    source: str
    url: str | None
    date: str | None
    known: Mapping[str, str]
    unknown: tuple[str, ...]
    note: str | None
    tables: tuple[ReportedTable, ...]
    file: str


def read_reported(path: Path) -> ReportedSource:
    """One file.

    Raises:
        DataError: not YAML, an unknown or missing key, or a row with more or fewer values than columns.
    """
    import yaml

    try:
        raw = yaml.safe_load(read_regular(path, MAX_FILE).decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as YAML ({error}).") from error
    made = _checked(raw, _SOURCE, ("source", "tables"), str(path))
    return ReportedSource(
        source=str(made["source"]),
        url=_text(made.get("url")),
        date=_text(made.get("date")),
        known=_settings(made.get("known"), str(path)),
        unknown=tuple(map(str, _list(made.get("unknown") or [], str(path)))),
        note=_text(made.get("note")),
        tables=tuple(_table(t, f"{path}: table {i}") for i, t in enumerate(_list(made["tables"], str(path)), 1)),
        file=path.name,
    )


def _table(raw: object, where: str) -> ReportedTable:
    made = _checked(raw, _TABLE, ("title", "columns", "rows"), where)
    columns = tuple(_column(one, where) for one in _list(made["columns"], where))
    rows = tuple(_row(one, len(columns), f"{where}, row {i}") for i, one in enumerate(_list(made["rows"], where), 1))
    return ReportedTable(str(made["title"]), columns, rows, _text(made.get("note")))


def _column(raw: object, where: str) -> ReportedColumn:
    made = _checked(raw, _COLUMN, ("name", "metric"), where)
    return ReportedColumn(str(made["name"]), str(made["metric"]), _text(made.get("task")), _text(made.get("unit")))


def _row(raw: object, count: int, where: str) -> ReportedRow:
    made = _checked(raw, _ROW, ("model", "values"), where)
    values = _list(made["values"], where)
    if len(values) != count:
        raise DataError(f"{where}: {len(values)} values for {count} columns; write null where the source has none.")
    numbers = tuple(_number(value, where) for value in values)
    step = made.get("step")
    if step is not None and not isinstance(step, int):
        raise DataError(f"{where}: step {step!r} is not a whole number.")
    return ReportedRow(str(made["model"]), step, _settings(made.get("known"), where), numbers)


def _number(value: Json, where: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {value!r} is not a number; write null where the source has none.")
    return float(value)


def _checked(raw: object, known: Sequence[str], needed: Sequence[str], where: str) -> dict[str, Json]:
    if not isinstance(raw, dict):
        raise DataError(f"{where}: keys and values were expected, not {raw!r}.")
    for key in raw:
        if key not in known:
            raise DataError(f"{where}: no key {key!r}.{did_you_mean(str(key), known)} Keys are {', '.join(known)}.")
    for key in needed:
        if raw.get(key) is None:
            raise DataError(f"{where}: the key {key!r} is missing.")
    return raw


def _list(raw: object, where: str) -> list[Json]:
    if not isinstance(raw, list):
        raise DataError(f"{where}: a list was expected, not {raw!r}.")
    return raw


def _settings(raw: object, where: str) -> dict[str, str]:
    if raw is not None and not isinstance(raw, dict):
        raise DataError(f"{where}: `known` holds settings and their values, not {raw!r}.")
    return {str(key): str(value) for key, value in (raw or {}).items()}


def _text(value: Json) -> str | None:
    return None if value is None else str(value)

"""The rows of a table, from CSV, JSON, JSON lines or parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular
from benchbench.core.types import Json
from benchbench.store.spreadsheet import unprotected


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Json]]]:
    """Number and content of each row, the number as a person counts the file's lines."""
    if path.suffix == ".parquet":
        yield from enumerate(_parquet_rows(path), 1)
        return
    if path.suffix == ".json":
        content = json.loads(path.read_bytes())
        yield from enumerate(content["rows"] if isinstance(content, dict) else content, 1)
        return
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


def _parquet_rows(path: Path) -> list[dict[str, Json]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as file:
            rows: list[dict[str, Json]] = pq.read_table(file).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as parquet ({str(error)[:120]}).") from None
    return rows


def is_table(content: Json) -> bool:
    """A JSON value that is a list of rows, or what `benchbench run --json` prints. A run.json is no table."""
    if isinstance(content, dict) and "schema_version" not in content:
        content = content.get("rows")
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(row, dict) and {"task", "metric", "value"} <= set(row) for row in content)
    )


def is_parquet_table(path: Path) -> bool:
    """A parquet file whose columns are those of a table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as file:
            return {"task", "metric", "value"} <= set(pq.read_schema(file).names)
    except (OSError, ValueError, pa.ArrowException):
        return False


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

"""Files of rows: JSON lines, CSV, parquet, plain text. Each row is a dict of JSON values."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.types import Json
from benchbench.tasks.task import Task

Row = dict[str, Json]


DATA_ENV = "BENCHBENCH_DATA"


FILE_FORMATS = ("json", "csv", "parquet", "text")
"""Values of `dataset_path` that mean files beside the task, as in `datasets`."""


def check_names(task: Task) -> None:
    """DataError if a name would lead out of the data root: names of data sets become parts of a path."""
    config = task.config
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", config.dataset_path) or ".." in config.dataset_path:
        raise DataError(f"{task.where('dataset_path')}: {config.dataset_path!r} is not `organisation/name`.")
    if config.dataset_name is not None and not re.fullmatch(r"[^/\\]+", config.dataset_name.replace("..", "/")):
        raise DataError(f"{task.where('dataset_name')}: {config.dataset_name!r} is not the name of a configuration.")


def missing_split(task: Task, split: str, known: list[str], place: str) -> DataError:
    """The error for a split that does not exist, with those that do."""
    hint = " --split names another." if known else ""
    return DataError(f"{task.name}: no split {split!r} in {place}. Splits there: {', '.join(known) or 'none'}.{hint}")


def read_json(path: Path) -> Iterator[Row]:
    """A JSON array of objects, or JSON lines. DataError for anything else."""
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not JSON: {error}.") from error
        if isinstance(rows, list):
            yield from (_object(row, path, number) for number, row in enumerate(rows))
            return
    yield from read_jsonl(path)


def read_jsonl(path: Path) -> Iterator[Row]:
    """One JSON object per line. DataError, with the line's number, for anything else."""
    number = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _object(json.loads(line.decode("utf-8")), path, number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: the line is not JSON in UTF-8: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _object(value: Json, path: Path, number: int) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{path}: row {number} is not an object with fields.")
    return value


def read_csv(path: Path) -> Iterator[Row]:
    """Rows of a CSV file with a header; every value is text, as the file has it. DataError for uneven rows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            for number, row in enumerate(csv.DictReader(lines, strict=True), 1):
                if None in row or None in row.values():
                    raise DataError(f"{path}: row {number} has not as many fields as the header.")
                yield {str(key): value for key, value in row.items()}
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not CSV in UTF-8: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def read_text(path: Path) -> Iterator[Row]:
    """Every line as a row with the field `text`. DataError if it cannot be read."""
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield {"text": line.rstrip("\n")}
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a parquet file. DataError if pyarrow is missing or the file damaged."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install pyarrow.") from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from (plain_row(row) for row in batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}.") from error


def plain_row(row: Mapping[str, object]) -> Row:
    """`plain` of every field."""
    return {str(name): plain(value) for name, value in row.items()}


def plain(value: object) -> Json:
    """`value` as JSON has it: dates as ISO text, bytes as hexadecimal text."""
    if isinstance(value, dict):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".csv": read_csv,
}

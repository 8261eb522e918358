"""Rows of data sets, each a dict of JSON values: from JSON lines, CSV, parquet, or plain text."""

from __future__ import annotations

import csv
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import chain
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular
from benchbench.core.quick_json import loads
from benchbench.core.types import Json
from benchbench.tasks.borders import is_configuration_name, is_data_set_name
from benchbench.tasks.task import Task
from benchbench.tasks.text_file import MAX_LINE_BYTES, bare_name, ending, lines_of, whole_text

Row = dict[str, Json]


DATA_ENV = "BENCHBENCH_DATA"
MAX_ROW_DEPTH = 100


def root_or_env(data_root: Path | None) -> Path | None:
    """`data_root`, else the folder that the environment variable BENCHBENCH_DATA names; None: the Hub."""
    return Path(os.environ[DATA_ENV]) if data_root is None and os.environ.get(DATA_ENV) else data_root


def check_names(task: Task) -> None:
    """DataError if a name would lead out of the data root: names of data sets become parts of a path."""
    config = task.config
    if not is_data_set_name(config.dataset_path):
        raise DataError(f"{task.where('dataset_path')}: {config.dataset_path!r} is not `organisation/name`.")
    if not is_configuration_name(config.dataset_name):
        raise DataError(f"{task.where('dataset_name')}: {config.dataset_name!r} is not the name of a configuration.")


def missing_split(task: Task, split: str, known: list[str], place: str) -> DataError:
    """The error for a split that does not exist, with those that do."""
    hint = " --split names another." if known else ""
    return DataError(f"{task.name}: no split {split!r} in {place}. Splits there: {', '.join(known) or 'none'}.{hint}")


def read_json(path: Path, field: str | None = None) -> Iterator[Row]:
    """A JSON array of objects, one under the key `field` or "data" of an object, or JSON lines.

    Raises:
        DataError: anything else.
    """
    if field is None and bare_name(path).suffix.lower() != ".json":
        yield from read_jsonl(path)
        return
    try:
        value = json.loads(whole_text(path))
    except RecursionError as error:
        raise DataError(f"{path}: not JSON: it is nested too deeply.") from error
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or field is not None:
            raise DataError(f"{path}: not JSON: {error}.") from error
        yield from read_jsonl(path)
        return
    except ValueError as error:
        raise DataError(f"{path}: not JSON in UTF-8: {error}.") from error
    yield from (_object(row, path, number) for number, row in enumerate(_listed(value, path, field)))


def _listed(value: Json, path: Path, field: str | None) -> list[Json]:
    """The rows of a JSON file: it is a list, or has one under `field` or "data", or is a single row."""
    if isinstance(value, list) and field is None:
        return value
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected a list of objects{f' under {field!r}' if field else ''}.")
    if field is not None:
        if isinstance(rows := value.get(field), list):
            return rows
        raise DataError(f"{path}: has no list under {field!r}; its keys: {', '.join(map(str, value))[:200]}.")
    rows = value.get("data")
    if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
        return rows
    if _are_rows([*value.values()]):
        raise DataError(
            f"{path}: is one object whose {len(value)} fields are objects. If these are the rows, make a list of them: "
            f"jq '[.[]]' {path.name}"
        )
    lists = [key for key, part in value.items() if isinstance(part, list) and part and isinstance(part[0], dict)]
    if lists:
        raise DataError(
            f"{path}: is one object, not a list of them. Say under which key its rows are: "
            f"`dataset_kwargs: {{data_files: …, field: {lists[0]}}}`."
        )
    return [value]


def _are_rows(values: list[Json]) -> bool:
    """Several objects with the same keys."""
    first = values[0] if len(values) > 1 else None
    return (
        isinstance(first, dict)
        and bool(first)
        and all(isinstance(value, dict) and value.keys() == first.keys() for value in values)
    )


def read_jsonl(path: Path) -> Iterator[Row]:
    """One JSON object per line. DataError, with the line's number, for anything else."""
    number = 0
    try:
        for number, line in enumerate(lines_of(path), 1):
            if not line.isspace():
                signs = line.count(b"[") + line.count(b"{")
                yield _object(loads(line.decode("utf-8")), path, number, signs)
    except RecursionError as error:
        raise DataError(f"{path}:{number}: the line is not JSON in UTF-8: it is nested too deeply.") from error
    except ValueError as error:
        hint = _whole_hint(path) if number == 1 else ""
        raise DataError(f"{path}:{number}: the line is not JSON in UTF-8: {error}.{hint}") from error


def _whole_hint(path: Path) -> str:
    """What to do about one JSON value over many lines under the name of JSON lines."""
    try:
        json.loads(whole_text(path))
    except (ValueError, DataError, RecursionError):
        return ""
    return f" The file is one JSON value over several lines: call it {bare_name(path).stem}.json."


def _object(value: Json, path: Path, number: int, signs: int = MAX_ROW_DEPTH + 1) -> Row:
    """`signs`: brackets in the row's text, of which no fewer can nest too deeply."""
    if not isinstance(value, dict):
        raise DataError(f"{path}: row {number} is not an object with fields.")
    if signs > MAX_ROW_DEPTH and _is_deep(value):
        raise DataError(f"{path}: row {number} is nested deeper than {MAX_ROW_DEPTH} levels.")
    return value


def _is_deep(row: Row) -> bool:
    level: list[Json] = [row]
    for _ in range(MAX_ROW_DEPTH):
        level = [part for value in level if isinstance(value, dict | list) for part in _parts(value)]
    return bool(level)


def _parts(value: dict[str, Json] | list[Json]) -> Iterable[Json]:
    return value.values() if isinstance(value, dict) else value


def read_csv(path: Path, separator: str | None = None) -> Iterator[Row]:
    """Rows of a CSV file with a header; every value is text, as the file has it. DataError for uneven rows.

    `separator`: None takes what the header is written with: a comma, a semicolon, a tab or a bar.
    """
    csv.field_size_limit(MAX_LINE_BYTES)  # its own is 131,072 characters; ours holds for each line
    lines = _csv_lines(path)
    try:
        first = next(lines, "")
        if (said := re.fullmatch(r"sep=(.)\s*", first)) is not None:  # Excel's own way to say it
            first, separator = next(lines, ""), separator or said[1]
        chosen = separator or _separator(first, path)
        for number, row in enumerate(csv.DictReader(chain((first,), lines), strict=True, delimiter=chosen), 1):
            if None in row or None in row.values():
                raise DataError(
                    f"{path}: row {number} has not as many fields as the header (the separator is {chosen!r}; "
                    "`dataset_kwargs` may give another as `sep`)."
                )
            yield {str(key): value for key, value in row.items()}
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not CSV in UTF-8: {error}. Save it as UTF-8: iconv -f CP1250 -t UTF-8, say."
        ) from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: not CSV in UTF-8: {error}.") from error


def _separator(header: str, path: Path) -> str:
    """The sign that a header is written with; a comma where nothing speaks for another."""
    if bare_name(path).suffix.lower() == ".tsv":
        return "\t"
    bare = re.sub(r'"[^"]*"', "", header)
    return max((",", ";", "\t", "|"), key=bare.count)


def _csv_lines(path: Path) -> Iterator[str]:
    """Lines with their ends, whichever of the three a file uses."""
    for line in lines_of(path):
        yield from (part for part in re.split(r"(?<=\r)(?!\n)", line.decode("utf-8")) if part)


def read_text(path: Path) -> Iterator[Row]:
    """Every line as a row with the field `text`. DataError if it cannot be read."""
    try:
        for line in lines_of(path):
            for part in line.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n"):
                yield {"text": part}
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error


def read_parquet(path: Path) -> Iterator[Row]:
    """Rows of a parquet file. DataError if pyarrow is missing or the file damaged."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install pyarrow.") from error
    try:
        with open_regular(path), parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from (plain_row(row) for row in batch.to_pylist())
    except OSError as error:
        raise DataError(f"{path}: not readable as parquet: {error.strerror or error}.") from error
    except (pyarrow.ArrowException, ValueError, OverflowError, RecursionError) as error:
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
    ".tsv": read_csv,
    ".jsonl.gz": read_jsonl,
    ".csv.gz": read_csv,
    ".tsv.gz": read_csv,
}
"""Ending of a split's file in a data root, the preferred first."""


def split_name(path: Path) -> str | None:
    """The split that a file of a data root holds; None for a file that holds none."""
    return bare_name(path).stem if ending(path) in READERS else None


class AllRows(ABC):
    """A source that gives its rows one by one, and so also all of them."""

    @abstractmethod
    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource."""

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See DataSource."""
        return list(self.each(split, limit))

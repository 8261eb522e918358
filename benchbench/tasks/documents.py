"""Where documents come from: a data root, files beside the task, or the Hub. Rows in, plain dicts out."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from benchbench.core.errors import DataError
from benchbench.core.types import Json
from benchbench.tasks.task import Task

Row = dict[str, Json]
DATA_ENV = "BENCHBENCH_DATA"
FILE_FORMATS = ("json", "csv", "parquet", "text")
"""Values of `dataset_path` that mean files beside the task, as in `datasets`."""


class Source(Protocol):
    """An opened data set."""

    path: str
    """Where it lies, for the run record."""

    @property
    def revision(self) -> str | None:
        """The Hub's commit of what was read, if it is known."""
        ...

    def splits(self) -> list[str]:
        """Names of the splits that exist."""
        ...

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """The rows of a split in order, the first `limit` of them if given. DataError if it is missing or empty."""
        ...


def open_source(task: Task, data_root: Path | None) -> Source:
    """The task's data set. `data_root` wins over the environment variable BENCHBENCH_DATA; without either, the Hub."""
    config = task.config
    if config.dataset_path in FILE_FORMATS:
        return FileSource(task, _data_files(task))
    check_names(task)
    root = data_root if data_root is not None else Path(os.environ[DATA_ENV]) if os.environ.get(DATA_ENV) else None
    if root is None:
        from benchbench.tasks.hub import HubSource

        return HubSource(task)
    return FolderSource(task, root)


def check_names(task: Task) -> None:
    """Names become part of a path, so they may not climb out of it."""
    config = task.config
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", config.dataset_path) or ".." in config.dataset_path:
        raise DataError(f"{task.where('dataset_path')}: {config.dataset_path!r} is not `organisation/name`.")
    if config.dataset_name is not None and not re.fullmatch(r"[^/\\]+", config.dataset_name.replace("..", "/")):
        raise DataError(f"{task.where('dataset_name')}: {config.dataset_name!r} is not the name of a configuration.")


class FolderSource:
    """`<root>/<org>/<name>/<config or default>/<split>.{jsonl,parquet,csv}`."""

    def __init__(self, task: Task, root: Path) -> None:
        self._task, self._root = task, root
        self._read: dict[Path, str | None] = {}
        """Files that were read, and the Hub's commit that each is of."""
        config = task.config
        if not root.is_dir():
            raise DataError(f"--data-root {root}: no such folder.")
        data_set = root / config.dataset_path
        self._folder = data_set / (config.dataset_name or "default")
        self.path = str(self._folder)
        if not self._folder.is_dir():
            raise DataError(f"{task.name}: its data are not at {self._folder}. {_what_is_there(data_set, root)}")

    def splits(self) -> list[str]:
        """See Source."""
        return sorted({path.stem for path in self._folder.iterdir() if path.suffix.lower() in READERS})

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See Source."""
        for suffix, read in READERS.items():
            path = self._folder / f"{split}{suffix}"
            if "/" not in split and path.is_file():
                self._read[path] = self._revision(path)
                return _not_empty(list(islice(read(path), limit)), self._task, split, path)
        raise missing_split(self._task, split, self.splits(), self.path)

    @property
    def revision(self) -> str | None:
        """What `benchbench data pull` loaded, by its lock file; None unless every file read is as it was pulled."""
        found = {revision for revision in self._read.values() if revision is not None}
        return None if not found or None in self._read.values() else ", ".join(sorted(found))

    def _revision(self, path: Path) -> str | None:
        from benchbench.tasks.data_root import pulled_revision

        return pulled_revision(self._root, path)


def _what_is_there(data_set: Path, root: Path) -> str:
    if data_set.is_dir():
        names = sorted(path.name for path in data_set.iterdir() if path.is_dir())
        return f"Configurations there: {', '.join(names) or 'none'}."
    return (
        f"The data root {root} does not hold this data set: fill it, or leave --data-root (and {DATA_ENV}) away "
        "to load from the Hub."
    )


class FileSource:
    """Files that `dataset_kwargs.data_files` names, beside the task file."""

    revision: str | None = None

    def __init__(self, task: Task, files: Mapping[str, list[Path]]) -> None:
        self._task = task
        self._files = files
        self.path = str(task.path.parent)

    def splits(self) -> list[str]:
        """See Source."""
        return sorted(self._files)

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See Source."""
        if split not in self._files:
            raise missing_split(self._task, split, self.splits(), self.path)
        kind = self._task.config.dataset_path
        read = {"json": _read_json, "csv": _read_csv, "parquet": _read_parquet, "text": _read_text}[kind]
        rows = (row for path in self._files[split] for row in read(path))
        return _not_empty(list(islice(rows, limit)), self._task, split, self._files[split][0])


def _data_files(task: Task) -> dict[str, list[Path]]:
    kwargs = task.config.dataset_kwargs or {}
    files = kwargs.get("data_files")
    if isinstance(files, (str, list)):
        files = {"train": files}
    if not isinstance(files, dict) or set(kwargs) - {"data_files"}:
        raise DataError(
            f"{task.where('dataset_kwargs')}: with `dataset_path: {task.config.dataset_path}` this is "
            "`{data_files: {split: file}}`, and nothing else."
        )
    return {str(s): [_beside(task, name) for name in ([v] if isinstance(v, str) else v)] for s, v in files.items()}


def _beside(task: Task, name: Any) -> Path:
    """A file below the task's own folder: a stranger's task may not read the rest of the disk."""
    folder = task.path.parent.resolve()
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder):
        raise DataError(
            f"{task.where('dataset_kwargs')}: {name} lies outside the task's folder {folder}; put it there, "
            "or use --data-root."
        )
    if not path.is_file():
        raise DataError(f"{task.where('dataset_kwargs')}: no such file: {path}.")
    return path


def missing_split(task: Task, split: str, known: list[str], place: str) -> DataError:
    """The error for a split that does not exist, with those that do."""
    hint = " --split names another." if known else ""
    return DataError(f"{task.name}: no split {split!r} in {place}. Splits there: {', '.join(known) or 'none'}.{hint}")


def _not_empty(rows: list[Row], task: Task, split: str, path: Path) -> list[Row]:
    if not rows:
        raise DataError(f"{task.name}: the split {split!r} is empty ({path}).")
    return rows


def _read_json(path: Path) -> Iterator[Row]:
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not JSON: {error}.") from error
        if isinstance(rows, list):
            yield from (_row(row, path, number) for number, row in enumerate(rows))
            return
    yield from _read_jsonl(path)


def _read_jsonl(path: Path) -> Iterator[Row]:
    number = 0
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(json.loads(line.decode("utf-8")), path, number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}:{number}: the line is not JSON in UTF-8: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


def _row(value: Any, path: Path, number: int) -> Row:
    if not isinstance(value, dict):
        raise DataError(f"{path}: row {number} is not an object with fields.")
    return value


def _read_csv(path: Path) -> Iterator[Row]:
    """Every value is text, as the file has it."""
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


def _read_text(path: Path) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield {"text": line.rstrip("\n")}
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error


def _read_parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise DataError(f"{path}: reading parquet needs pyarrow: pip install pyarrow.") from error
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                yield from (plain(row) for row in batch.to_pylist())
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as parquet: {error}.") from error


def plain(value: Any) -> Any:
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
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
    ".csv": _read_csv,
}

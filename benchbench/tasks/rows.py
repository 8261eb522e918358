"""The rows that a task wants of a data set: joined with another configuration (`join`), some left out (`keep`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from benchbench.core.errors import DataError, TaskError
from benchbench.tasks.config import Join
from benchbench.tasks.documents import Row, Source, open_source
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field


class NothingKeptError(DataError):
    """`keep` leaves no row of a split."""


def open_rows(task: Task, data_root: Path | None) -> Source:
    """The task's data set as `open_source` gives it, through the task's `join` and `keep`."""
    source = open_source(task, data_root)
    if task.config.join is not None:
        source = Joined(task, task.config.join, source, data_root)
    return source if task.config.keep is None else Kept(task, task.config.keep, source)


class Joined:
    """Every row with its row of another configuration in one more field."""

    def __init__(self, task: Task, join: Join, source: Source, data_root: Path | None) -> None:
        config = task.config.model_copy(update={"dataset_name": join.dataset_name})
        self._task, self._join, self._source = task, join, source
        self._other = open_source(replace(task, config=config), data_root)
        self.path = source.path

    @property
    def revision(self) -> str | None:
        """That of both configurations, if it is one and the same; else both."""
        found = (self._source.revision, self._other.revision)
        return None if None in found else ", ".join(sorted({*map(str, found)}))

    def splits(self) -> list[str]:
        """See Source."""
        return [split for split in self._source.splits() if split in self._other.splits()]

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See Source. DataError for a row without a partner, or with several."""
        partners: dict[object, Row] = {}
        for row in self._other.rows(split):
            if partners.setdefault(self._key(row), row) is not row:
                raise DataError(f"{self._where()} {self._key(row)!r} stands twice in {self._other.path}, {split}.")
        return [self._with_partner(row, partners) for row in self._source.rows(split, limit)]

    def _with_partner(self, row: Row, partners: dict[object, Row]) -> Row:
        key = self._key(row)
        if key not in partners:
            raise DataError(f"{self._where()} {key!r} of {self._source.path} is not in {self._other.path}.")
        if self._join.field in row:
            raise DataError(f"{self._task.where('join')}: the rows have a field {self._join.field!r} already.")
        return {**row, self._join.field: dict(partners[key])}

    def _key(self, row: Row) -> str | int:
        key = row.get(self._join.by)
        if isinstance(key, (str, int)):
            return key
        raise DataError(f"{self._where()} a row has no text or number there.")

    def _where(self) -> str:
        return f"{self._task.where('join')}: by {self._join.by!r}:"


class Kept:
    """The rows for which the task's `keep` expression is true, in order."""

    def __init__(self, task: Task, keep: str, source: Source) -> None:
        self._task, self._keep, self._source = task, keep, source
        self.path = source.path

    @property
    def revision(self) -> str | None:
        """See Source."""
        return self._source.revision

    def splits(self) -> list[str]:
        """See Source."""
        return self._source.splits()

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """See Source. NothingKeptError if no row is left."""
        rows = self._source.rows(split)
        chosen = list(islice(self._chosen(rows), limit))
        if not chosen:
            raise NothingKeptError(f"{self._task.where('keep')}: none of the {len(rows)} rows of {split!r} is kept.")
        return chosen

    def _chosen(self, rows: Iterable[Row]) -> Iterator[Row]:
        field: Field | None = None
        for number, row in enumerate(rows):
            field = field or Field(self._keep, self._task.where("keep"), row)
            value = field.value({**row, **self._task.variables}, f"row {number}")
            if not isinstance(value, bool):
                raise TaskError(f"{field.where}: row {number} gives {value!r}; `keep` says true or false.")
            if value:
                yield row

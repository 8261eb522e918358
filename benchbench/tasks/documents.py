"""A task's documents: rows from a data root, files or the Hub; joined, filtered, and with derived fields."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

from benchbench.core.errors import DataError, TaskError, did_you_mean
from benchbench.core.files import is_regular
from benchbench.core.format import kind_of
from benchbench.core.ids import content_hash
from benchbench.core.types import Doc, Json
from benchbench.tasks.borders import FILE_FORMATS, is_split_name, own_files
from benchbench.tasks.config import Join
from benchbench.tasks.data_root import pulled_revision
from benchbench.tasks.hub import HubSource
from benchbench.tasks.rows import (
    DATA_ENV,
    READERS,
    AllRows,
    Row,
    check_names,
    missing_split,
    read_csv,
    read_json,
    read_parquet,
    read_text,
    root_or_env,
    split_name,
)
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field


class DataSource(Protocol):
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

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """The rows of a split one by one, the first `limit` of them if given. DataError if it is missing or empty."""
        ...

    def rows(self, split: str, limit: int | None = None) -> list[Row]:
        """All that `each` gives."""
        ...


def open_source(task: Task, data_root: Path | None, *, trusted: bool = False) -> DataSource:
    """The task's data set. `data_root` wins over the environment variable BENCHBENCH_DATA; without either, the Hub.

    `trusted`: the task may name whatever `datasets` can read.
    """
    config = task.config
    root = root_or_env(data_root)
    if config.dataset_path in FILE_FORMATS:
        return FileSource(task, _data_files(task, root))
    if (kind := _MEANT.get(config.dataset_path.lower())) is not None and "data_files" in (config.dataset_kwargs or {}):
        raise DataError(f"{task.where('dataset_path')} is {config.dataset_path!r}; for such files write {kind!r}.")
    _refuse_file(task)
    if root is None:
        return HubSource(task, trusted=trusted)
    check_names(task)
    return FolderSource(task, root)


_MEANT = {"jsonl": "json", "ndjson": "json", "jsonlines": "json", "tsv": "csv", "txt": "text"}
"""What people write for the kind of their files, and its name."""


def _refuse_file(task: Task) -> None:
    """DataError where `dataset_path` is the name of a file beside the task."""
    config, file = task.config, Path(task.config.dataset_path)
    ending = file.suffix.lower().removeprefix(".")
    kind = _MEANT.get(ending, ending)
    if kind in FILE_FORMATS and (file.name == config.dataset_path or is_regular(task.path.parent / file)):
        raise DataError(
            f"{task.where('dataset_path')} names a file; for one of your own write `dataset_path: {kind}` and "
            f"`dataset_kwargs: {{data_files: {{{config.eval_split or 'test'}: {file.name}}}}}`."
        )


class FolderSource(AllRows):
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
            raise DataError(
                f"{task.name}: its data are not at {self._folder}. {_what_is_there(data_set, root, task.name)}"
            )

    def splits(self) -> list[str]:
        """See DataSource."""
        return sorted({name for path in self._folder.iterdir() if (name := split_name(path)) is not None})

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource."""
        for suffix, read in READERS.items():
            path = self._folder / f"{split}{suffix}"
            if is_split_name(split) and is_regular(path):
                self._read[path] = pulled_revision(self._root, path)
                return _not_empty(islice(read(path), limit), self._task, split, path)
        raise missing_split(self._task, split, self.splits(), self.path)

    @property
    def revision(self) -> str | None:
        """What `benchbench data pull` loaded, by its lock file; None unless every file read is as it was pulled."""
        found = {revision for revision in self._read.values() if revision is not None}
        return None if not found or None in self._read.values() else ", ".join(sorted(found))


def _what_is_there(data_set: Path, root: Path, task: str) -> str:
    if data_set.is_dir():
        names = sorted(path.name for path in data_set.iterdir() if path.is_dir())
        return f"Configurations there: {', '.join(names) or 'none'}."
    return (
        f"The data root {root} does not hold this data set: `benchbench data pull {task} --to {root}` fetches it, or "
        f"leave --data-root (and {DATA_ENV}) away to load from the Hub."
    )


class FileSource(AllRows):
    """Files that `dataset_kwargs.data_files` names, beside the task file."""

    revision: str | None = None

    def __init__(self, task: Task, files: Mapping[str, list[Path]]) -> None:
        self._task = task
        self._files = files
        self.path = str(task.path.parent)

    def splits(self) -> list[str]:
        """See DataSource."""
        return sorted(self._files)

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource."""
        if split not in self._files:
            raise missing_split(self._task, split, self.splits(), self.path)
        files, read = self._files[split], self._reader()
        rows = (row for path in files for row in read(path))
        return _not_empty(islice(rows, limit), self._task, split, files[0] if files else self._task.path)

    def _reader(self) -> Callable[[Path], Iterator[Row]]:
        options = {key: str(value) for key, value in (self._task.config.dataset_kwargs or {}).items()}
        match self._task.config.dataset_path:
            case "json":
                return partial(read_json, field=options.get("field"))
            case "csv":
                return partial(read_csv, separator=options.get("sep", options.get("delimiter")))
            case "parquet":
                return read_parquet
        return read_text


_FILE_OPTIONS = {"json": {"field"}, "csv": {"sep", "delimiter"}}
"""Keys of `dataset_kwargs` beside `data_files` for a kind of file; the names are those of `datasets`."""


def _data_files(task: Task, root: Path | None) -> dict[str, list[Path]]:
    """Files below the task's own folder, or in the data root: a stranger's task may not read the rest of the disk."""
    kwargs = task.config.dataset_kwargs or {}
    files, where = kwargs.get("data_files"), task.where("dataset_kwargs")
    kind = task.config.dataset_path
    options = _FILE_OPTIONS.get(kind, set())
    if not isinstance(files, (str, list, dict)) or set(kwargs) - {"data_files", *options}:
        more = f"; it may also give {' or '.join(sorted(options))}" if options else ", and nothing else"
        raise DataError(f"{where}: with `dataset_path: {kind}` this is `{{data_files: {{split: file}}}}`{more}.")
    for key in options & {*kwargs}:
        value = kwargs[key]
        if not isinstance(value, str) or not value or (kind == "csv" and (len(value) > 1 or value in '"\r\n')):
            expected = "one character" if kind == "csv" else "the name of a key"
            raise DataError(f"{where}: `{key}` is {value!r}; it is {expected}.")
    return own_files(where, files, task.path.parent, () if root is None else (root,))


def _not_empty(rows: Iterator[Row], task: Task, split: str, path: Path) -> Iterator[Row]:
    first = next(rows, None)
    if first is None:
        raise DataError(f"{task.name}: the split {split!r} is empty ({path}).")
    return chain((first,), rows)


class NothingKeptError(DataError):
    """`keep` leaves no row of a split."""


def open_rows(task: Task, data_root: Path | None, *, trusted: bool = False) -> DataSource:
    """The task's data set as `open_source` gives it, through the task's `join`, `explode` and `keep`."""
    source = open_source(task, data_root, trusted=trusted)
    if task.config.join is not None:
        other = task.config.model_copy(update={"dataset_name": task.config.join.dataset_name})
        partner = open_source(replace(task, config=other), data_root, trusted=trusted)
        source = JoinedSource(task, task.config.join, source, partner)
    for name in task.config.explode:
        source = ExplodedSource(task, name, source)
    return source if task.config.keep is None else FilteredSource(task, task.config.keep, source)


class _SourceOver(AllRows):
    """Gives rows that it makes of those of another source, from the same place and of the same revision."""

    def __init__(self, task: Task, source: DataSource) -> None:
        self._task, self._source = task, source
        self.path = source.path

    @property
    def revision(self) -> str | None:
        """See DataSource."""
        return self._source.revision

    def splits(self) -> list[str]:
        """See DataSource."""
        return self._source.splits()


class JoinedSource(_SourceOver):
    """Every row with its row of another configuration in one more field."""

    def __init__(self, task: Task, join: Join, source: DataSource, other: DataSource) -> None:
        """`other` is the task's data set under the configuration that `join` names."""
        super().__init__(task, source)
        self._join, self._other = join, other

    @property
    def revision(self) -> str | None:
        """That of both configurations, if it is one and the same; else both."""
        found = (self._source.revision, self._other.revision)
        return None if None in found else ", ".join(sorted({*map(str, found)}))

    def splits(self) -> list[str]:
        """See DataSource."""
        return [split for split in self._source.splits() if split in self._other.splits()]

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource. DataError for a row without a partner, or with several."""
        partners: dict[object, Row] = {}
        for row in self._other.each(split):
            if partners.setdefault(self._key(row), row) is not row:
                raise DataError(f"{self._where()} {self._key(row)!r} stands twice in {self._other.path}, {split}.")
        return (self._with_partner(row, partners) for row in self._source.each(split, limit))

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


class ExplodedSource(_SourceOver):
    """A row for each entry of a list that a row holds, such as the questions about a passage, in order.

    An entry with fields of its own puts them into the row, over those of the same name; any other takes the list's
    place.
    """

    def __init__(self, task: Task, name: str, source: DataSource) -> None:
        super().__init__(task, source)
        self._name = name

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource. DataError for a row without such a list, or if all are empty."""
        rows = (one for number, row in enumerate(self._source.each(split)) for one in self._parts(row, number))
        first = next(rows, None)
        if first is None:
            raise DataError(f"{self._task.where('explode')}: {self._name!r} is empty in every row of {split!r}.")
        return islice(chain((first,), rows), limit)

    def _parts(self, row: Row, number: int) -> Iterator[Row]:
        if self._name not in row:
            raise DataError(
                f"{self._task.where('explode')}: row {number} has no field {self._name!r}."
                f"{did_you_mean(self._name, row)} Fields: {', '.join(row)}."
            )
        rest = {name: value for name, value in row.items() if name != self._name}
        for entry in self._entries(row[self._name], number):
            yield {**rest, **entry} if isinstance(entry, dict) else {**rest, self._name: entry}

    def _entries(self, value: Json, number: int) -> list[Json]:
        if isinstance(value, list):
            return value
        if isinstance(value, dict):  # `datasets` turns a list of objects into an object of lists
            lists = [part for part in value.values() if isinstance(part, list)]
            if len(lists) == len(value) and len({*map(len, lists)}) == 1:
                return [dict(zip(value, parts, strict=True)) for parts in zip(*lists, strict=True)]
        raise DataError(
            f"{self._task.where('explode')}: row {number} has {kind_of(value)} in {self._name!r}, not a list."
        )


class FilteredSource(_SourceOver):
    """The rows for which the task's `keep` expression is true, in order."""

    def __init__(self, task: Task, keep: str, source: DataSource) -> None:
        super().__init__(task, source)
        self._keep = keep

    def each(self, split: str, limit: int | None = None) -> Iterator[Row]:
        """See DataSource. NothingKeptError if no row is left."""
        chosen = islice(self._chosen(self._source.each(split)), limit)
        first = next(chosen, None)
        if first is None:
            count = sum(1 for _ in self._source.each(split))
            raise NothingKeptError(f"{self._task.where('keep')}: none of the {count} rows of {split!r} is kept.")
        return chain((first,), chosen)

    def _chosen(self, rows: Iterable[Row]) -> Iterator[Row]:
        field: Field | None = None
        for number, row in enumerate(rows):
            field = field or Field(self._keep, self._task.where("keep"), row)
            value = field.value({**row, **self._task.variables}, f"row {number}")
            if not isinstance(value, bool):
                raise TaskError(f"{field.where}: row {number} gives {value!r}; `keep` says true or false.")
            if value:
                yield row


class Deriver:
    """The task's `doc` and `cluster` expressions, compiled once. The first row says which columns there are."""

    def __init__(self, task: Task, first_row: Mapping[str, Json]) -> None:
        self._variables = dict(task.variables)
        columns = [*first_row]
        self._fields: list[tuple[str, Field]] = []
        for name, spec in task.config.doc.items():
            if name in self._variables:
                raise TaskError(f"{task.where('doc')}: {name!r} is a matrix variable; call the field something else.")
            self._fields.append((name, Field(spec, f"{task.where('doc')}.{name}", columns)))
            columns.append(name)
        self.columns = frozenset(columns)
        """Names that `doc_to_…: name` may mean: columns and derived fields."""
        cluster = task.config.cluster
        self._cluster = None if cluster is None else Field(cluster, task.where("cluster"), self.columns)

    def doc(self, row: Mapping[str, Json], number: int, *, keep: bool = False) -> Doc:
        """The Doc of a row. With `keep`, a derived field that the row already has stays (inline shots)."""
        fields: Row = dict(row)
        scope = fields | self._variables if self._fields or self._cluster else fields
        for name, field in self._fields:
            if not (keep and name in row):
                fields[name] = scope[name] = field.value(scope, number)
        cluster = None if self._cluster is None else str(self._cluster.text(scope, number)) or None
        return Doc(number, fields, content_hash(row), cluster)

    def scope(self, doc: Doc) -> Mapping[str, Json]:
        """What templates see of a document: its fields and the matrix variables."""
        return {**doc.fields, **self._variables} if self._variables else doc.fields

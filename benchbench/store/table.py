"""Items as rows: JSON lines while a run is going, a parquet part when a task is done. Loads pyarrow on first use."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from itertools import chain, repeat
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from benchbench.core.errors import StoreError
from benchbench.core.types import Item, Json, Outcome

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

ITEM_SCHEMA_VERSION = 1
MAX_COUNT = 2**63
"""Counts and ids are below it: what a column of whole numbers holds."""
COLUMNS = tuple(field.name for field in fields(Item) if field.name != "scores")
"""The fixed columns of the item table, in order. The score columns come after them."""

_FIXED, _COLUMNS = attrgetter(*COLUMNS), [*map(attrgetter, COLUMNS)]
LISTS = ("targets", "loglikelihoods", "is_greedy", "num_tokens", "texts", "finish_reasons", "prompt_tokens")


def item_to_line(item: Item) -> dict[str, Json]:
    """The item as a JSON-able dict with Item's field names; `scores` stays nested."""
    return {**dict(zip(COLUMNS, _FIXED(item), strict=True)), "scores": dict(item.scores)}


def item_from_line(line: Mapping[str, Any]) -> Item:
    """The item that `item_to_line` wrote, unknown keys ignored. KeyError or TypeError if the line is not an item."""
    return checked(_item(line, dict(line["scores"])))


_TEXTS = frozenset({"task", "doc_hash", "prompt_name", "item_key", "outcome"})
_MAYBE_TEXTS = frozenset({"cluster", "gold", "prediction", "failure"})
_OUTCOMES = frozenset(get_args(Outcome))
_COUNTS = frozenset({"doc_id", "dropped_shots", "truncated_tokens"})
_ENTRIES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("targets", "texts", "finish_reasons"), (str,)),
    "loglikelihoods": (float, int),
    "is_greedy": (bool,),
    "num_tokens": (int,),
    "prompt_tokens": (int,),
}


def checked(item: Item) -> Item:
    """The item. TypeError, with the field's name, if a value is none that its column can hold."""
    for name, value in zip(COLUMNS, _FIXED(item), strict=True):
        if not _fits(name, value):
            raise TypeError(f"`{name}` of an item is {str(value)[:40]!r}")
    if item.outcome not in _OUTCOMES:
        raise TypeError(f"`outcome` of an item is {item.outcome!r}")
    for name, score in item.scores.items():
        if not isinstance(name, str) or not (score is None or isinstance(score, float | int)):
            raise TypeError(f"the score {str(name)[:40]!r} of an item is {str(score)[:40]!r}")
    return item


def _fits(name: str, value: object) -> bool:
    if name in _TEXTS:
        return _is_text(value)
    if name in _MAYBE_TEXTS:
        return value is None or _is_text(value)
    if name in _COUNTS:
        return type(value) is int and 0 <= value < MAX_COUNT
    if name == "tie":
        return isinstance(value, bool)
    kinds = _ENTRIES[name]
    return isinstance(value, tuple) and all(type(one) in kinds and _holds(one) for one in value)


def _holds(value: object) -> bool:
    return _is_text(value) if isinstance(value, str) else not isinstance(value, int) or abs(value) < MAX_COUNT


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value == storable(value)


def _item(values: Mapping[str, Any], scores: Mapping[str, float | None]) -> Item:
    fixed = {name: values[name] for name in COLUMNS}
    return Item(**{**fixed, **{name: tuple(fixed[name]) for name in LISTS}}, scores=scores)


def storable(text: str) -> str:
    """Half surrogate pairs, which a model may write byte by byte, cannot be stored as UTF-8: they become `?`."""
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def sort_items(items: Iterable[Item]) -> list[Item]:
    """In the order of the item table: by doc, then prompt."""
    return sorted(items, key=_PLACE)


_PLACE = attrgetter("doc_id", "prompt_name")


def column_name(metric: str) -> str:
    """The column of a metric's scores: its name, unless a fixed column is named so."""
    return f"score_{metric}" if metric in COLUMNS else metric


def metric_name(column: str) -> str:
    """The reverse of `column_name`."""
    bare = column.removeprefix("score_")
    return bare if bare in COLUMNS else column


REUSED = b"benchbench.reused"
"""Metadata of a window: the docs whose responses came from another run."""


_TO_STAY: Mapping[str, Any] = {"compression": "zstd", "compression_level": 3}
_FOR_NOW: Mapping[str, Any] = {"compression": "lz4", "use_dictionary": False, "write_statistics": False}
"""Written in a third of the time, for once and a half the bytes."""


def encode_part(items: Sequence[Item], reused: Collection[int] = (), *, for_now: bool = False) -> bytes:
    """A parquet file of `items`, sorted. The same items give the same bytes under one pyarrow version.

    Args:
        items: of one task.
        reused: docs to be remembered as taken over from another run (`reused_in`).
        for_now: the file will soon be part of another.
    """
    import pyarrow as pa

    rows = sort_items(items)
    scores = [item.scores for item in rows]
    columns = {name: column_name(name) for name in dict.fromkeys(chain.from_iterable(scores))}
    schema = _schema(columns)
    if reused:
        schema = schema.with_metadata({**(schema.metadata or {}), REUSED: json.dumps(sorted(reused)).encode()})
    values = (*([*map(get, rows)] for get in _COLUMNS), *([one.get(name) for one in scores] for name in columns))
    arrays = [pa.array(column, field.type) for column, field in zip(values, schema, strict=True)]
    return parquet_bytes(pa.Table.from_arrays(arrays, schema=schema), _FOR_NOW if for_now else _TO_STAY)


def reused_in(path: Path) -> frozenset[int]:
    """The docs that `encode_part` was told of as reused. StoreError if the part is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path):
        metadata = pq.read_schema(path).metadata or {}
    return frozenset(json.loads(metadata.get(REUSED, b"[]")))


def parquet_bytes(table: pa.Table, how: Mapping[str, Any] = _TO_STAY) -> bytes:
    """The table as a parquet file, as all of ours are compressed."""
    buffer = io.BytesIO()
    with parquet_writer(buffer, table.schema, how) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def parquet_writer(target: io.BytesIO | Path, schema: pa.Schema, how: Mapping[str, Any] = _TO_STAY) -> ParquetWriter:
    """Writes a parquet file, as all of ours are compressed; each table that it is given becomes row groups."""
    import pyarrow.parquet as pq

    return pq.ParquetWriter(target, schema, **how)


def join_parts(parts: Sequence[Path], target: Path, added: Mapping[str, Sequence[float | None]]) -> None:
    """Writes `parts` one after the other as one part, with the score columns `added`, which run over all of them.

    No more than one of `parts` is held. StoreError if one is damaged, OSError if `target` cannot be written.
    """
    import pyarrow as pa

    metrics = dict.fromkeys((*(name for part in parts for name in part_scores(part)), *added))
    columns = {name: column_name(name) for name in metrics}
    schema, place = _schema(columns), 0
    with parquet_writer(target, schema) as writer:
        for path in parts:
            part = read_table(path)
            size = part.num_rows
            more = {
                columns[name]: pa.array(values[place : place + size], pa.float64()) for name, values in added.items()
            }
            writer.write_table(_filled(part, schema, more))
            place += size


def _filled(part: pa.Table, schema: pa.Schema, more: Mapping[str, pa.Array[Any]]) -> pa.Table:
    """The part with the columns of `schema`: its own, those in `more`, and of the rest nothing."""
    import pyarrow as pa

    nothing = pa.nulls(part.num_rows, pa.float64())
    arrays = [part.column(name) if name in part.column_names else more.get(name, nothing) for name in schema.names]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_part(path: Path) -> list[Item]:
    """The items of one parquet part, sorted. StoreError if it cannot be read."""
    table = read_table(path)
    return [*items_of(table, score_names(table.schema))]


def items_of(
    rows: pa.Table | pa.RecordBatch, scores: Mapping[str, str], defaults: Mapping[str, object] | None = None
) -> Iterator[Item]:
    """The items of some rows. `scores` maps metrics to columns; `defaults` says what a column is that `rows` lack.

    KeyError for a column that neither has.
    """
    count, present = rows.num_rows, set(rows.schema.names)
    lists = [_values(rows, name) if name in present else [(defaults or {})[name]] * count for name in COLUMNS]
    fixed = zip(*lists, strict=True)
    names, places = [*scores], [rows.column(column).to_pylist() for column in scores.values()]
    by_item = zip(*places, strict=True) if places else repeat((), count)
    for values, found in zip(fixed, by_item, strict=True):
        yield Item(**dict(zip(COLUMNS, values, strict=True)), scores=dict(zip(names, found, strict=True)))


def _values(rows: pa.Table | pa.RecordBatch, name: str) -> list[Any]:
    values: list[Any] = rows.column(name).to_pylist()
    return [tuple(one) for one in values] if name in LISTS else values


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One parquet part as an arrow table. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path):
        table = pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)
    _check_types(table.schema, path)
    return table


@cache
def _types() -> dict[str, pa.DataType]:
    """Fixed column → its type."""
    return {field.name: field.type for field in _schema({})}


def _check_types(schema: pa.Schema, path: Path) -> None:
    """StoreError where a column is not of the type in which it is written: the file is not ours, or was changed."""
    import pyarrow as pa

    for field in schema:
        right = _types().get(field.name, pa.float64())
        if field.type != right:
            raise StoreError(f"{path}: its column {field.name!r} is of {field.type}, not of {right}; it is damaged.")


def part_scores(path: Path) -> dict[str, str]:
    """Metric name → column name of one parquet part. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path):
        schema = pq.read_schema(path)
    return score_names(schema)


@contextmanager
def whole_parquet(path: Path) -> Iterator[None]:
    """Turns what goes wrong while `path` is read into a StoreError sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} cannot be read as parquet ({error}); the run folder is damaged.") from error


def score_names(schema: pa.Schema) -> dict[str, str]:
    """Metric name → column name."""
    return {metric_name(column): column for column in schema.names if column not in COLUMNS}


def _schema(columns: Mapping[str, str]) -> pa.Schema:
    import pyarrow as pa

    text, count, flag, real = pa.string(), pa.int64(), pa.bool_(), pa.float64()
    types = {
        "doc_id": count,
        "tie": flag,
        "dropped_shots": count,
        "truncated_tokens": count,
        "targets": pa.list_(text),
        "loglikelihoods": pa.list_(real),
        "is_greedy": pa.list_(flag),
        "num_tokens": pa.list_(count),
        "prompt_tokens": pa.list_(count),
        "texts": pa.list_(text),
        "finish_reasons": pa.list_(text),
    }
    fixed = [pa.field(name, types.get(name, text)) for name in COLUMNS]
    metadata: dict[str | bytes, str | bytes] = {"benchbench.items": str(ITEM_SCHEMA_VERSION)}
    return pa.schema([*fixed, *(pa.field(column, real) for column in columns.values())], metadata=metadata)

"""Items as rows: JSON lines while a run is going, a parquet part when a task is done. Loads pyarrow on first use."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import StoreError
from benchbench.core.types import Item, Json

if TYPE_CHECKING:
    import pyarrow as pa

ITEM_SCHEMA_VERSION = 1
COLUMNS = tuple(field.name for field in fields(Item) if field.name != "scores")
"""The fixed columns of the item table, in order. The score columns come after them."""

_LISTS = ("targets", "loglikelihoods", "is_greedy", "num_tokens", "texts", "finish_reasons", "prompt_tokens")


def item_to_line(item: Item) -> dict[str, Json]:
    """The item as a JSON-able dict with Item's field names; `scores` stays nested."""
    line = {name: getattr(item, name) for name in COLUMNS}
    return {**line, "scores": dict(item.scores)}


def item_from_line(line: Mapping[str, Any]) -> Item:
    """The item that `item_to_line` wrote, unknown keys ignored. KeyError or TypeError if the line is not an item."""
    return _item(line, dict(line["scores"]))


def _item(values: Mapping[str, Any], scores: Mapping[str, float | None]) -> Item:
    fixed = {name: values[name] for name in COLUMNS}
    return Item(**{**fixed, **{name: tuple(fixed[name]) for name in _LISTS}}, scores=scores)


def storable(text: str) -> str:
    """Half surrogate pairs, which a model may write byte by byte, cannot be stored as UTF-8: they become `?`."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def sort_items(items: Iterable[Item]) -> list[Item]:
    """In the order of the item table: by doc, then prompt."""
    return sorted(items, key=lambda item: (item.doc_id, item.prompt_name))


def column_name(metric: str) -> str:
    """The column of a metric's scores: its name, unless a fixed column is named so."""
    return f"score_{metric}" if metric in COLUMNS else metric


def metric_name(column: str) -> str:
    """The reverse of `column_name`."""
    bare = column.removeprefix("score_")
    return bare if bare in COLUMNS else column


def encode_part(items: Sequence[Item]) -> bytes:
    """A parquet file (zstd) of `items`, sorted. The same items give the same bytes under one pyarrow version."""
    import pyarrow as pa

    rows = sort_items(items)
    names = dict.fromkeys(name for item in rows for name in item.scores)
    columns = {name: column_name(name) for name in names}
    data: dict[str, list[Any]] = {name: [getattr(item, name) for item in rows] for name in COLUMNS}
    data.update({column: [_number(item.scores.get(name)) for item in rows] for name, column in columns.items()})
    return parquet_bytes(pa.Table.from_pydict(data, schema=_schema(columns)))


def parquet_bytes(table: pa.Table) -> bytes:
    """The table as a parquet file, as all of ours are compressed."""
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", compression_level=3)
    return buffer.getvalue()


def read_part(path: Path) -> list[Item]:
    """The items of one parquet part, sorted. StoreError if it cannot be read."""
    table = read_table(path)
    names = _score_names(table.schema)
    return [_item(row, {name: row[column] for name, column in names.items()}) for row in table.to_pylist()]


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One parquet part as an arrow table. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path):
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)


def part_scores(path: Path) -> dict[str, str]:
    """Metric name → column name of one parquet part. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with whole_parquet(path):
        schema = pq.read_schema(path)
    return _score_names(schema)


@contextmanager
def whole_parquet(path: Path) -> Iterator[None]:
    """Turns what goes wrong while `path` is read into a StoreError sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} cannot be read as parquet ({error}); the run folder is damaged.") from error


def _number(value: float | bool | None) -> float | None:
    return None if value is None else float(value)


def _score_names(schema: pa.Schema) -> dict[str, str]:
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

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
    values: dict[str, Any] = {name: line[name] for name in COLUMNS}
    values.update({name: tuple(values[name]) for name in _LISTS})
    return Item(**values, scores=dict(line["scores"]))


def sort_items(items: Iterable[Item]) -> list[Item]:
    """In the order of the item table: by doc, then prompt."""
    return sorted(items, key=lambda item: (item.doc_id, item.prompt_name))


def score_columns(items: Sequence[Item]) -> dict[str, str]:
    """Metric name → column name. They are the same unless a metric is named like a fixed column."""
    names = dict.fromkeys(name for item in items for name in item.scores)
    return {name: f"score_{name}" if name in COLUMNS else name for name in names}


def encode_part(items: Sequence[Item]) -> bytes:
    """A parquet file (zstd) of `items`, sorted. The same items give the same bytes under one pyarrow version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = sort_items(items)
    columns = score_columns(rows)
    schema = _schema(columns)
    data: dict[str, list[Any]] = {name: [getattr(item, name) for item in rows] for name in COLUMNS}
    data.update({column: [_number(item.scores.get(name)) for item in rows] for name, column in columns.items()})
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pydict(data, schema=schema), buffer, compression="zstd", compression_level=3)
    return buffer.getvalue()


def read_part(path: Path) -> list[Item]:
    """The items of one parquet part, sorted. StoreError if it cannot be read."""
    table = read_table(path)
    names = _score_names(table.schema)
    return [_item_from_row(row, names) for row in table.to_pylist()]


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """One parquet part as an arrow table. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with _whole_parquet(path):
        return pq.read_table(path, columns=None if columns is None else list(columns), partitioning=None)


def part_scores(path: Path) -> dict[str, str]:
    """Metric name → column name of one parquet part. StoreError if it is damaged."""
    import pyarrow.parquet as pq

    with _whole_parquet(path):
        schema = pq.read_schema(path)
    return _score_names(schema)


@contextmanager
def _whole_parquet(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise StoreError(f"{path} cannot be read as parquet ({error}); the run folder is damaged.") from error


def _number(value: float | bool | None) -> float | None:
    return None if value is None else float(value)


def _item_from_row(row: dict[str, Any], names: Mapping[str, str]) -> Item:
    values: dict[str, Any] = {name: row[name] for name in COLUMNS}
    values.update({name: tuple(values[name]) for name in _LISTS})
    return Item(**values, scores={name: row[column] for name, column in names.items()})


def _score_names(schema: pa.Schema) -> dict[str, str]:
    """Metric name → column name, as written into the schema's metadata."""
    columns = [name for name in schema.names if name not in COLUMNS]
    return {name.removeprefix("score_") if name.removeprefix("score_") in COLUMNS else name: name for name in columns}


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

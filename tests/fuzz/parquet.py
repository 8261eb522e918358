"""Parquet parts with other columns than they should have: sound as files, wrong as results."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st


@dataclass(frozen=True, slots=True)
class Column:
    """Another column in the place of one."""

    file: str
    name: str
    what: str
    """A name in CHANGES."""

    def change(self, data: bytes) -> bytes:
        try:
            table = pq.read_table(io.BytesIO(data))
            changed = CHANGES[self.what](table, self.name)
        except (pa.ArrowException, KeyError, ValueError, OSError):
            return data
        sink = io.BytesIO()
        pq.write_table(changed, sink)
        return sink.getvalue()


def column_edits(file: str, data: bytes) -> st.SearchStrategy[Column]:
    """One of the file's columns, changed."""
    names = pq.read_schema(io.BytesIO(data)).names
    return st.builds(Column, st.just(file), st.sampled_from(names), st.sampled_from(sorted(CHANGES)))


def _with(value: Any) -> Callable[[pa.Table, str], pa.Table]:
    def change(table: pa.Table, name: str) -> pa.Table:
        return table.set_column(table.schema.get_field_index(name), name, pa.array([value] * len(table)))

    return change


CHANGES: dict[str, Callable[[pa.Table, str], pa.Table]] = {
    "gone": lambda table, name: table.drop_columns([name]),
    "alone": lambda table, name: table.select([name]),
    "twice": lambda table, name: table.append_column(name, table[name]),
    "renamed": lambda table, name: table.rename_columns(
        [f"x{one}" if one == name else one for one in table.column_names]
    ),
    "no rows": lambda table, _: table.slice(0, 0),
    "rows twice": lambda table, _: pa.concat_tables([table, table]),
    "one row less": lambda table, _: table.slice(1),
    "null": lambda table, name: table.set_column(
        table.schema.get_field_index(name), name, pa.nulls(len(table), table.schema.field(name).type)
    ),
    "untyped null": _with(None),
    "text": _with("x"),
    "path": _with("../../../../beside/secret.json"),
    "control": _with("\x1b[2J\u202e\x00"),
    "long": _with("a" * 200000),
    "big": _with(2**63 - 1),
    "negative": _with(-1),
    "nan": _with(float("nan")),
    "infinite": _with(float("inf")),
    "lists": _with([[1], []]),
    "struct": _with({"a": 1}),
    "bytes": _with(b"\xff\xfe"),
    "true": _with(True),
    "empty list": _with([]),
    "huge floats": _with([1e308, -1e308]),
}

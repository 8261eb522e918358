"""A row of a data set into a Doc: derived fields, content hash, cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchbench.core.errors import TaskError
from benchbench.core.ids import content_hash
from benchbench.core.types import Doc, Json
from benchbench.tasks.task import Task
from benchbench.tasks.template import Field


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
        fields: dict[str, Any] = dict(row)
        scope = fields | self._variables
        for name, field in self._fields:
            if not (keep and name in row):
                fields[name] = scope[name] = field.value(scope, number)
        cluster = None if self._cluster is None else str(self._cluster.text(scope, number)) or None
        return Doc(number, fields, content_hash(row), cluster)

    def scope(self, doc: Doc) -> Mapping[str, Any]:
        """What templates see of a document: its fields and the matrix variables."""
        return {**doc.fields, **self._variables} if self._variables else doc.fields

"""A key of a task file that is rendered per document: a constant, a column, or a template."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from jinja2 import TemplateError, UndefinedError

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.types import Json
from benchbench.tasks.sandbox import compile_template

FAILURES = (
    TemplateError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
    re.error,
)
"""What a template may raise while it runs; all of it is the template's or the document's fault."""


class Field:
    """`spec` made ready: not text → itself; a column's name → that column; else a template, compiled once."""

    __slots__ = ("_program", "column", "constant", "is_template", "where")

    def __init__(self, spec: Any, where: str, columns: Collection[str]) -> None:
        self.where = where
        """File, line and key, for error sentences."""
        self.column = spec if isinstance(spec, str) and spec in columns else None
        self.constant = None if isinstance(spec, str) else spec
        self.is_template = isinstance(spec, str) and self.column is None
        """Rendered, and not just looked up."""
        self._program = compile_template(spec, where) if self.is_template else None

    @property
    def is_expression(self) -> bool:
        """Exactly one `{{ expression }}`: its value has a type of its own."""
        return self._program is not None and self._program.is_expression

    def text(self, scope: Mapping[str, Json], doc: object) -> Any:
        """A template's text; a column's or constant's value as it is."""
        if self._program is None:
            return self._plain(scope, doc)
        try:
            return self._program.text(scope)
        except FAILURES as error:
            raise self._sentence(error, scope, doc) from error

    def value(self, scope: Mapping[str, Json], doc: object) -> Any:
        """Like `text`, but a single expression keeps the type of its value."""
        if self._program is None:
            return self._plain(scope, doc)
        try:
            value = self._program.value(scope)
            if hasattr(value, "__next__"):
                raise TypeError("the value is a generator; add `|list` or `|join`")
            return value
        except FAILURES as error:
            raise self._sentence(error, scope, doc) from error

    def _plain(self, scope: Mapping[str, Json], doc: object) -> Any:
        if self.column is None:
            return self.constant
        if self.column not in scope:
            raise TaskError(f"{self.where}: {_name(doc)} has no field {self.column!r}, although the first one has.")
        return scope[self.column]

    def _sentence(self, error: BaseException, scope: Mapping[str, Json], doc: object) -> TaskError:
        reason = str(error) or type(error).__name__
        hint = ""
        if isinstance(error, UndefinedError):
            missing = reason.split("'")[1] if "'" in reason else ""
            hint = did_you_mean(missing, [str(name) for name in scope])
            hint += f" Fields: {', '.join(sorted(map(str, scope))[:30])}."
        if isinstance(error, RecursionError):
            reason = "it calls itself without end"
        return TaskError(f"{self.where}: the template fails on {_name(doc)}: {reason.rstrip('.')}.{hint}")


def _name(doc: object) -> str:
    return f"document {doc}" if isinstance(doc, int) else str(doc)

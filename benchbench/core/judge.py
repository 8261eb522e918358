"""The seam for tasks that judge answers with code that is not ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from benchbench.core.types import RenderedDoc, Response


class Judge(Protocol):
    """Turns answers into values and values into a number; knows nothing of errors, intervals or files."""

    def values(self, rendered: RenderedDoc, responses: Sequence[Response]) -> Mapping[str, object]:
        """Column → what the responses to one doc, in request order, are worth: a number, or whatever `value` takes."""
        ...

    def prediction(self, rendered: RenderedDoc, responses: Sequence[Response]) -> str | None:
        """What the model answered, to show: index of a choice, or a text; None if the filters left nothing."""
        ...

    def value(self, column: str, values: Sequence[object]) -> float:
        """One number over the values of several docs."""
        ...

    def aggregation(self, column: str) -> str:
        """Name of what `value` does: one of `core.registry.AGGREGATIONS` if it is that, else `python:` and its name."""
        ...

    def higher_is_better(self, column: str) -> bool:
        """Whether a larger value is a better one."""
        ...

"""Metrics and filters by name: built-ins from a table, strangers' from entry points.

A plug-in metric is a function in the entry point group `benchbench.metrics`:

    def shouting(prediction: str, targets: Sequence[str], *, weight: float = 1.0) -> float | None:
        '''Share of answers in capitals.'''
        return weight * prediction.isupper()

It judges one filtered text; options of the `metric_list` entry arrive as keywords, None means that the
metric has no value for this item. The rows of a table are the mean with its interval, or any other
aggregation of item scores that the task names. A plug-in filter is a function in `benchbench.filters`,
shaped as `Filter`. Only a task that names a plug-in imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol, TypeVar, cast

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.core.registry import FILTER_GROUP, METRIC_GROUP

T = TypeVar("T")


class TextMetric(Protocol):
    """Judges one text against the right texts; of several right ones, the best counts."""

    def __call__(self, prediction: str, targets: Sequence[str], *args: Any, **kwargs: Any) -> float | None:
        """Score of the prediction, or None if the metric has no value for it."""
        ...


@dataclass(frozen=True, slots=True)
class FilterContext:
    """What a filter may know of the doc."""

    choices: tuple[str, ...] = ()
    """The doc's choices, where it has any."""


class Filter(Protocol):
    """Turns the texts of one doc (one per repeat, in order) into others, fewer or more."""

    def __call__(self, texts: Sequence[str], context: FilterContext, *args: Any, **kwargs: Any) -> list[str]:
        """The texts that go on."""
        ...


def find_metric(name: str, built_in: Mapping[str, TextMetric]) -> TextMetric:
    """The text metric of this name.

    Raises:
        TaskError: no built-in and no installed package has it.
    """
    return _find(name, built_in, METRIC_GROUP, "metric")


def find_filter(name: str, built_in: Mapping[str, Filter]) -> Filter:
    """The filter of this name.

    Raises:
        TaskError: no built-in and no installed package has it.
    """
    return _find(name, built_in, FILTER_GROUP, "filter")


def _find(name: str, built_in: Mapping[str, T], group: str, kind: str) -> T:
    if name in built_in:
        return built_in[name]
    loaded = _load(group, name)
    if loaded is None:
        raise TaskError(f"No {kind} named {name!r}.{did_you_mean(name, built_in)}")
    return cast(T, loaded)


@cache
def _load(group: str, name: str) -> object | None:
    from importlib.metadata import entry_points

    found = list(entry_points(group=group, name=name))
    return found[0].load() if found else None

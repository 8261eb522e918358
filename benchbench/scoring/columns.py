"""Which score columns a task has: its metrics, times its filters for generated text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from benchbench.core.registry import FAMILIES, Family, metric_spec
from benchbench.core.types import FilterSpec, MetricSpec, OutputType, ScoringSpec

ALWAYS: dict[Family, tuple[str, ...]] = {
    "choice": ("acc", "acc_norm", "acc_bytes", "acc_token", "bpb_gold"),
    "likelihood": ("acc", "perplexity"),
    "rolling": ("word_perplexity", "byte_perplexity", "bits_per_byte"),
    "text": (),
}
"""Computed whether the task lists them or not: they cost nothing once the responses are there."""


@dataclass(frozen=True, slots=True)
class ScoreColumn:
    """One column of item scores, and one row of results."""

    name: str
    """The metric's name; `metric,filter` where the task has several filters, as in lm-eval."""
    metric: MetricSpec
    filter: FilterSpec | None = None
    """None: the first text as it is."""


def columns(spec: ScoringSpec) -> tuple[ScoreColumn, ...]:
    """Columns of a task: listed metrics first, in their order, then those always computed."""
    filters: tuple[FilterSpec | None, ...] = spec.filters or (None,)
    several = len(filters) > 1
    listed = [
        ScoreColumn(f"{metric.name},{chosen.name}" if several and chosen is not None else metric.name, metric, chosen)
        for chosen in filters
        for metric in spec.metrics
    ]
    names = {metric.name for metric in spec.metrics}
    extra = [
        ScoreColumn(name, _default(name, spec.output_type))
        for name in ALWAYS[FAMILIES[spec.output_type]]
        if name not in names
    ]
    return (*listed, *extra)


@cache
def _default(name: str, output_type: OutputType) -> MetricSpec:
    return metric_spec(name, output_type)

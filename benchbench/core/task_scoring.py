"""How the docs of a task are scored: what a run calls, whoever brings the scoring.

Its score columns, the groups that it is averaged in, and what tells that two tasks ask the same questions.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, wraps
from typing import Protocol, TypeVar

from benchbench.core.registry import FAMILIES, Family, has_ties, metric_spec
from benchbench.core.types import (
    FilterSpec,
    Item,
    ItemScore,
    Json,
    MetricResult,
    MetricSpec,
    OutputType,
    RenderedDoc,
    Response,
    ScoringSpec,
)


@dataclass(frozen=True, slots=True)
class GroupMetric:
    """How a group averages one metric, where its definition says so for each metric."""

    metric: str
    filters: tuple[str, ...] | None = None
    """Names of the filters whose results are averaged; None: each that a member has."""
    weight_by_size: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks whose metrics are also given together."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool = True
    """Mean over documents (True, lm-eval's default) or over tasks."""
    metrics: tuple[GroupMetric, ...] | None = None
    """The only metrics that are averaged, over the tasks that have them; None: all that every task has."""
    note: str | None = None
    """What a reader of its rows should know."""

    def as_record(self) -> dict[str, Json]:
        """The group as JSON; without `metrics` where there are none, as in records of earlier versions."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class ScoredTask:
    """A task of a group, with what was found."""

    spec: ScoringSpec
    items: Sequence[Item]
    rows: Sequence[MetricResult]
    family: str | None
    """As `family_of` says."""


class TaskScoring(Protocol):
    """Scores the docs of one task. Benchbench's own is `scoring.score.StandardScoring`; a task source may bring its.

    Failed items have no score and count in no row. Raises what is wrong with the task itself (TaskError); a doc that
    cannot be scored becomes a failed item.
    """

    spec: ScoringSpec

    def score(self, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
        """Scores one doc from its responses."""
        ...

    def with_influence(self, items: Sequence[Item]) -> list[Item]:
        """All items of the task, with their influence on metrics that are no means of item scores."""
        ...

    def rows(self, items: Sequence[Item], seed: int) -> list[MetricResult]:
        """One row per metric over all items; `seed` is for bootstraps."""
        ...

    def complete(self, rows: Sequence[MetricResult]) -> ScoringSpec:
        """The spec, with the metrics that only the rows have told of."""
        ...

    def group_rows(self, group: Group, members: Mapping[str, ScoredTask]) -> list[MetricResult]:
        """Rows of a group of such tasks; `members` maps a task's name to what was found."""
        ...


def family_of(resolved: Mapping[str, object]) -> str | None:
    """The task file, where it names the source of its docs (`cluster`).

    Tasks of one file whose docs have the same source ask the same questions, in other languages.
    """
    return str(resolved["file"]) if resolved.get("cluster") and resolved.get("file") else None


def unit_names(family: str | None, clusters: Sequence[str | None]) -> tuple[Hashable | None, ...] | None:
    """What each doc shares with docs of other tasks of the family; None: with none."""
    if family is None or all(name is None for name in clusters):
        return None
    return tuple(None if name is None else (family, name) for name in clusters)


def share_units(names: Iterable[Sequence[Hashable | None] | None]) -> bool:
    """Is a doc of one task the same question as one of another? `names` holds those of each task's docs."""
    of_tasks = [set(units or ()) - {None} for units in names]
    return sum(map(len, of_tasks)) > len(set().union(*of_tasks))


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


MOST_KNOWN = 1000
T = TypeVar("T")


def once_per_spec(make: Callable[[ScoringSpec], T]) -> Callable[[ScoringSpec], T]:
    """`make`, which works out for a spec what every doc asks for, called once for each spec."""
    known: dict[int, tuple[ScoringSpec, T]] = {}
    """By the spec's id, with the spec itself, so that its id stands for nothing else."""

    @wraps(make)
    def found(spec: ScoringSpec) -> T:
        if (kept := known.get(id(spec))) is None:
            if len(known) >= MOST_KNOWN:
                known.clear()
            kept = known[id(spec)] = spec, make(spec)
        return kept[1]

    return found


@once_per_spec
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
    is_first = any(metric.kwargs.get("ties") == "first" for metric in spec.metrics)
    extra = [
        ScoreColumn(name, _default(name, spec.output_type, ties_first=is_first and has_ties(name)))
        for name in ALWAYS[FAMILIES[spec.output_type]]
        if name not in names
    ]
    return (*listed, *extra)


@cache
def _default(name: str, output_type: OutputType, *, ties_first: bool) -> MetricSpec:
    return metric_spec(name, output_type, kwargs={"ties": "first"} if ties_first else None)

"""How the docs of a task are scored: what a run calls, whoever brings the scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from benchbench.core.types import Item, ItemScore, Json, MetricResult, RenderedDoc, Response, ScoringSpec


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
    """As `core.parallel.family_of` says."""


class TaskScoring(Protocol):
    """Scores the docs of one task. Benchbench's own is `scoring.standard.StandardScoring`; a task source may bring its.

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

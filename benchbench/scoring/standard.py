"""Benchbench's own scoring of a task, behind the methods that a run calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchbench.core.task_scoring import Group, ScoredTask
from benchbench.core.types import Item, ItemScore, MetricResult, RenderedDoc, Response, ScoringSpec
from benchbench.scoring.aggregation import aggregate, aggregate_group
from benchbench.scoring.estimates import with_influence
from benchbench.scoring.recorded import correlations
from benchbench.scoring.score import score_doc


class StandardScoring:
    """See `core.task_scoring.TaskScoring`."""

    def __init__(self, spec: ScoringSpec) -> None:
        self.spec = spec

    def score(self, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
        """See TaskScoring."""
        return score_doc(self.spec, rendered, responses)

    def with_influence(self, items: Sequence[Item]) -> list[Item]:
        """See TaskScoring."""
        return with_influence(self.spec, items)

    def rows(self, items: Sequence[Item], seed: int) -> list[MetricResult]:
        """See TaskScoring."""
        return aggregate(self.spec, items, seed=seed)

    def complete(self, rows: Sequence[MetricResult]) -> ScoringSpec:
        """See TaskScoring: every metric is known beforehand."""
        return self.spec

    def group_rows(self, group: Group, members: Mapping[str, ScoredTask]) -> list[MetricResult]:
        """See TaskScoring: each metric that every member has, with what members share counted once."""
        rows = {name: member.rows for name, member in members.items()}
        shared = correlations([*members.values()])
        return aggregate_group(group.name, rows, weight_by_size=group.weight_by_size, correlations=shared)

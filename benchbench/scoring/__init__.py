"""From responses to item scores, and from items to rows with a standard error and an interval.

Reading order: `score.py` (one doc), the families `choice.py`, `likelihood.py`, `rolling.py`, `text.py`
with `filters.py`, then `aggregation.py` (many items). These doors import the rest only when called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchbench.core.types import Item, ItemScore, MetricResult, RenderedDoc, Response, ScoringSpec

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def score_doc(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    """Judge the responses to one doc. See `benchbench.scoring.score.score_doc`."""
    from benchbench.scoring.score import score_doc as run

    return run(spec, rendered, responses)


def aggregate(spec: ScoringSpec, items: Sequence[Item], seed: int = 1234) -> list[MetricResult]:
    """One row per metric over all items. See `benchbench.scoring.aggregation.aggregate`."""
    from benchbench.scoring.aggregation import aggregate as run

    return run(spec, items, seed)


def with_influence(spec: ScoringSpec, items: Sequence[Item]) -> list[Item]:
    """The items with influence values of corpus metrics. See `benchbench.scoring.estimates.with_influence`."""
    from benchbench.scoring.estimates import with_influence as run

    return run(spec, items)


def aggregate_group(
    group: str,
    members: Mapping[str, Sequence[MetricResult]],
    *,
    weight_by_size: bool,
    correlations: Mapping[str, ArrayLike] | None = None,
) -> list[MetricResult]:
    """One row per metric over the member tasks. See `benchbench.scoring.aggregation.aggregate_group`."""
    from benchbench.scoring.aggregation import aggregate_group as run

    return run(group, members, weight_by_size=weight_by_size, correlations=correlations)


def count_outcomes(spec: ScoringSpec, items: Sequence[Item]) -> dict[str, int]:
    """How many items were right, wrong, unanswered, … See `benchbench.scoring.score.count_outcomes`."""
    from benchbench.scoring.score import count_outcomes as run

    return run(spec, items)

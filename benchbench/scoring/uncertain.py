"""The standard error and the interval of each kind of score: which shape it has, what a doc weighs, when to refuse."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial

from numpy.typing import ArrayLike

from benchbench.scoring.translation import CorpusScore
from benchbench.stats.influence import Estimate, mean
from benchbench.stats.intervals import Uncertainty, uncertainty
from benchbench.stats.proportion import proportion
from benchbench.stats.scores import Shape, bounded, counted, positive, score_uncertainty, symmetric

Clusters = Sequence[Hashable | None]
FEWEST_MATCHES = 10
"""Four-grams below which BLEU hangs on so few that its logarithm has no interval: measured, 3 matches hold 78 %."""
CORPUS_RANGE = 100.0


def mean_uncertainty(
    values: Sequence[float], clusters: Clusters, bounds: tuple[float, float] | None
) -> tuple[Uncertainty, str]:
    """Of a mean of item scores, and how it was made: `wilson`, `clt` or `cluster`.

    Args:
        values: item scores.
        clusters: of each item.
        bounds: smallest and largest possible score, which may be infinite; None where nothing is known.
    """
    estimate, right_or_wrong = mean(values), set(values) <= {0.0, 1.0}
    known = score_uncertainty(estimate, clusters, shape_of((0.0, 1.0) if right_or_wrong else bounds))
    if known.n_clusters is not None or not right_or_wrong:
        return known, "clt" if known.n_clusters is None else "cluster"
    return known._replace(interval=proportion(int(sum(values)), len(values))), "wilson"


def shape_of(bounds: tuple[float, float] | None) -> Shape:
    """How the scatter of a score with these bounds moves with its value."""
    if bounds is None or bounds[0] == -float("inf"):
        return symmetric
    low, high = bounds
    if high < float("inf"):
        return partial(bounded, low=low, high=high)
    return positive if low == 0 else symmetric


def ratio_uncertainty(estimate: Estimate, clusters: Clusters, units: ArrayLike) -> Uncertainty:
    """Of nats or bits per word or byte, each doc weighing as many as it has."""
    return score_uncertainty(estimate, clusters, positive, shares=units, what="text")


def corpus_uncertainty(metric: str, found: CorpusScore, clusters: Clusters) -> Uncertainty:
    """Of BLEU, chrF or TER, a segment weighing as much as its target is long."""
    if found.matches is not None and found.matches < FEWEST_MATCHES:
        plain = uncertainty(found.estimate, clusters)
        return plain._replace(interval=None, reason=f"no interval: only {found.matches} matching four-grams")
    shape: Shape = (
        partial(counted, scale=CORPUS_RANGE) if metric == "ter" else partial(bounded, low=0.0, high=CORPUS_RANGE)
    )
    return score_uncertainty(found.estimate, clusters, shape, shares=found.lengths, what="text")

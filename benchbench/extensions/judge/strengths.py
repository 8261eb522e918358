"""Comparisons to strengths and ranks, with the questions as clusters."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchbench.extensions.judge.pairs import Comparison
from benchbench.stats.bradley_terry import Strengths, bradley_terry
from benchbench.stats.ranks import Covariance, Ranks, rank_intervals
from benchbench.stats.testing import ALPHA

SEED = 1234
DRAWS = 4999
SURE = 0.005
"""Chance at which an order counts as decided while matches are chosen: each look is one more chance to be wrong, and a
pair that is passed over has no later comparison to mend it."""


def strengths_of(found: Sequence[Comparison], models: int) -> Strengths | None:
    """Bradley-Terry strengths of all comparisons that can be read; None if there is none.

    A model that met nobody has the strength of the middle and no interval of its own worth.
    """
    known = [(one, one.outcome) for one in found if one.outcome is not None]
    if not known:
        return None
    return bradley_terry(
        [one.match.first for one, _ in known],
        [one.match.second for one, _ in known],
        [outcome for _, outcome in known],
        models=models,
        clusters=[one.match.doc_id for one, _ in known],
    )


def ranks_of(fitted: Strengths, alpha: float = ALPHA) -> Ranks | None:
    """Simultaneous rank intervals, at 1 − `alpha`; None where the strengths' errors are not known."""
    m = fitted.models
    covariance = fitted.covariance[:m, :m]
    if not np.isfinite(covariance).all() or not math.isfinite(float(fitted.values.sum())):
        return None
    known = Covariance(covariance, fitted.clusters, max(1, fitted.clusters - 1))
    return rank_intervals(fitted.values, known, seed=SEED, draws=DRAWS, alpha=alpha)

"""What a handful of docs without variance may hide: the variance of what was not seen.

Where no doc differs between two models, the sample variance is 0, and that is no certainty: with no event in n docs the
95 % bound on the share of docs that differ is about 3/n. Bonett & Price's interval for right and wrong adds one doc to
each side (`difference.matched_pairs`); this does the same for any score: one more doc for each side that differs as
much as the docs seen to differ do, or by the metric's whole range where none is.
Source: Bonett & Price, J. Educ. Behav. Stat. 37 (2012); the rule of three: Hanley & Lippman-Hand, JAMA 249 (1983).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats

ROUNDING = 1e-12
"""Differences below this share of the scores' size are rounding, and no evidence."""


def unseen_variance(
    differences: ArrayLike,
    scale: float,
    *,
    size: float | None = None,
    units: int | None = None,
    whole_range: float = 0.0,
) -> float:
    """What to add to the variance of a mean difference, in squared units of the score.

    Args:
        differences: shape (units,): of each independent doc, or of each cluster of docs its mean difference times the
            cluster's share of an average cluster (sum divided by the mean number of docs in a cluster).
        scale: the metric's range, or the size of its values where it has none: how much one doc can differ at most.
        size: of the scores, against which rounding is judged; `scale` where None.
        units: how many independent units one difference rests on, where `differences` holds those of several.
        whole_range: how many docs that differ by the whole range are counted among those seen to differ.
    """
    x = np.asarray(differences, dtype=np.float64)
    least = ROUNDING * (scale if size is None else size)
    typical = float(typical_differences(x.reshape(1, -1), np.array([scale]), least, whole_range)[0])
    return float(_variance(typical, x.size if units is None else units))


def unseen_variances(differences: Floats, scales: Floats, least: Floats | float, whole_range: Floats | float) -> Floats:
    """The same for many pairs at once.

    Args:
        differences: shape (pairs, units).
        scales: shape (pairs,).
        least: difference above which a unit counts as one that differs; of all pairs, or of each.
        whole_range: as above, of all pairs or of each.
    """
    return _variance(typical_differences(differences, scales, least, whole_range), differences.shape[1])


def _variance(typical: Floats | float, units: int) -> Floats:
    return np.asarray(2 * (typical / (units + 2)) ** 2)


def typical_differences(
    differences: Floats, scales: Floats, least: Floats | float, whole_range: Floats | float
) -> Floats:
    """How much a unit that differs differs: root mean square, shape (pairs,); the whole range where none does."""
    moved = np.abs(differences) > np.reshape(least, (-1, 1))
    count = moved.sum(axis=1) + whole_range
    squares = np.where(moved, differences, 0.0) ** 2
    total = squares.sum(axis=1) + whole_range * scales**2
    return np.asarray(np.sqrt(np.where(count > 0, total / np.maximum(count, 1e-300), scales**2)))

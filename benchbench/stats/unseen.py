"""What a handful of docs without variance may hide: the variance of what was not seen.

Where no doc differs between two models, the sample variance is 0, and that is no certainty: with no event in n docs the
95 % bound on the share of docs that differ is about 3/n. Bonett & Price's interval for right and wrong adds one doc to
each side (`difference.matched_pairs`); this does the same for any score: one more doc for each side that differs as
much as the docs seen to differ do, or by the metric's whole range where none is.
Source: Bonett & Price, J. Educ. Behav. Stat. 37 (2012); the rule of three: Hanley & Lippman-Hand, JAMA 249 (1983).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 1e-12
"""Differences below this share of the scores' size are rounding, and no evidence."""


def unseen_variance(
    differences: ArrayLike, scale: float, *, size: float | None = None, units: int | None = None
) -> float:
    """What to add to the variance of a mean difference, in squared units of the score.

    Args:
        differences: shape (units,): of each independent doc, or of each cluster of docs its mean difference times the
            cluster's share of an average cluster (sum divided by the mean number of docs in a cluster).
        scale: the metric's range, or the size of its values where it has none: how much one doc can differ at most.
        size: of the scores, against which rounding is judged; `scale` where None.
        units: how many independent units one difference rests on, where `differences` holds those of several.
    """
    x = np.asarray(differences, dtype=np.float64)
    moved = x[np.abs(x) > ROUNDING * (scale if size is None else size)]
    typical = scale if moved.size == 0 else math.sqrt(float(moved @ moved) / moved.size)
    return 2 * (typical / ((x.size if units is None else units) + 2)) ** 2

"""Area under the ROC curve with DeLong's covariance.

Source: DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves", Biometrics 44 (1988). Replaces BenCzechMark's duel, whose released
2024 script draws thresholds independently and finds far too many winners.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats


class Auroc(NamedTuple):
    """Areas of several scores on the same items."""

    values: Floats
    """Shape (models,)."""
    covariance: Floats
    """Shape (models, models), of the areas."""


class AurocDifference(NamedTuple):
    """Two-sided test that two areas are equal."""

    difference: float
    stderr: float
    z: float
    p: float


def auroc(labels: ArrayLike, scores: ArrayLike) -> Auroc:
    """Areas and their covariance.

    Args:
        labels: shape (items,), 1 for positives and 0 for negatives; at least two of each.
        scores: shape (models, items), higher means more positive; ties count one half.
    """
    y = np.asarray(labels).astype(bool)
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    m, n = int(y.sum()), int((~y).sum())
    if m < 2 or n < 2:
        raise ValueError(f"DeLong's covariance needs two positives and two negatives, not {m} and {n}")
    placements = [_placements(row[y], row[~y]) for row in table]
    v10 = np.array([p[0] for p in placements])
    v01 = np.array([p[1] for p in placements])
    covariance = np.atleast_2d(np.cov(v10)) / m + np.atleast_2d(np.cov(v01)) / n
    return Auroc(v10.mean(axis=1), covariance)


def compare(found: Auroc, a: int = 0, b: int = 1) -> AurocDifference:
    """DeLong's z test of area a against area b. Identical scores: difference 0, p 1."""
    from scipy.special import ndtr

    c = found.covariance
    difference = float(found.values[a] - found.values[b])
    stderr = math.sqrt(max(0.0, float(c[a, a] + c[b, b] - 2 * c[a, b])))
    if stderr == 0:
        return AurocDifference(difference, 0.0, 0.0, 1.0 if difference == 0 else 0.0)
    z = difference / stderr
    return AurocDifference(difference, stderr, z, float(2 * ndtr(-abs(z))))


def _placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative; ties one half."""
    low, high = np.sort(negatives), np.sort(positives)
    below = np.searchsorted(low, positives, "left") + np.searchsorted(low, positives, "right")
    above = 2 * high.size - np.searchsorted(high, negatives, "left") - np.searchsorted(high, negatives, "right")
    return below / (2 * low.size), above / (2 * high.size)

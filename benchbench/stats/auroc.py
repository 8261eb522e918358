"""Area under the ROC curve with DeLong's covariance.

Source: DeLong, DeLong & Clarke-Pearson, "Comparing the areas under two or more correlated receiver
operating characteristic curves", Biometrics 44 (1988). Replaces BenCzechMark's duel, whose released
2024 script draws thresholds independently and finds far too many winners.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Estimate, Floats


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


def macro_auroc(gold: ArrayLike, scores: ArrayLike) -> Estimate:
    """Mean over the classes of the area of each against the rest, with one influence value per item.

    An item's influence is how far its placement lies from the class's area, scaled so that the standard error
    from these values (sd/√n, ddof 1) is DeLong's for two classes.

    Args:
        gold: shape (items,), the right class of each.
        scores: shape (items, classes), higher means more likely.

    Raises:
        ValueError: a class is right for fewer than two items, or for all but one.
    """
    y, table = np.asarray(gold), np.asarray(scores, dtype=np.float64)
    parts = [_one_vs_rest(y == k, table[:, k], k) for k in range(table.shape[1])]
    return Estimate(float(np.mean([p.value for p in parts])), np.mean([p.influence for p in parts], axis=0))


def _one_vs_rest(positive: NDArray[np.bool_], scores: Floats, name: int) -> Estimate:
    total, m = positive.size, int(positive.sum())
    n = total - m
    if m < 2 or n < 2:
        raise ValueError(f"choice {name} is right for {m} of {total} docs: an area needs two of each")
    v10, v01 = _placements(scores[positive], scores[~positive])
    value = float(v10.mean())
    influence = np.empty(total)
    for mask, placed, size in ((positive, v10, m), (~positive, v01, n)):
        influence[mask] = (placed - value) * total / size * np.sqrt(size / (size - 1) * (total - 1) / total)
    return Estimate(value, influence)


def _placements(positives: Floats, negatives: Floats) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative; ties one half."""
    low, high = np.sort(negatives), np.sort(positives)
    below = np.searchsorted(low, positives, "left") + np.searchsorted(low, positives, "right")
    above = 2 * high.size - np.searchsorted(high, negatives, "left") - np.searchsorted(high, negatives, "right")
    return below / (2 * low.size), above / (2 * high.size)

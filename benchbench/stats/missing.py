"""What docs that failed could have done to a score or to a difference: its range from as bad to as good as possible.

No model of why they failed is needed. Source: Manski, "Nonparametric bounds on treatment effects", American Economic
Review 80 (1990).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.units import Spread, alike, freed, skewness, unseen_of_many


@dataclass(frozen=True, slots=True)
class Reach:
    """A value of the docs that have one, and where it could lie if the others had one, too."""

    value: float
    low: float
    """If all docs that failed had been as bad as possible for it."""
    high: float
    missing: int
    """Docs that failed."""

    @property
    def sign_may_change(self) -> bool:
        """A difference could be of the other sign, or none, or one where there is none."""
        return len({np.sign(end) for end in (self.value, self.low, self.high)}) > 1


def reach_of_mean(scores: ArrayLike, bounds: tuple[float, float]) -> Reach:
    """The mean of item scores, shape (items,), NaN where an item failed, and its range over all of them.

    Args:
        bounds: (lowest, highest) score that an item can have.

    Raises:
        ValueError: no item has a score, or one lies outside the bounds.
    """
    x = _within(scores, bounds)
    known = x[~np.isnan(x)]
    if known.size == 0:
        raise ValueError("no item has a score: there is nothing to bound")
    low, high = (np.where(np.isnan(x), end, x) for end in bounds)
    return Reach(_mean(known), _mean(low), _mean(high), x.size - known.size)


def reach_of_difference(a: ArrayLike, b: ArrayLike, bounds: tuple[float, float]) -> Reach:
    """b − a on the items that both have, and its range over those that failed on one side, too.

    Items that failed on both sides are left out: they tell nothing of either.

    Args:
        a, b: item scores, shape (items,), the same items in the same order, NaN where an item failed.
        bounds: (lowest, highest) score that an item can have.

    Raises:
        ValueError: different items, no item with both scores, or a score outside the bounds.
    """
    x, y = _within(a, bounds), _within(b, bounds)
    if x.size != y.size:
        raise ValueError(f"pairs need the same items: {x.size} against {y.size}")
    tried = ~(np.isnan(x) & np.isnan(y))
    x, y = x[tried], y[tried]
    both = ~(np.isnan(x) | np.isnan(y))
    if not both.any():
        raise ValueError("no item has a score on both sides: there is no difference to bound")
    low, high = bounds
    worst = np.where(np.isnan(y), low, y) - np.where(np.isnan(x), high, x)
    best = np.where(np.isnan(y), high, y) - np.where(np.isnan(x), low, x)
    return Reach(_mean((y - x)[both]), _mean(worst), _mean(best), int((~both).sum()))


def _mean(x: Floats) -> float:
    return math.fsum(x) / x.size


def _within(scores: ArrayLike, bounds: tuple[float, float]) -> Floats:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or not bounds[0] < bounds[1]:
        raise ValueError(f"scores are a vector and bounds rise, not shape {x.shape} and {bounds}")
    outside = x[(x < bounds[0]) | (x > bounds[1])]
    if outside.size:
        raise ValueError(f"a score of {outside[0]:g} lies outside the bounds {bounds[0]:g} to {bounds[1]:g}")
    return x


def spread_of_gaps(pulls: Floats, weights: Floats, scales: Floats, *, skewed: bool = True) -> Spread:
    """How sure the differences of all pairs are, where units are many and their weights known.

    Args:
        pulls: shape (models, units): the units' pulls on each model's score.
        weights: shape (units,), mean 1.
        scales: shape (pairs,): the metric's range.
        skewed: False leaves the skewness at 0, which is faster.
    """
    n = pulls.shape[1]
    squares = squares_of_gaps(pulls)
    equal = alike(squares, fourths_of_gaps(pulls), n)
    plain = squares / (n * (n - 1))
    jackknife = plain if np.ptp(weights) == 0 else squares_of_gaps(freed(pulls, weights)) / (n * (n - 1))
    unseen = unseen_of_many(squares, equal, n, scales)
    return Spread(
        variance=plain,
        degrees=np.asarray(weights.sum() ** 2 / np.square(weights).sum() - 1),
        extra=unseen + np.maximum(0.0, jackknife - plain),
        skewness=skewness(squares, cubes_of_gaps(pulls), unseen, n) if skewed else np.zeros_like(plain),
        alike=equal,
    )


@lru_cache(maxsize=8)
def pairs_of(models: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of all pairs of so many models, shape (pairs,) each."""
    return np.triu_indices(models, 1)


def squares_of_gaps(x: Floats) -> Floats:
    """Σ (x_i − x_j)² over the units, of all pairs; `x` is models × units."""
    first, second = pairs_of(x.shape[0])
    own = np.square(x).sum(axis=1)
    return np.asarray(np.maximum(0.0, own[first] + own[second] - 2 * (x @ x.T)[first, second]))


def cubes_of_gaps(x: Floats) -> Floats:
    """Σ (x_i − x_j)³."""
    first, second = pairs_of(x.shape[0])
    square = np.square(x)
    own, mixed = (square * x).sum(axis=1), square @ x.T
    return np.asarray(own[first] - own[second] - 3 * (mixed[first, second] - mixed[second, first]))


def fourths_of_gaps(x: Floats) -> Floats:
    """Σ (x_i − x_j)⁴."""
    first, second = pairs_of(x.shape[0])
    square = np.square(x)
    own = np.square(square).sum(axis=1)
    sides, even = (square * x) @ x.T, square @ square.T
    mixed = 6 * even - 4 * (sides + sides.T)
    return np.asarray(np.maximum(0.0, own[first] + own[second] + mixed[first, second]))

"""Differences of all pairs of many models at once, from products of the models' powers: `units.spread` of each.

Rows and columns are models; results are one number for each pair above the diagonal, in the order of `pairs_of`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.units import Spread, alike, freed, skewness, unseen_of_many


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

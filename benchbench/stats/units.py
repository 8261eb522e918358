"""What independent units say of a difference: docs, or clusters of docs, each with its pull and its weight.

A row is a pair of models. Its difference is off the truth by about the mean of the units' pulls; a unit's weight is its
share of the whole: a cluster's docs, a doc's bytes. From these follow the standard error, and what it leaves out:
- what few units have not shown (`unseen`), and the skewness of those seen (`skew`);
- that one large unit pulls the difference towards itself, so that its own pull looks small. Pulls divided by 1 − share
  undo that, with as many degrees of freedom as units of equal weight would have that are worth as much, less one.
Where there are fewer than 40 units' worth, signs are flipped as well (`evidence.Flips`).
Source: Miller, "Adding Error Bars to Evals", arXiv 2411.00640; the jackknife of clusters, "CR3": Cameron & Miller, "A
Practitioner's Guide to Cluster-Robust Inference", J. Human Resources 50 (2015); units' worth: Kish, "Survey
Sampling" (1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import ROUNDING, Floats, surely_off, tail, typical_differences, unseen_variances

FEW_UNITS = 40
"""Below this many units' worth, Student's t alone is not trusted."""
FEW_ALIKE = 5
"""Below this many units' worth that differ, how many do not is counted."""
NEGLIGIBLE = 1e-6
"""A unit that moves by less than this share of the metric's range counts as one that does not differ."""
SCATTER = math.pi**2 / 24
"""Variance of the logarithm of √(x² + y²) for two independent normal values."""
NO_SCATTER = 7.0
"""Medians that a normal value reaches once in 400,000: a unit that pulls harder is a large one."""


@dataclass(frozen=True, slots=True)
class Units:
    """Differences of pairs of models, and the units they come from."""

    values: Floats
    """Shape (pairs,)."""
    pulls: Floats
    """Shape (pairs, units); rows sum to 0."""
    weights: Floats
    """Shape (pairs, units), or (1, units) where all pairs share them; positive, mean 1."""
    scales: Floats
    """Shape (pairs,): the metric's range, or the size of its values."""
    least: Floats
    """Shape (pairs,): what a unit has to move to count as one that differs."""
    known: bool = True
    """The weights are known, not read from the pulls."""
    right_or_wrong: bool = False
    """The docs are."""

    @property
    def count(self) -> int:
        """Units."""
        return int(self.pulls.shape[1])

    @property
    def sums(self) -> Floats:
        """Shape (pairs, units): what each unit adds to the difference; the mean of a row is its value."""
        return np.asarray(self.pulls + self.values[:, None] * self.weights)

    @property
    def worth(self) -> Floats:
        """Shape (pairs,) or (1,): units of equal weight that would be worth as much, (Σw)²/Σw²."""
        return np.asarray(self.weights.sum(axis=1) ** 2 / np.square(self.weights).sum(axis=1))

    @property
    def are_few(self) -> NDArray[np.bool_]:
        """Shape (pairs,): signs are to be flipped as well."""
        return np.broadcast_to(self.worth < FEW_UNITS - 1e-9, self.values.shape)

    @property
    def moves(self) -> Floats:
        """Shape (pairs, units): how far each unit is from where most are."""
        middle = np.median(self.sums / self.weights, axis=1, keepdims=True)
        return np.asarray(self.sums - middle * self.weights)

    @property
    def still(self) -> Floats:
        """Shape (pairs,): share of units that do not differ, or that differ as most do; 0 where none, 1 where all."""
        like_most, equal = (
            (np.abs(x) <= self.least[:, None]).sum(axis=1) for x in (self.moves, self.sums)
        )  # the middle one is like itself
        return np.asarray(np.maximum(np.maximum(0, like_most - 1) / (self.count - 1), equal / self.count))

    @property
    def one_more(self) -> Floats:
        """Shape (pairs,): how far one more unit that differs may move a difference.

        It differs as much as those that do, one of the whole range among them, or as one does that is picked in
        proportion to its share of the variance: a doc of a rare class.
        """
        squares, fourths = (np.asarray((self.moves**power).sum(axis=1)) for power in (2, 4))
        large = np.sqrt(np.divide(fourths, squares, out=np.zeros_like(squares), where=squares > 0))
        return np.asarray(np.maximum(self.typical(1.0), large) / (self.count + 2))

    def typical(self, whole_range: Floats | float = 0.0) -> Floats:
        """Shape (pairs,): how much a unit that differs differs, `whole_range` units of the whole range among them."""
        return typical_differences(self.moves, self.scales, self.least, whole_range)


@dataclass(frozen=True, slots=True)
class Spread:
    """How sure the differences are; shape (pairs,) each, or one number for all."""

    variance: Floats
    """Of the difference, as usual: C/(C − 1) · Σ of squared sums of the clusters' influence / n²."""
    degrees: Floats
    extra: Floats
    """Variance that tests and intervals count in beside."""
    skewness: Floats
    """Of the estimate: sample skewness of the units over √units."""
    alike: Floats
    """Units of equal pull that would have the same kurtosis, (Σx²)²/Σx⁴: a third of them where they are normal."""

    def p_two_sided(self, values: Floats) -> Floats:
        """Two-sided p of "no difference", shape (pairs,)."""
        error = np.sqrt(self.variance + self.extra)
        t = np.divide(values, error, out=np.zeros_like(error), where=error > 0)
        return np.asarray(np.minimum(1.0, 2 * tail(surely_off(t, self.skewness), self.degrees)))


def units_of_means(gaps: Floats, which: NDArray[np.intp] | None, scales: Floats, sizes: Floats) -> Units:
    """Units of pairs of means of item scores.

    Args:
        gaps: shape (pairs, docs): differences of the docs' scores.
        which: shape (docs,): the docs' clusters.
        scales, sizes: shape (pairs,): the metric's range, and the size of the scores.
    """
    values = gaps.mean(axis=1)
    weights = gather(np.ones((1, gaps.shape[1])), which)
    pulls = gather(without_rounding(gaps - values[:, None], sizes[:, None]), which)
    return Units(values, pulls, weights, scales, least_moves(scales, sizes))


def units_of_estimates(
    influences: tuple[Floats, Floats],
    values: Floats,
    which: NDArray[np.intp] | None,
    scales: Floats,
    weights: ArrayLike | None = None,
) -> Units:
    """Units of pairs of corpus metrics.

    Args:
        influences: of the first and of the second model, shape (pairs, docs) each, or (1, docs).
        values: shape (pairs,): second minus first.
        which: shape (docs,): the docs' clusters.
        scales: shape (pairs,).
        weights: shape (docs,), positive; None: read from the influences.
    """
    first, second = (gather(psi, which) for psi in influences)
    sizes = np.maximum(np.abs(first).max(axis=1), np.abs(second).max(axis=1))
    pulls = without_rounding(second - first, sizes[:, None])
    if weights is None:
        shares = read_weights(first, second)
    else:
        given = np.maximum(np.asarray(weights, dtype=np.float64), 1e-9)
        shares = gather(given[None, :] / given.mean(), which)
    return Units(
        without_rounding(values, sizes + scales), pulls, shares, scales, least_moves(scales, sizes), weights is not None
    )


def without_rounding(differences: Floats, sizes: Floats | float) -> Floats:
    """The differences, 0 for those that are rounding of scores of these sizes."""
    return np.asarray(np.where(np.abs(differences) > ROUNDING * np.asarray(sizes), differences, 0.0))


def size_of(*scores: Floats) -> float:
    """The largest score, sign aside."""
    return max(float(np.abs(x).max()) for x in scores)


def default_scale(*scores: Floats) -> float:
    """The range of a metric that is not known: 1 where all scores lie in [0, 1], else their size."""
    inside = all(bool(((x >= 0) & (x <= 1)).all()) for x in scores)
    return 1.0 if inside else size_of(*scores)


def gather(values: Floats, which: NDArray[np.intp] | None) -> Floats:
    """Sums per cluster over the mean number of docs in one: shape (rows, docs) to (rows, units)."""
    if which is None:
        return values
    count = int(which.max()) + 1
    sums = np.stack([np.bincount(which, weights=row, minlength=count) for row in values])
    return np.asarray(sums * (count / which.size), dtype=np.float64)


def least_moves(scales: Floats, sizes: Floats) -> Floats:
    """What a unit has to move to count as one that differs, given the metric's range and the scores' size."""
    return np.asarray(np.maximum(NEGLIGIBLE * scales, ROUNDING * sizes))


def read_weights(first: Floats, second: Floats) -> Floats:
    """Weights of units of which only the pulls on two models' scores are known, shape (pairs, units).

    Long docs pull hard, so the two pulls of a unit tell of its length, but they scatter as well. Their logarithms are
    therefore shrunk towards each other by the share of their variance that scatter explains (empirical Bayes: Efron
    & Morris, JASA 68, 1973), so that units that look alike get equal weights; those that pull so hard that scatter does
    not explain it keep their own. A unit with the share h of the whole shows a pull that is smaller by about 1 − 2h,
    which is undone.
    One unit with most of the whole cannot be seen by its pull: there, only weights that are given help.
    """
    pulls = np.hypot(first, second)
    middle = np.median(pulls, axis=1, keepdims=True)
    middle = np.where(middle > 0, middle, pulls.mean(axis=1, keepdims=True))
    sizes = np.log(np.maximum(np.divide(pulls, middle, out=np.ones_like(pulls), where=middle > 0), 0.01))
    spread = sizes.var(axis=1, ddof=1, keepdims=True)
    kept = np.maximum(0.0, spread - SCATTER) / np.maximum(spread, SCATTER)
    shrunk = kept * (sizes - sizes.mean(axis=1, keepdims=True))
    weights = np.exp(np.where(sizes > math.log(NO_SCATTER), np.maximum(shrunk, sizes), shrunk))
    weights /= np.maximum(0.1, 1 - 2 * weights / weights.sum(axis=1, keepdims=True))
    return np.asarray(weights / weights.mean(axis=1, keepdims=True))


def spread(units: Units, *, flipped: bool = True) -> Spread:
    """How sure the differences are.

    Where the units are few, their weights known and their signs are flipped beside, flipping takes care of unequal
    weights; `flipped` False says that it is not done.
    """
    n = units.count
    squares, cubes, fourths = (np.asarray((units.pulls**power).sum(axis=1)) for power in (2, 3, 4))
    plain = squares / (n * (n - 1))
    rely = units.are_few & units.known & flipped
    jackknife = np.square(freed(units.pulls, units.weights)).sum(axis=1) / (n * (n - 1))
    equal, worth = alike(squares, fourths, n), np.maximum(units.worth - 1, 0.3)
    unseen = unseen_of_many(squares, equal, n, units.scales)
    hidden = (equal < FEW_ALIKE) | (n < FEW_UNITS)
    if hidden.any():
        unseen = np.where(hidden, unseen_of_few(units), unseen)
    least = worth if units.known else np.minimum(worth, degrees_of_variance(equal, n))
    return Spread(
        variance=plain,
        degrees=np.where(rely, n - 1.0, least),
        extra=unseen + np.where(rely, 0.0, np.maximum(0.0, jackknife - plain)),
        skewness=skewness(squares, cubes, unseen, n),
        alike=equal,
    )


def freed(pulls: Floats, weights: Floats) -> Floats:
    """Pulls as they would be if no unit pulled the whole towards itself; unchanged where weights are equal."""
    n = pulls.shape[1]
    return np.asarray(pulls * ((1 - 1 / n) / np.maximum(1e-3, 1 - weights / n)))


def skewness(squares: Floats, cubes: Floats, unseen: Floats, n: int) -> Floats:
    """Sample skewness of `n` units over √n, from the sums of their squared and cubed pulls; 0 below three.

    G₁ times 1 + 3/n: few values that are skewed show too little of it (ten exponential ones 1.2 on average, not 2).
    Where the `unseen` variance is larger than theirs, there is little left of it.
    """
    if n < 3:
        return np.zeros_like(squares)
    plain = np.divide(cubes * math.sqrt(n), squares**1.5, out=np.zeros_like(squares), where=squares > 0)
    left = np.divide(squares / (n * (n - 1)), unseen, out=np.ones_like(squares), where=unseen > 0)
    return np.asarray(plain * (math.sqrt(n - 1) / (n - 2) * (1 + 3 / n)) * np.minimum(1.0, left) ** 1.5)


def unseen_of_few(units: Units) -> Floats:
    """Variance of what few units, or few that differ, have not shown.

    The units that do not differ speak for differences that are rare and large, so their share of a unit of the whole
    range is counted among those that differ.
    """
    return unseen_variances(units.moves, units.scales, units.least, units.still)


def unseen_of_many(squares: Floats, equal: Floats, n: int, scales: Floats) -> Floats:
    """The same of more units, from the sums of their squared pulls and how many units are `alike`.

    One more of them on each side adds 2/k of the variance; normal values (k = n/3) have none to add.
    """
    more = squares / (n * (n - 1)) * np.maximum(0.0, 2 / equal - 6 / n)
    still = squares <= n * np.square(NEGLIGIBLE * scales)
    return np.asarray(np.where(still, 2 * np.square(scales / (n + 2)), more))


def alike(squares: Floats, fourths: Floats, n: int) -> Floats:
    """`Spread.alike` from sums of squared and fourth powers of the pulls; `n` where there are none."""
    found = np.divide(np.square(squares), fourths, out=np.full_like(squares, n), where=fourths > 0)
    return np.asarray(np.clip(found, 1.0, n))


def degrees_of_variance(equal: Floats, n: int) -> Floats:
    """Degrees of freedom of the variance of `n` values of kurtosis n/`equal`: 2n/(kurtosis − 1), n where normal.

    Source: Box & Andersen, JRSS B 17 (1955).
    """
    return np.asarray(2 * n * equal / np.maximum(n - equal, 1e-9))


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

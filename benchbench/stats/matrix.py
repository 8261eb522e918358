"""All pairs of many models at once: the same differences and p-values as `duel`, in arrays."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.evidence import flipped_p
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import cluster_index
from benchbench.stats.testing import holm
from benchbench.stats.units import (
    FEW_ALIKE,
    FEW_UNITS,
    Units,
    gather,
    pairs_of,
    spread,
    spread_of_gaps,
    units_of_estimates,
    units_of_means,
    without_rounding,
)

CANCELLED = 1e-3
"""Pairs whose differences have less than this share of the models' own squares are taken one by one."""


@dataclass(frozen=True, slots=True)
class DuelMatrix:
    """Row i against column j; shape (models, models) each."""

    difference: Floats
    """Score of i minus score of j."""
    stderr: Floats
    """Of the difference; NaN where undefined."""
    p: Floats
    """Two-sided; 1 on the diagonal."""
    p_adjusted: Floats
    """Holm over all pairs."""

    def wins(self, alpha: float = 0.05, *, higher_is_better: bool = True) -> NDArray[np.bool_]:
        """i is significantly better than j, after Holm."""
        better = self.difference > 0 if higher_is_better else self.difference < 0
        return np.asarray(better & (self.p_adjusted < alpha))


def duel_matrix(
    scores: ArrayLike,
    clusters: Sequence[Hashable | None] | None = None,
    *,
    seed: int,
    scale: float | None = None,
    estimates: bool = False,
    weights: ArrayLike | None = None,
) -> DuelMatrix:
    """Duels of every pair of models on the same items.

    Args:
        scores: shape (models, items), two models or more, no NaN.
        clusters: the items' cluster names.
        seed: of flipped signs, as in `duel`.
        scale: as in `duel`.
        estimates: scores are a corpus metric's value plus the item's influence on it: duels as of `duel_of_estimates`.
        weights: of the items, as there.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1 or bool(np.isnan(x).any()):
        raise ValueError(f"scores must be models × items without NaN, two models or more, not of shape {x.shape}")
    which = cluster_index(clusters, x.shape[1])
    table = _Table(x, which, _Scales.of(x, scale, estimates=estimates), estimates, weights)
    means = x.mean(axis=1)
    difference = means[:, None] - means[None, :]
    binary = np.flatnonzero(((x == 0) | (x == 1)).all(axis=1)) if which is None and not estimates else np.arange(0)
    error, p = (np.full_like(difference, np.nan) for _ in range(2))
    if table.count > 1 and binary.size < len(x):
        few = estimates or float(table.units(0, np.array([1])).worth[0]) < FEW_UNITS - 1e-9
        error, p = _row_by_row(table, seed) if few else _at_once(table, difference)
    if binary.size:
        error[np.ix_(binary, binary)], p[np.ix_(binary, binary)] = _matched(x[binary])
    np.fill_diagonal(p, 1.0)
    return DuelMatrix(difference, error, p, _holm_of_pairs(p))


@dataclass(frozen=True, slots=True)
class _Scales:
    """What is known of the models' scores; shape (models,) each."""

    range: Floats
    """The metric's range; NaN where a model's scores lie in [0, 1]."""
    size: Floats
    given: float | None

    @classmethod
    def of(cls, x: Floats, given: float | None, *, estimates: bool) -> _Scales:
        shown = x.mean(axis=1, keepdims=True) if estimates else x
        size = np.abs(shown).max(axis=1)
        inside = ((shown >= 0) & (shown <= 1)).all(axis=1)
        return cls(np.where(inside, np.nan, size), size, given)

    def of_pairs(self, one: int, others: NDArray[np.intp]) -> Floats:
        """The metric's range as a duel of these models takes it, shape (others,)."""
        if self.given is not None:
            return np.full(others.size, self.given)
        inside = np.isnan(self.range[one]) & np.isnan(self.range[others])
        return np.where(inside, 1.0, np.maximum(self.size[one], self.size[others]))


@dataclass(frozen=True, slots=True)
class _Table:
    """Scores, and the units of any of their pairs."""

    scores: Floats
    which: NDArray[np.intp] | None
    scales: _Scales
    estimates: bool
    weights: ArrayLike | None

    @property
    def count(self) -> int:
        """Units."""
        return int(self.scores.shape[1] if self.which is None else self.which.max() + 1)

    def units(self, one: int, others: NDArray[np.intp]) -> Units:
        """The units of `one` against each of the others, score of `one` minus theirs."""
        x, scales = self.scores, self.scales.of_pairs(one, others)
        if self.estimates:
            means = x.mean(axis=1)
            influences = x[others] - means[others, None], x[[one]] - means[one]
            return units_of_estimates(influences, means[one] - means[others], self.which, scales, self.weights)
        sizes = np.maximum(self.scales.size[one], self.scales.size[others])
        gaps = without_rounding(x[one] - x[others], sizes[:, None])
        return units_of_means(gaps, self.which, scales, sizes)


def _matched(right: Floats) -> tuple[Floats, Floats]:
    """Bonett–Price errors and exact McNemar p of all pairs of models whose scores are right or wrong."""
    from scipy.special import bdtr

    n, won = right.shape[1], right @ (1 - right).T
    p12, p21 = (won + 1) / (n + 2), (won.T + 1) / (n + 2)
    error = np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    return error, np.minimum(1.0, 2 * bdtr(np.minimum(won, won.T), (won + won.T).astype(np.int64), 0.5))


def _row_by_row(table: _Table, seed: int) -> tuple[Floats, Floats]:
    """Errors and p of every model against those after it."""
    models = table.scores.shape[0]
    error, p = np.zeros((models, models)), np.ones((models, models))
    for one in range(models - 1):
        others = np.arange(one + 1, models)
        error[one, others], p[one, others] = _errors_and_p(table.units(one, others), seed)
    return error + error.T, np.minimum(p, p.T)


def _errors_and_p(units: Units, seed: int) -> tuple[Floats, Floats]:
    found = spread(units)
    p = found.p_two_sided(units.values)
    few = np.flatnonzero(units.are_few)
    if few.size:
        p[few] = np.maximum(p[few], flipped_p(units.sums[few], seed=seed))
    return np.sqrt(found.variance), p


def _at_once(table: _Table, difference: Floats) -> tuple[Floats, Floats]:
    """Errors and p of all pairs of many units, from products of the models' powers.

    Models that are nearly one another are left to `_row_by_row`'s way, for their products cancel out; so are those that
    differ on few units, whose number is counted.
    """
    first, second = pairs_of(difference.shape[0])
    weights = gather(np.ones((1, table.scores.shape[1])), table.which)
    centred = gather(table.scores - table.scores.mean(axis=1, keepdims=True), table.which)
    scales = [table.scales.of_pairs(one, np.arange(one + 1, len(centred))) for one in range(len(centred))]
    found = spread_of_gaps(centred, weights[0], np.concatenate(scales))
    own = np.square(centred).sum(axis=1)
    squares = found.variance * weights.size * (weights.size - 1)
    unsure = (squares < CANCELLED * np.maximum(own[first], own[second])) | (found.alike < FEW_ALIKE)
    error, p = np.zeros_like(difference), np.ones_like(difference)
    error[first, second] = np.sqrt(found.variance)
    p[first, second] = found.p_two_sided(difference[first, second])
    for one in np.unique(first[unsure]):
        others = second[unsure & (first == one)]
        error[one, others], p[one, others] = _errors_and_p(table.units(int(one), others), 0)
    return error + error.T, np.minimum(p, p.T)


def _holm_of_pairs(p: Floats) -> Floats:
    upper = pairs_of(p.shape[0])
    adjusted = np.ones_like(p)
    known = ~np.isnan(p[upper])
    values = np.full(known.size, np.nan)
    values[known] = holm(p[upper][known])
    adjusted[upper] = values
    adjusted.T[upper] = values
    return adjusted

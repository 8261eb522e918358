"""All pairs of many models at once: the same differences and p-values as `duel`, in arrays."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.duel import FEW_CLUSTERS
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import cluster_index
from benchbench.stats.multiple import holm
from benchbench.stats.pairs import sign_patterns


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


def duel_matrix(scores: ArrayLike, clusters: Sequence[Hashable | None] | None = None, *, seed: int) -> DuelMatrix:
    """Duels of every pair of models on the same items.

    Args:
        scores: shape (models, items), two models or more, no NaN.
        clusters: the items' cluster names.
        seed: of sign flips, as in `duel`.
    """
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 2 or x.shape[0] < 2 or x.shape[1] < 1 or bool(np.isnan(x).any()):
        raise ValueError(f"scores must be models × items without NaN, two models or more, not of shape {x.shape}")
    n = x.shape[1]
    which = cluster_index(clusters, n)
    means = x.mean(axis=1)
    difference = means[:, None] - means[None, :]
    if which is None and bool(((x == 0) | (x == 1)).all()):
        won = x @ (1 - x).T
        error, p = _matched(won, won.T, n)
    else:
        own = np.arange(n) if which is None else which
        sums = np.stack([np.bincount(own, weights=row) for row in x]).astype(np.float64)
        size = np.bincount(own).astype(np.float64)
        error, p = _summed(sums, size, difference, seed)
    np.fill_diagonal(p, 1.0)
    return DuelMatrix(difference, error, p, _holm_of_pairs(p))


def _matched(won: Floats, lost: Floats, n: int) -> tuple[Floats, Floats]:
    """Bonett–Price errors and exact McNemar p of counts."""
    from scipy.special import bdtr

    p12, p21 = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    error = np.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    return error, np.minimum(1.0, 2 * bdtr(np.minimum(won, lost), (won + lost).astype(np.int64), 0.5))


def _summed(sums: Floats, size: Floats, difference: Floats, seed: int) -> tuple[Floats, Floats]:
    """Errors and p from sums per cluster, shape (models, clusters)."""
    from scipy.special import stdtr

    models, count = sums.shape
    if count < 2:
        return np.full((models, models), np.nan), np.full((models, models), np.nan)
    centred = sums - (sums.sum(axis=1) / size.sum())[:, None] * size
    squares = centred @ centred.T
    spread = np.maximum(0.0, np.diag(squares)[:, None] + np.diag(squares)[None, :] - 2 * squares)
    spread[spread < 1e-12 * np.maximum.outer(np.diag(squares), np.diag(squares))] = 0.0
    error = np.sqrt(count / (count - 1) * spread) / size.sum()
    if count < FEW_CLUSTERS:
        p = _flipped(sums, seed)
    else:
        t = np.divide(difference, error, out=np.zeros_like(error), where=error > 0)
        p = np.where(error > 0, 2 * stdtr(count - 1, -np.abs(t)), 1.0)
    return error, np.where((error == 0) & (difference != 0), 2.0 ** (1 - count), p)


def _flipped(sums: Floats, seed: int) -> Floats:
    """Sign-flip p of every pair: one matrix of signs serves all, for sums of differences are differences of sums."""
    signs, extra = sign_patterns(sums.shape[1], seed=seed)
    flipped = signs @ sums.T
    total = sums.sum(axis=1)
    p = np.ones((sums.shape[0], sums.shape[0]))
    for i in range(sums.shape[0]):
        gap = np.abs(sums[i] - sums).sum(axis=1)
        reached = np.abs(flipped[:, i, None] - flipped) >= np.abs(total[i] - total) - 1e-12 * gap
        p[i] = (extra + reached.sum(axis=0)) / (extra + signs.shape[0])
    return p


def _holm_of_pairs(p: Floats) -> Floats:
    upper = np.triu_indices(p.shape[0], 1)
    adjusted = np.ones_like(p)
    known = ~np.isnan(p[upper])
    values = np.full(known.size, np.nan)
    values[known] = holm(p[upper][known])
    adjusted[upper] = values
    adjusted.T[upper] = values
    return adjusted

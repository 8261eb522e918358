"""Ranks with intervals: which places a model may hold, all models at once.

Source: Mogstad, Romano, Shaikh & Wilhelm, "Inference for Ranks with Applications to Mobility across
Neighborhoods and Academic Achievement across Countries", Review of Economic Studies 91 (2024); step-down:
Romano & Wolf, Econometrica 73 (2005). Written from the papers.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import cluster_index
from benchbench.stats.power import ALPHA

DRAWS = 9999


@dataclass(frozen=True, slots=True)
class Ranks:
    """Places from 1 (best). With probability 1 − α every model's true place is in its interval."""

    low: NDArray[np.intp]
    """Shape (models,): 1 + the number of models that are significantly better."""
    high: NDArray[np.intp]
    """Shape (models,): the number of models, less those that are significantly worse."""
    better: NDArray[np.bool_]
    """Shape (models, models): row i is significantly better than column j."""
    critical: tuple[float, ...]
    """Critical value of |difference| / SE at each step; the first is that of all pairs."""

    @property
    def best_set(self) -> NDArray[np.intp]:
        """Models than which none is significantly better."""
        return np.flatnonzero(self.low == 1)


def mean_covariance(
    influences: Sequence[ArrayLike],
    clusters: Sequence[Sequence[Hashable | None] | None] | None = None,
    weights: Sequence[float] | None = None,
) -> Floats:
    """Covariance of the models' weighted means over tasks, shape (models, models); tasks independent.

    Args:
        influences: one array per task, shape (models, items): influence values of each model on the same items,
            on the scale in which the mean is taken.
        clusters: per task, the items' cluster names, or None.
        weights: per task, scaled to sum 1; equal where None.
    """
    raw = np.ones(len(influences)) if weights is None else np.asarray(weights, dtype=np.float64)
    names = [None] * len(influences) if clusters is None else clusters
    total: Floats | None = None
    for psi, labels, weight in zip(influences, names, raw / raw.sum(), strict=True):
        part = weight**2 * _covariance(np.atleast_2d(np.asarray(psi, dtype=np.float64)), labels)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a mean needs at least one task")
    return total


def _covariance(psi: Floats, labels: Sequence[Hashable | None] | None) -> Floats:
    n = psi.shape[1]
    which = cluster_index(labels, n)
    sums = psi if which is None else np.stack([np.bincount(which, weights=row) for row in psi])
    count = sums.shape[1]
    if count < 2:
        raise ValueError("a covariance needs two independent items")
    return np.asarray(count / (count - 1) * (sums @ sums.T) / n**2, dtype=np.float64)


def rank_intervals(
    values: ArrayLike,
    covariance: ArrayLike,
    *,
    seed: int,
    draws: int = DRAWS,
    alpha: float = ALPHA,
    higher_is_better: bool = True,
) -> Ranks:
    """Simultaneous rank intervals by step-down max-|t| over all pairs of models.

    The critical value is the 1 − α quantile of the largest |t| among pairs in draws from N(0, covariance), which is
    the Gaussian multiplier bootstrap of the influence values. Rejected pairs leave the family and it is drawn again
    until none is rejected: the chance of any false "better" stays at most α.

    Args:
        values: shape (models,).
        covariance: shape (models, models), of the values (`mean_covariance`; diagonal for independent ones).
        seed: of the draws.
    """
    theta = np.asarray(values, dtype=np.float64) * (1 if higher_is_better else -1)
    sigma = np.asarray(covariance, dtype=np.float64)
    m = theta.size
    if sigma.shape != (m, m):
        raise ValueError(f"{m} models need a covariance of {m} × {m}, not {sigma.shape}")
    first, second = np.triu_indices(m, 1)
    variance = np.maximum(0.0, sigma[first, first] + sigma[second, second] - 2 * sigma[first, second])
    scale = np.maximum(sigma[first, first], sigma[second, second])
    known = variance > 1e-12 * scale
    error = np.sqrt(np.where(known, variance, 1.0))
    difference = theta[first] - theta[second]
    t = np.where(known, difference / error, np.where(difference == 0, 0.0, np.copysign(np.inf, difference)))
    open_pairs = known.copy()
    critical: list[float] = []
    noise = _draws(sigma, draws, seed)
    while open_pairs.any():
        critical.append(_critical(noise, first[open_pairs], second[open_pairs], error[open_pairs], alpha))
        rejected = open_pairs & (np.abs(t) > critical[-1])
        if not rejected.any():
            break
        open_pairs &= ~rejected
    significant = ~open_pairs & (t != 0)
    better = np.zeros((m, m), dtype=bool)
    better[first[significant & (t > 0)], second[significant & (t > 0)]] = True
    better[second[significant & (t < 0)], first[significant & (t < 0)]] = True
    return Ranks(1 + better.sum(axis=0), m - better.sum(axis=1), better, tuple(critical))


def _draws(sigma: Floats, draws: int, seed: int) -> NDArray[np.float32]:
    """Shape (models, draws), from N(0, sigma)."""
    values, vectors = np.linalg.eigh(sigma)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng = np.random.default_rng(seed)
    return np.asarray(root @ rng.standard_normal((sigma.shape[0], draws)), dtype=np.float32)


def _critical(
    noise: NDArray[np.float32], first: NDArray[np.intp], second: NDArray[np.intp], error: Floats, alpha: float
) -> float:
    """The 1 − α quantile of the largest |t|, each draw counted as one of `draws` + 1."""
    largest = np.zeros(noise.shape[1], dtype=np.float32)
    inverse = (1 / error).astype(np.float32)
    for model in np.unique(first):
        rows = np.flatnonzero(first == model)
        gaps = noise[second[rows]] - noise[model]
        np.abs(gaps, out=gaps)
        gaps *= inverse[rows, None]
        np.maximum(largest, gaps.max(axis=0), out=largest)
    place = min(largest.size, math.ceil((1 - alpha) * (largest.size + 1)))
    return float(np.partition(largest, place - 1)[place - 1])

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

from benchbench.stats.influence import Floats, tail
from benchbench.stats.intervals import cluster_index
from benchbench.stats.testing import ALPHA
from benchbench.stats.units import degrees_of_variance, gather, pairs_of, spread_of_gaps

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


class Covariance(np.ndarray[tuple[int, ...], np.dtype[np.float64]]):
    """Covariance of the models' values, shape (models, models), and how much is known of it.

    An array in every other respect: what arithmetic makes of it is taken as known exactly, as any plain array is.
    `covariance_of_mean` adds several up and forgets nothing.
    """

    units: float
    """Independent docs or clusters behind it; infinite where it is known exactly."""
    degrees: Floats
    """Shape (pairs,), in the order of `pairs_of`: degrees of freedom of the error of each pair's difference."""
    extra: Floats
    """Shape (pairs,): variance of each difference that is counted in beside, as in `units.Spread`."""

    def __new__(
        cls, matrix: ArrayLike, units: float = math.inf, degrees: Floats | float = math.inf, extra: Floats | float = 0.0
    ) -> Covariance:
        """`degrees` and `extra` are of each pair, or of all."""
        found = np.array(matrix, dtype=np.float64).view(cls)
        pairs = found.extra.shape
        found.units = units
        found.degrees, found.extra = (np.broadcast_to(np.asarray(x, dtype=np.float64), pairs) for x in (degrees, extra))
        return found

    def __array_finalize__(self, obj: object) -> None:
        """Nothing is known of an array that was made from this one."""
        pairs = self.shape[0] * (self.shape[0] - 1) // 2 if self.ndim == 2 else 0
        self.units, self.degrees, self.extra = math.inf, np.full(pairs, math.inf), np.zeros(pairs)


def mean_covariance(
    influences: Sequence[ArrayLike],
    clusters: Sequence[Sequence[Hashable | None] | None] | None = None,
    weights: Sequence[float] | None = None,
    *,
    scales: Sequence[float] | None = None,
    parallel: bool = False,
) -> Covariance:
    """Covariance of the models' weighted means over tasks, shape (models, models); tasks independent.

    Args:
        influences: one array per task, shape (models, items): influence values of each model on the same items,
            on the scale in which the mean is taken.
        clusters: per task, the items' cluster names, or None.
        weights: per task, scaled to sum 1; equal where None.
        scales: per task, the range of its scores on that scale; None: 1 where the influences lie in [−1, 1], else
            their size.
        parallel: items of different tasks that share a name are one unit: the same question in several languages.
    """
    tables = [np.atleast_2d(np.asarray(psi, dtype=np.float64)) for psi in influences]
    if not tables:
        raise ValueError("a mean needs at least one task")
    names = [None] * len(tables) if clusters is None else list(clusters)
    widest = [max(1.0, float(np.abs(psi).max())) for psi in tables] if scales is None else list(scales)
    raw = np.ones(len(tables)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = raw / raw.sum()
    if not parallel:
        parts = [_covariance(*task) for task in zip(tables, names, widest, strict=True)]
        return covariance_of_mean(parts, w.tolist())
    total = sum(psi.shape[1] for psi in tables)
    whole = np.concatenate([k * total / psi.shape[1] * psi for k, psi in zip(w, tables, strict=True)], axis=1)
    labels = [name for psi, some in zip(tables, names, strict=True) for name in (some or [None] * psi.shape[1])]
    return _covariance(whole, labels, float(w @ widest))


def covariance_of_mean(parts: Sequence[ArrayLike], weights: Sequence[float]) -> Covariance:
    """Covariance of Σ weight·part of independent parts; degrees of freedom after Satterthwaite, pair by pair.

    Args:
        parts: `Covariance`, or plain arrays of which degrees are taken as infinite; shape (models, models) each.
        weights: one per part, as they are.
    """
    known = [part if isinstance(part, Covariance) else Covariance(part) for part in parts]
    squares = [weight**2 for weight in weights]
    matrix = np.asarray(sum(k * np.asarray(part) for k, part in zip(squares, known, strict=True)))
    extra = np.asarray(sum(k * part.extra for k, part in zip(squares, known, strict=True)))
    variances = [k * (_of_differences(np.asarray(part)) + part.extra) for k, part in zip(squares, known, strict=True)]
    parts_of_degrees = sum(v**2 / part.degrees for v, part in zip(variances, known, strict=True))
    total = np.square(sum(variances))
    degrees = np.divide(total, parts_of_degrees, out=np.full(total.shape, math.inf), where=parts_of_degrees > 0)
    return Covariance(matrix, sum(part.units for part in known), degrees, extra)


def _covariance(psi: Floats, labels: Sequence[Hashable | None] | None, scale: float) -> Covariance:
    which = cluster_index(labels, psi.shape[1])
    pulls, weights = gather(psi, which), gather(np.ones((1, psi.shape[1])), which)[0]
    n = pulls.shape[1]
    if n < 2:
        raise ValueError("a covariance needs two independent items")
    widest = np.full(psi.shape[0] * (psi.shape[0] - 1) // 2, scale)
    found = spread_of_gaps(pulls, weights, widest, skewed=False)
    degrees = np.minimum(found.degrees, degrees_of_variance(found.alike, n))
    return Covariance(pulls @ pulls.T / (n * (n - 1)), n, degrees, found.extra)


def _of_differences(sigma: Floats) -> Floats:
    """Variances of the differences of all pairs, rounding taken for 0."""
    first, second = pairs_of(sigma.shape[0])
    variance = np.maximum(0.0, sigma[first, first] + sigma[second, second] - 2 * sigma[first, second])
    return np.where(variance > 1e-12 * np.maximum(sigma[first, first], sigma[second, second]), variance, 0.0)


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

    The critical value is the 1 − α quantile of the largest |z| among pairs in draws from N(0, covariance), which is
    the Gaussian multiplier bootstrap of the influence values. Each pair's t, in which its extra variance is counted,
    is taken to the normal scale by its own degrees of freedom. Rejected pairs leave the family and it is drawn again
    until none is rejected: the chance of any false "better" stays at most α.

    Args:
        values: shape (models,).
        covariance: shape (models, models), of the values: `mean_covariance`, which knows how few items it comes from,
            or any array, which is taken as known exactly (diagonal for independent values).
        seed: of the draws.
    """
    theta = np.asarray(values, dtype=np.float64) * (1 if higher_is_better else -1)
    known = covariance if isinstance(covariance, Covariance) else Covariance(covariance)
    m = theta.size
    if known.shape != (m, m):
        raise ValueError(f"{m} models need a covariance of {m} × {m}, not {known.shape}")
    first, second = pairs_of(m)
    z = _normal_scores(theta[first] - theta[second], known)
    varies = _of_differences(np.asarray(known)) > 0
    better, critical = _step_down(z, varies, _drawn_gaps(known, draws, seed), alpha)
    return Ranks(1 + better.sum(axis=0), m - better.sum(axis=1), better, critical)


def _normal_scores(differences: Floats, known: Covariance) -> Floats:
    """Each difference in standard errors, as far out on the normal scale as its t is on its own; shape (pairs,)."""
    from scipy.special import ndtri

    error = np.sqrt(_of_differences(np.asarray(known)) + known.extra)
    certain = np.where(differences == 0, 0.0, np.copysign(np.inf, differences))
    t = np.where(error > 0, differences / np.where(error > 0, error, 1.0), certain)
    far = np.where(np.isinf(known.degrees), np.abs(t), -ndtri(tail(np.abs(t), known.degrees)))
    return np.asarray(np.copysign(far, t))


def _step_down(
    z: Floats, varies: NDArray[np.bool_], drawn: _Drawn, alpha: float
) -> tuple[NDArray[np.bool_], tuple[float, ...]]:
    """Which rows are better than which columns, shape (models, models), and the critical values on the way.

    Pairs whose difference does not vary at all have no place in the draws: they are held to the first critical value,
    or to Bonferroni's where no pair varies.
    """
    from scipy.special import ndtri

    m = drawn.noise.shape[0]
    first, second = pairs_of(m)
    open_pairs, critical = varies.copy(), list[float]()
    while open_pairs.any():
        critical.append(_critical(drawn, open_pairs, alpha))
        rejected = open_pairs & (np.abs(z) > critical[-1])
        if not rejected.any():
            break
        open_pairs &= ~rejected
    still = critical[0] if critical else float(-ndtri(alpha / 2 / max(1, z.size)))
    significant = np.where(varies, ~open_pairs, np.abs(z) > still)
    better = np.zeros((m, m), dtype=bool)
    for above, winner, loser in ((z > 0, first, second), (z < 0, second, first)):
        better[winner[significant & above], loser[significant & above]] = True
    return better, tuple(critical)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Draws of the models' errors."""

    noise: NDArray[np.float32]
    """Shape (models, draws)."""
    inverse: NDArray[np.float32]
    """Shape (pairs,): 1 over the standard deviation of each pair's difference."""


def _drawn_gaps(known: Covariance, draws: int, seed: int) -> _Drawn:
    """Draws from the covariance, or, where few units are behind it, from one nearer to independent errors.

    A covariance of m models from n units has rank n − 1 at most: with few units, the largest of many |z| looks smaller
    than it is. It is therefore shrunk towards independent errors of the same size, by (m/n)². Source for shrinking:
    Ledoit & Wolf, J. Multivariate Analysis 88 (2004).
    """
    m = known.shape[0]
    share = min(1.0, (m / known.units) ** 2)
    independent = np.eye(m) * float(_of_differences(np.asarray(known)).mean()) / 2 if m > 1 else np.eye(m)
    sigma = (1 - share) * np.asarray(known) + share * independent
    values, vectors = np.linalg.eigh(sigma)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    noise = np.asarray(root @ np.random.default_rng(seed).standard_normal((m, draws)), dtype=np.float32)
    error = np.sqrt(_of_differences(sigma))
    return _Drawn(noise, (1 / np.where(error > 0, error, 1.0)).astype(np.float32))


def _critical(drawn: _Drawn, open_pairs: NDArray[np.bool_], alpha: float) -> float:
    """The 1 − α quantile of the largest |z|, each draw counted as one of `draws` + 1."""
    noise = drawn.noise
    first, second = (side[open_pairs] for side in pairs_of(noise.shape[0]))
    inverse = drawn.inverse[open_pairs]
    largest = np.zeros(noise.shape[1], dtype=np.float32)
    for model in np.unique(first):
        rows = np.flatnonzero(first == model)
        gaps = noise[second[rows]] - noise[model]
        np.abs(gaps, out=gaps)
        gaps *= inverse[rows, None]
        np.maximum(largest, gaps.max(axis=0), out=largest)
    place = min(largest.size, math.ceil((1 - alpha) * (largest.size + 1)))
    return float(np.partition(largest, place - 1)[place - 1])


def chance_normalised(score: float, chance: float, best: float = 1.0) -> float:
    """(score − chance) / (best − chance): 0 is guessing, 1 the best. Not clipped: below chance is below 0.

    Standard errors scale by 1 / (best − chance).
    """
    if not chance < best:
        raise ValueError(f"chance {chance} must be below the best score {best}")
    return (score - chance) / (best - chance)


def mean_win_rate(scores: ArrayLike) -> Floats:
    """HELM's mean win rate: share of the other models beaten, ties one half, mean over tasks.

    Depends on the models listed.

    Args:
        scores: shape (tasks, models), higher is better; NaN where a model has no score. A task counts for a model
            among the models that have it.
    Returns:
        shape (models,); NaN for a model that meets no other.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    known = ~np.isnan(table)
    wins = (table[:, :, None] > table[:, None, :]).sum(axis=2)
    ties = (table[:, :, None] == table[:, None, :]).sum(axis=2) - known
    others = known.sum(axis=1, keepdims=True) - known
    rates = np.where(known & (others > 0), (wins + ties / 2) / np.maximum(others, 1), np.nan)
    counts = (~np.isnan(rates)).sum(axis=0)
    return np.where(counts > 0, np.nansum(rates, axis=0) / np.maximum(counts, 1), np.nan)


def duel_win_score(wins: ArrayLike, categories: Sequence[Hashable] | None = None) -> Floats:
    """BenCzechMark's duel win score: share of the other models beaten significantly, mean over tasks, then categories.

    Ties count for neither. Depends on the models listed. Source: arXiv 2412.17933.

    Args:
        wins: shape (tasks, models, models): on this task, row beats column significantly.
        categories: of each task; None: one for all.
    Returns:
        shape (models,).
    """
    table = np.asarray(wins, dtype=bool)
    if table.ndim != 3 or table.shape[1] != table.shape[2] or table.shape[1] < 2:
        raise ValueError(f"wins must have the shape tasks × models × models, two models or more, not {table.shape}")
    rates = table.sum(axis=2) / (table.shape[1] - 1)
    names = [None] * len(rates) if categories is None else list(categories)
    members: dict[Hashable, list[int]] = {}
    for task, name in enumerate(names):
        members.setdefault(name, []).append(task)
    means = np.stack([rates[tasks].mean(axis=0) for tasks in members.values()])
    return np.asarray(means.mean(axis=0), dtype=np.float64)

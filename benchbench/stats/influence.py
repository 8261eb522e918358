"""Estimates with one influence value per item.

An influence value ψ_i says how far item i pulls the estimate: θ̂ − θ ≈ mean(ψ_i). Standard errors,
clustering, pairing and ranks then are one code path, whatever the metric (`intervals.py`).
Source: Hampel, "The influence curve and its role in robust estimation", JASA 69 (1974).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]


class Estimate(NamedTuple):
    """A value and how much each item pulls it."""

    value: float
    influence: Floats
    """Shape (items,). Sums to 0, in the value's own unit."""


def _vector(values: ArrayLike, name: str) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{name} must be a non-empty vector, not an array of shape {x.shape}")
    return x


def mean(values: ArrayLike) -> Estimate:
    """Mean of item scores: ψ_i = s_i − s̄."""
    x = _vector(values, "values")
    value = math.fsum(x.tolist()) / x.size
    return Estimate(value, x - value)


def ratio(numerators: ArrayLike, denominators: ArrayLike) -> Estimate:
    """Ratio of sums R = ΣL / ΣB (nats per word, bits per byte): ψ_i = (L_i − R·B_i) / B̄.

    Linearisation of a ratio estimator: Cochran, "Sampling Techniques" (1977), §6.3.
    """
    x, y = _vector(numerators, "numerators"), _vector(denominators, "denominators")
    if x.size != y.size:
        raise ValueError(f"{x.size} numerators, but {y.size} denominators")
    total = math.fsum(y)
    if total == 0:
        raise ValueError("the denominators sum to 0")
    value = math.fsum(x) / total
    return Estimate(value, (x - value * y) * (x.size / total))


def jackknife(value: float, left_out: ArrayLike) -> Estimate:
    """A corpus metric and its values with one item left out: ψ_i = (n − 1)·(mean θ_(·) − θ_(i)).

    The standard error from these ψ is the delete-one jackknife's. Source: Efron & Stein, "The
    jackknife estimate of variance", Annals of Statistics 9 (1981).
    """
    x = _vector(left_out, "left_out")
    return Estimate(value, (x.size - 1) * (x.mean() - x))


def jackknife_sums(statistics: ArrayLike, score: Callable[[Sequence[float]], float]) -> Estimate:
    """Jackknife of a metric that is a function of summed sufficient statistics.

    Args:
        statistics: shape (items, statistics); for BLEU the n-gram matches and totals of a segment.
        score: the metric from the column sums. Called once per distinct row, and once for all.
    """
    table = np.asarray(statistics, dtype=np.float64)
    if table.ndim != 2 or table.shape[0] == 0:
        raise ValueError(f"statistics must be a table of items × statistics, not of shape {table.shape}")
    total = table.sum(axis=0)
    value = float(score(total.tolist()))
    if table.shape[0] == 1:
        return Estimate(value, np.zeros(1))
    rows, which = np.unique(table, axis=0, return_inverse=True)
    left_out = np.array([score((total - row).tolist()) for row in rows], dtype=np.float64)
    return jackknife(value, left_out[which.reshape(-1)])


def corrected(t: Floats | float, skewness: Floats | float) -> Floats:
    """Hall's transformation of t, where `skewness` is that of the estimate: of the values, over √n.

    ((1 + a·t/3)³ − 1)/a + a/6: increasing in t, and t itself where a is 0.
    """
    a = np.asarray(skewness, dtype=np.float64)
    return np.asarray(t + a * (np.square(t) / 3 + 1 / 6) + np.square(a) * np.power(t, 3) / 27)


def uncorrected(y: float, skewness: float) -> float:
    """The t of which `y` is the transformation."""
    if abs(skewness) < 1e-6:
        return y - skewness * (y * y / 3 + 1 / 6)
    return 3 / skewness * (math.cbrt(1 + skewness * (y - skewness / 6)) - 1)


def surely_above(t: Floats | float, skewness: Floats | float) -> Floats:
    """The smaller of t and its transformation: what both tests grant for "the mean is above"."""
    return np.asarray(np.minimum(t, corrected(t, skewness)))


def surely_off(t: Floats | float, skewness: Floats | float) -> Floats:
    """The same for "the mean is not 0": what both tests grant in one direction; below 0 where they disagree."""
    other = corrected(t, skewness)
    return np.asarray(np.maximum(np.minimum(t, other), np.minimum(-np.asarray(t), -other)))


def ends(quantile: float, skewness: float) -> tuple[float, float]:
    """Between which t both tests together do not reject: (low, high), low < 0 < high."""
    low, high = uncorrected(-quantile, skewness), uncorrected(quantile, skewness)
    return min(-quantile, low), max(quantile, high)


def tail(t: Floats | float, degrees: Floats | float) -> Floats:
    """P(T > t) of Student's t; the normal's where degrees are infinite."""
    from scipy.special import stdtr

    return np.asarray(stdtr(degrees, -np.asarray(t)), dtype=np.float64)


ROUNDING = 1e-12
"""Differences below this share of the scores' size are rounding, and no evidence."""


def unseen_variance(differences: ArrayLike, scale: float, *, units: int | None = None) -> float:
    """What to add to the variance of a mean difference, in squared units of the score.

    Args:
        differences: shape (units,): of each independent doc, or of each cluster of docs its mean difference times the
            cluster's share of an average cluster (sum divided by the mean number of docs in a cluster).
        scale: the metric's range, or the size of its values where it has none: how much one doc can differ at most.
        units: how many independent units one difference rests on, where `differences` holds those of several.
    """
    x = np.asarray(differences, dtype=np.float64)
    typical = float(typical_differences(x.reshape(1, -1), np.array([scale]), ROUNDING * scale, 0.0)[0])
    return float(_variance(typical, x.size if units is None else units))


def unseen_variances(differences: Floats, scales: Floats, least: Floats | float, whole_range: Floats | float) -> Floats:
    """The same for many pairs at once.

    Args:
        differences: shape (pairs, units).
        scales: shape (pairs,).
        least: difference above which a unit counts as one that differs; of all pairs, or of each.
        whole_range: how many docs that differ by the whole range are counted among those seen to differ; of all pairs
            or of each.
    """
    return _variance(typical_differences(differences, scales, least, whole_range), differences.shape[1])


def _variance(typical: Floats | float, units: int) -> Floats:
    return np.asarray(2 * (typical / (units + 2)) ** 2)


def typical_differences(
    differences: Floats, scales: Floats, least: Floats | float, whole_range: Floats | float
) -> Floats:
    """How much a unit that differs differs: root mean square, shape (pairs,); the whole range where none does."""
    moved = np.abs(differences) > np.reshape(least, (-1, 1))
    count = moved.sum(axis=1) + whole_range
    squares = np.where(moved, differences, 0.0) ** 2
    total = squares.sum(axis=1) + whole_range * scales**2
    return np.asarray(np.sqrt(np.where(count > 0, total / np.maximum(count, 1e-300), scales**2)))

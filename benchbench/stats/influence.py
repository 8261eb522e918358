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
    value = math.fsum(x) / x.size
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

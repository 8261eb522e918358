"""Agreement of two raters beyond chance: Cohen's kappa, plain and weighted, with an interval over clusters."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import LEVEL, cluster_index, t_quantile


class Kappa(NamedTuple):
    """The value and its interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None


def weighted_kappa(
    first: Sequence[int],
    second: Sequence[int],
    *,
    weights: Literal["none", "quadratic"] = "quadratic",
    clusters: Sequence[Hashable] | None = None,
    level: float = LEVEL,
) -> Kappa:
    """Cohen's kappa of two raters' grades of the same things, 1 for full agreement, 0 for that of chance.

    κ = 1 − Σ w·p / Σ w·(row share · column share), w = 1 off the diagonal or the squared distance of the grades (Cohen,
    Psychological Bulletin 70, 1968). The interval is that of atanh κ with a delete-one-cluster jackknife error and
    C − 1 degrees of freedom, mapped back, so that it stays within −1 and 1. Undefined where both raters only ever give
    one and the same grade; without an interval at fewer than 3 clusters, or at full agreement.

    Args:
        clusters: what each rated thing shares with others, as its question; None: nothing.
    """
    a, b = np.asarray(first), np.asarray(second)
    if a.size == 0 or a.size != b.size:
        raise ValueError(f"{a.size} and {b.size} grades; two raters grade the same things, at least one")
    which = cluster_index(clusters, a.size)
    which = np.arange(a.size) if which is None else which
    grades, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    k, n = grades.size, int(which.max()) + 1
    tables = np.zeros((n, k, k))
    np.add.at(tables, (which, places[: a.size], places[a.size :]), 1.0)
    distance = np.subtract.outer(grades, grades).astype(np.float64) ** 2
    cost = distance if weights == "quadratic" else (distance > 0).astype(np.float64)
    whole = tables.sum(axis=0)
    value = _kappa(whole, cost)
    if value is None or n < 3 or abs(value) >= 1:
        return Kappa(value, None, None)
    left_out = [_kappa(whole - one, cost) for one in tables]
    known = np.array([math.atanh(min(max(one, -0.999999), 0.999999)) for one in left_out if one is not None])
    if known.size < n:
        return Kappa(value, None, None)
    error = math.sqrt((n - 1) / n * float(((known - known.mean()) ** 2).sum()))
    reach = t_quantile(n - 1, level) * error
    centre = math.atanh(value)
    return Kappa(value, math.tanh(centre - reach), math.tanh(centre + reach))


def _kappa(table: Floats, cost: Floats) -> float | None:
    total = float(table.sum())
    if total == 0:
        return None
    expected = float((cost * np.outer(table.sum(axis=1), table.sum(axis=0))).sum()) / total
    return None if expected == 0 else 1.0 - float((cost * table).sum()) / expected

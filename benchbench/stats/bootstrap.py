"""Statistics without a useful influence value: the bootstrap for any, the order of the docs for a median."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval, Uncertainty, t_quantile
from benchbench.stats.proportion import accepted
from benchbench.stats.scores import bounded
from benchbench.stats.spread import spread


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[Floats], float],
    clusters: Sequence[Hashable | None] | None = None,
    *,
    seed: int,
    draws: int = 1000,
) -> Uncertainty:
    """Standard error from resampling whole clusters (items, if none) with replacement, and Student's interval.

    The interval is the value ± t of C − 1 degrees times the error, which of a mean of C is too small by √(1 − 1/C); the
    percentiles of the draws are too narrow by both, 80 % of means of five. None where no draw differs from another.
    Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 6; Hesterberg, "What teachers should know
    about the bootstrap", The American Statistician 69 (2015), on percentiles of few.
    """
    x = np.asarray(values, dtype=np.float64)
    members = _members(x.size, clusters)
    shared = len(members) if len(members) < x.size else None
    if len(members) < 2:
        what = "all items share one cluster" if x.size > 1 else "only one item"
        return Uncertainty(None, None, shared, 0, f"no standard error: {what}")
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(members), (draws, len(members)))
    stderr = float(np.std([statistic(x[np.concatenate([members[c] for c in pick])]) for pick in picks], ddof=1))
    degrees = len(members) - 1
    if not stderr > 0:
        return Uncertainty(stderr, None, shared, degrees, "no interval: every draw of the bootstrap has the same value")
    value, half = statistic(x), t_quantile(degrees) * stderr * math.sqrt(len(members) / degrees)
    return Uncertainty(stderr, Interval(value - half, value + half), shared, degrees)


def median_interval(
    values: ArrayLike, clusters: Sequence[Hashable | None] | None = None
) -> tuple[Interval | None, str | None]:
    """The 95 % interval of the upper median, and why there is none or what to know of it.

    Its ends are docs: the numbers of docs below the true median that are not too unlikely, one half being below it,
    whatever the values. The bootstrap's percentiles hold 87.5 % of six or seven docs.
    Source: Thompson, Annals of Mathematical Statistics 7 (1936); in clusters Woodruff, JASA 47 (1952).
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    middle = float(x[x.size // 2])
    below = (np.asarray(values) < middle) + 0.5 * (np.asarray(values) == middle)
    known = spread(below - below.mean(), clusters)
    if known is None or known.refusal() is not None:
        return None, None if known is None else known.refusal()
    least, most = accepted(0.5, x.size)
    if known.is_clustered:
        share = bounded(0.5, known)
        least, most = math.ceil(x.size * share.low), math.floor(x.size * share.high)
    if least < 1 or most + 1 > x.size:
        return None, "no interval: too few docs for that of a median"
    low, high = float(x[least - 1]), float(x[most])
    if low == high:
        return None, "no interval: the docs around the median all have its value"
    return Interval(low, high), known.warning()


def _members(n: int, clusters: Sequence[Hashable | None] | None) -> list[list[int]]:
    """Item positions of each cluster; an item without cluster is a cluster of its own."""
    groups: dict[object, list[int]] = {}
    for i in range(n):
        name = None if clusters is None else clusters[i]
        groups.setdefault(("item", i) if name is None else ("cluster", name), []).append(i)
    return list(groups.values())

"""Bootstrap for statistics without a useful influence value, such as the median."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import LEVEL, Interval, Uncertainty


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[Floats], float],
    clusters: Sequence[Hashable | None] | None = None,
    *,
    seed: int,
    draws: int = 1000,
    level: float = LEVEL,
) -> Uncertainty:
    """Standard error and percentile interval, resampling whole clusters (items, if none) with replacement.

    Source: Efron & Tibshirani, "An Introduction to the Bootstrap" (1993), ch. 6 and 13.
    """
    x = np.asarray(values, dtype=np.float64)
    members = _members(x.size, clusters)
    shared = len(members) if len(members) < x.size else None
    if len(members) < 2:
        what = "all items share one cluster" if x.size > 1 else "only one item"
        return Uncertainty(None, None, shared, 0, f"no standard error: {what}")
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(members), (draws, len(members)))
    replicates = [statistic(x[np.concatenate([members[c] for c in pick])]) for pick in picks]
    tail = (1 - level) / 2
    low, high = np.quantile(replicates, [tail, 1 - tail])
    return Uncertainty(float(np.std(replicates, ddof=1)), Interval(float(low), float(high)), shared, len(members) - 1)


def _members(n: int, clusters: Sequence[Hashable | None] | None) -> list[list[int]]:
    """Item positions of each cluster; an item without cluster is a cluster of its own."""
    groups: dict[object, list[int]] = {}
    for i in range(n):
        name = None if clusters is None else clusters[i]
        groups.setdefault(("item", i) if name is None else ("cluster", name), []).append(i)
    return list(groups.values())

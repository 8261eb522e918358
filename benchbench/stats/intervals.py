"""From influence values to a standard error and a 95 % interval.

One path for all metrics: items are summed within clusters, an item without cluster is a cluster of
its own. Without clusters the formulas reduce to the textbook ones (sd/√n, t with n − 1 degrees).
Source: Miller, "Adding Error Bars to Evals", arXiv 2411.00640; small-sample factor C/(C − 1) and
t(C − 1): Cameron & Miller, "A Practitioner's Guide to Cluster-Robust Inference" (2015).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Estimate, Floats

LEVEL = 0.95


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float


class Uncertainty(NamedTuple):
    """What is known of an estimate's error. None means undefined; `reason` then says why."""

    stderr: float | None
    interval: Interval | None
    n_clusters: int | None
    """Number of clusters, None where no two items share one."""
    degrees: int
    reason: str | None = None
    """Why something is undefined, or what to know when reading the interval; one short sentence."""


def t_quantile(degrees: float, level: float = LEVEL) -> float:
    """Half-width of a two-sided `level` interval in standard errors; degrees may be infinite."""
    from scipy.special import ndtri, stdtrit

    upper = 0.5 + level / 2
    return float(ndtri(upper) if math.isinf(degrees) else stdtrit(degrees, upper))


def cluster_index(clusters: Sequence[Hashable | None] | None, n: int) -> NDArray[np.intp] | None:
    """Cluster number of each of `n` items, from 0 in order of first appearance. None: a cluster of its own.

    Returns None where no two items share a cluster.
    """
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"{n} items, but {len(clusters)} cluster names")
    index: dict[object, int] = {}
    which = [
        index.setdefault(("item", i) if name is None else ("cluster", name), len(index))
        for i, name in enumerate(clusters)
    ]
    return np.array(which, dtype=np.intp) if len(index) < n else None


def cluster_sums(influence: ArrayLike, clusters: Sequence[Hashable | None] | None) -> Floats:
    """Sum of influence values per cluster, in order of first appearance. None: a cluster of its own."""
    psi = np.asarray(influence, dtype=np.float64)
    which = cluster_index(clusters, psi.size)
    return psi if which is None else np.bincount(which, weights=psi).astype(np.float64)


def standard_error(influence: ArrayLike, clusters: Sequence[Hashable | None] | None = None) -> float | None:
    """SE² = C/(C − 1) · Σ_c (Σ_{i∈c} ψ_i)² / n². None with fewer than two clusters.

    Without clusters this is the sample standard deviation (ddof 1) over √n, as lm-eval's `mean_stderr`.
    """
    sums = cluster_sums(influence, clusters)
    if sums.size < 2:
        return None
    n = np.asarray(influence).size
    return math.sqrt(sums.size / (sums.size - 1) * math.fsum(sums * sums)) / n


def uncertainty(
    estimate: Estimate, clusters: Sequence[Hashable | None] | None = None, *, level: float = LEVEL
) -> Uncertainty:
    """Standard error and t interval of an estimate; C − 1 degrees of freedom."""
    n = estimate.influence.size
    count = cluster_sums(estimate.influence, clusters).size
    shared = count if count < n else None
    stderr = standard_error(estimate.influence, clusters)
    if stderr is None:
        what = "all items share one cluster" if n > 1 else "only one item"
        return Uncertainty(None, None, shared, 0, f"no standard error: {what}")
    half = t_quantile(count - 1, level) * stderr
    return Uncertainty(stderr, Interval(estimate.value - half, estimate.value + half), shared, count - 1)


def exponential(value: float, known: Uncertainty) -> tuple[float, Uncertainty]:
    """exp of an estimate, with its uncertainty: perplexity from mean nats.

    The interval's ends are mapped, so it stays positive; the standard error is the delta method's.
    Too large for a float: infinity.
    """
    new = _exp(value)
    ends = None if known.interval is None else Interval(_exp(known.interval.low), _exp(known.interval.high))
    return new, known._replace(stderr=None if known.stderr is None else new * known.stderr, interval=ends)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def wilson(successes: int, n: int, *, level: float = LEVEL) -> Interval:
    """Wilson score interval of a proportion; honest for few items, but too narrow near 0 and 1 (`proportion.py`).

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22
    (1927); against the central limit theorem for small n: Bowyer et al., arXiv 2503.01747.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n}")
    return wilson_of(successes / n, n, level=level)


def wilson_of(p: float, n: float, *, level: float = LEVEL) -> Interval:
    """Wilson's interval of a proportion `p` of effectively `n` items, which need not be a whole number."""
    z = t_quantile(math.inf, level)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(0.0 if p <= 0 else centre - half, 1.0 if p >= 1 else centre + half)

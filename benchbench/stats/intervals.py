"""Standard errors and intervals: of means, of shares, of spread-out values."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
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
    if clusters.count(None) == n:
        return None
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
    return math.sqrt(sums.size / (sums.size - 1) * math.fsum((sums * sums).tolist())) / n


def uncertainty(estimate: Estimate, clusters: Sequence[Hashable | None] | None = None) -> Uncertainty:
    """Standard error and t interval of an estimate; C − 1 degrees of freedom."""
    n = estimate.influence.size
    count = cluster_sums(estimate.influence, clusters).size
    shared = count if count < n else None
    stderr = standard_error(estimate.influence, clusters)
    if stderr is None:
        what = "all items share one cluster" if n > 1 else "only one item"
        return Uncertainty(None, None, shared, 0, f"no standard error: {what}")
    half = t_quantile(count - 1) * stderr
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
    """Wilson score interval of a proportion; honest for few items, but too narrow near 0 and 1 (see `proportion`).

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
    # Near a bound the difference is lost in rounding, and may end on the other side of it.
    return Interval(0.0 if p <= 0 else max(0.0, centre - half), 1.0 if p >= 1 else min(1.0, centre + half))


LEAST = 0.93
"""What the interval of a share holds at least, whatever the true share; 95 % on average."""
STEPS = 60
"""Halvings: more than a float has digits."""


@lru_cache(maxsize=4096)
def proportion(successes: int, n: int) -> Interval:
    """The 95 % interval of a share of right answers: all p that `accepted` does not speak against.

    It holds the true share in at least 93 % of cases, and never is narrower than Wilson's.
    """
    found = wilson(successes, n)
    return Interval(_lower(successes, n, found.low), 1 - _lower(n - successes, n, 1 - found.high))


def accepted(p: float, n: int) -> tuple[int, int]:
    """Smallest and largest number of right answers of `n` that do not speak against a true share `p`.

    These are Wilson's (within 1.96 standard errors of n·p), and as many neighbours as 93 % need, the likelier first.
    """
    from scipy.special import bdtr

    half = t_quantile(math.inf) * math.sqrt(n * p * (1 - p))
    low, high = max(0, math.ceil(n * p - half - 1e-9)), min(n, math.floor(n * p + half + 1e-9))

    def below(k: int) -> float:
        return float(bdtr(k, n, p)) if k >= 0 else 0.0

    while below(high) - below(low - 1) < LEAST:
        left, right = below(low - 1) - below(low - 2), below(high + 1) - below(high) if high < n else -1.0
        low, high = (low - 1, high) if left > right else (low, high + 1)
    return low, high


def _lower(successes: int, n: int, start: float) -> float:
    """Wilson's lower limit, or less: the smallest p near it under which that many successes are accepted."""
    if successes == 0:
        return 0.0
    return start - first(lambda step: accepted(start - step, n)[1] < successes, start)


def first(holds: Callable[[float], bool], most: float) -> float:
    """Where between 0 and `most` a condition begins to hold, by halving; 0 if it holds from the start."""
    if holds(1e-12 * most):
        return 0.0
    low, high = 0.0, most
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


SHARES: Mapping[str, Callable[[int, int], Interval]] = {"wilson": proportion}
"""Intervals of a share of right answers, from their number and that of the docs; a row's `se_method` names its own."""

MOST_DEGREES = 1e9
HALF = 0.48
"""A cluster with this share of the docs, about half of them, leaves one other to compare it with."""
TWO = 2.0
"""Effective docs below which an interval would rest on one."""
FEW = 20
"""Effective clusters below which an interval carries a warning."""


class Scatter(NamedTuple):
    """The scatter of an estimate, in its own unit."""

    variance: float
    """Of the estimate, with docs of a cluster taken together."""
    alone: float
    """The same, if every doc were a cluster of its own."""
    degrees: float
    """Degrees of freedom behind `variance`."""
    clusters: int
    """Docs that share no cluster count as one each."""
    units: float
    """Effective number of clusters: as many equal ones would do as well."""
    docs: float
    """Effective number of docs, by their shares."""
    largest: float
    """Share of the largest cluster."""

    @property
    def is_clustered(self) -> bool:
        """Do docs share clusters?"""
        return self.units < self.docs * (1 - 1e-12)

    def refusal(self, what: str = "docs") -> str | None:
        """Why there can be no honest interval, or None. `what` is what the shares are of."""
        if self.is_clustered and self.largest >= HALF:
            return f"no interval: one cluster holds {self.largest:.0%} of the {what}"
        return f"no interval: one doc holds {self.largest:.0%} of the {what}" if self.units < TWO else None

    def warning(self, what: str = "docs") -> str | None:
        """What to know when reading the interval, or None."""
        if self.units >= FEW:
            return None
        if self.is_clustered:
            return f"few clusters: {self.clusters}, as good as {self.units:.1f} equal ones"
        uneven = self.units < self.clusters / 2
        return f"few docs hold the {what}: {self.clusters}, as good as {self.units:.1f} equal ones" if uneven else None


def spread(
    influence: ArrayLike, clusters: Sequence[Hashable | None] | None = None, shares: ArrayLike | None = None
) -> Scatter | None:
    """The scatter of an estimate from each doc's influence on it. None with fewer than two clusters.

    Args:
        influence: shape (docs,); sums to 0.
        clusters: name of each doc's cluster; None for a doc of its own.
        shares: shape (docs,), what each doc weighs in the estimate (bytes, characters); equal where None.
    """
    psi = np.asarray(influence, dtype=np.float64)
    weights = np.ones(psi.size) if shares is None else np.asarray(shares, dtype=np.float64)
    pulls, weights = psi / psi.size, weights / weights.sum()
    which = cluster_index(clusters, psi.size)
    alone = _squares(pulls, weights)
    if which is None:
        held, squares = weights, alone
    else:
        sums = np.bincount(which, weights=pulls).astype(np.float64)
        held = np.bincount(which, weights=weights).astype(np.float64)
        squares = _squares(sums, held)
    if np.count_nonzero(held) < 2:
        return None
    units = 1 / float(held @ held)
    return Scatter(
        variance=float(squares.sum()),
        alone=float(alone.sum()),
        degrees=_degrees(squares, units),
        clusters=int(np.count_nonzero(held)),
        units=units,
        docs=1 / float(weights @ weights),
        largest=float(held.max()),
    )


def _squares(sums: Floats, shares: Floats) -> Floats:
    """Each unit's contribution to the variance."""
    return np.asarray(sums * sums / np.maximum(1 - shares, 1e-12))


def _degrees(squares: Floats, units: float) -> float:
    most = max(units - 1, 1e-3)
    largest = float(squares.max())
    if largest == 0:
        return most
    scaled = squares / largest  # squares of tiny ones would be 0
    alike = float(scaled.sum()) ** 2 / float(scaled @ scaled)
    rest = 1 - alike / squares.size
    return min(most, 2 * alike / rest if rest > 1 / MOST_DEGREES else most)

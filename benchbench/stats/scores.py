"""From a score and its scatter to a 95 % interval that keeps to the score's range and is never without width.

Three shapes, by how the scatter of a score moves with its true value θ (score tests, solved for θ):

- `bounded`, scores with a least and a largest value (F1, ROUGE, BLEU, right and wrong in clusters): θ(1 − θ)/n, with
  the effective number of docs n = p(1 − p)/SE² that the sample shows (Korn & Graubard, "Confidence intervals for
  proportions with small expected number of positive counts estimated from survey data", Survey Methodology 24, 1998).
- `counted`, at least 0 and mostly below a scale (edits per 100 words): θ, as of a Poisson count.
- `positive`, above 0 (bits per byte, nats): θ², which is the usual interval on the log scale.

What docs without variance have not shown is bounded by what could be: a mean of scores between 0 and 1 scatters at most
as much as as many right or wrong answers, so an effective number of docs is never less than that of the clusters.
Simulated in `tests/simulate/coverage.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import ROUNDING, Estimate, Floats
from benchbench.stats.intervals import (
    LEAST,
    Interval,
    Scatter,
    Uncertainty,
    accepted,
    spread,
    t_quantile,
    uncertainty,
    wilson_of,
)

Shape: TypeAlias = Callable[[float, Scatter], Interval | None]
"""From a value and its scatter to an interval; None where the scatter says nothing."""
Z = t_quantile(math.inf)
MORE_DEGREES = 1.5
"""Added to the degrees of clustered scores: the effective number of docs is held between that of the clusters and that
of the docs, so it scatters less than χ² says. Measured: without, 5 clusters hold 99 % and more."""
UNSEEN, UNSEEN_ALIKE = 2.0, 0.5
"""Clusters that a score near a bound has not shown count as two more degrees of freedom with an intra-class correlation
of one half, for the limit on the far side. Without, an accuracy of .9 in 10 clusters of 20 docs is held in 88 %."""


def score_uncertainty(
    estimate: Estimate,
    clusters: Sequence[Hashable | None] | None,
    shape: Shape,
    *,
    shares: ArrayLike | None = None,
    what: str = "docs",
) -> Uncertainty:
    """The plain standard error of an estimate, and the interval of a shape from its scatter.

    Where the interval cannot be honest it is None, and the reason says why.

    Args:
        estimate: value and each doc's influence on it.
        clusters: name of each doc's cluster, None for a doc of its own.
        shape: `bounded`, `counted`, `positive` or `symmetric`, with the score's range.
        shares: what each doc weighs; equal where None.
        what: what the shares are of, for sentences.
    """
    plain, known = uncertainty(estimate, clusters), spread(estimate.influence, clusters, shares)
    if plain.stderr is None or known is None:
        return plain
    refusal = known.refusal(what)
    if refusal is not None:
        return plain._replace(interval=None, reason=refusal)
    interval = shape(estimate.value, known)
    missing = "no interval: no doc differs from another"
    return plain._replace(interval=interval, reason=missing if interval is None else known.warning(what))


def bounded(value: float, known: Scatter, low: float = 0.0, high: float = 1.0) -> Interval:
    """Interval of a score between `low` and `high`: Wilson's with effective numbers of docs, one for each limit."""
    size = high - low
    p = min(1.0, max(0.0, (value - low) / size))
    scaled = known._replace(variance=known.variance / size**2, alone=known.alone / size**2)
    near, far = (clustered_sizes if scaled.is_clustered else independent_sizes)(p, scaled)
    limits = limits_of(p, near, far)
    if not scaled.is_clustered:
        limits = _stepped(p, scaled, limits)
    return Interval(low + size * limits.low, low + size * limits.high)


def independent_sizes(p: float, known: Scatter) -> tuple[float, float]:
    """Effective numbers of docs, for the limit towards the nearer bound and for the other."""
    size = max(known.units, effective_size(p, known.variance, known.degrees))
    return size, size


def clustered_sizes(p: float, known: Scatter) -> tuple[float, float]:
    """The same where docs share clusters: never more than as if they did not, and fewer where few clusters are seen."""
    degrees = known.degrees + MORE_DEGREES
    most = max(known.units, known.docs if known.alone <= 0 else p * (1 - p) / known.alone)
    near = min(most, max(known.units, effective_size(p, known.variance, degrees)))
    unseen = UNSEEN * (1 - 4 * p * (1 - p)) ** 2
    alike = known.alone * (1 - UNSEEN_ALIKE + UNSEEN_ALIKE * known.docs / known.units)
    blended = (degrees * known.variance + unseen * alike) / (degrees + unseen)
    return near, min(near, max(known.units, effective_size(p, blended, degrees + unseen)))


def effective_size(p: float, variance: float, degrees: float) -> float:
    """How many right or wrong answers scatter as much; fewer where the variance rests on few degrees. 0 without any."""
    return p * (1 - p) / variance * (Z / t_quantile(degrees)) ** 2 if variance > ROUNDING**2 else 0.0


def limits_of(p: float, near: float, far: float) -> Interval:
    """Wilson's interval; `near` docs count for the limit towards the bound `p` is nearer to, `far` for the other."""
    return Interval(wilson_of(p, far if p > 0.5 else near).low, wilson_of(p, near if p > 0.5 else far).high)


def _stepped(p: float, known: Scatter, found: Interval) -> Interval:
    """The limits nearest to the bounds, moved as `proportion` moves Wilson's where one or few docs are off a bound."""
    return Interval(found.low * _step(p, known), 1 - (1 - found.high) * _step(1 - p, known))


def _step(p: float, known: Scatter) -> float:
    """What the lower limit is multiplied by: so many docs are off the bound as would, all alike, vary as much."""
    from scipy.special import betaincinv

    if p < ROUNDING:
        return 1.0
    off = known.docs * p * p / ((known.docs - 1) * known.variance + p * p)
    if off >= known.docs / 2:
        return 1.0
    low = wilson_of(off / known.docs, known.docs).low  # 0 where `off` is lost in rounding, and the limit with it
    return 1.0 if low <= 0 else min(1.0, float(betaincinv(off, known.docs - off + 1, 1 - LEAST)) / low)


def counted(value: float, known: Scatter, scale: float) -> Interval:
    """Interval of a score that is at least 0 and has no largest value; one doc alone costs about `scale` at most."""
    t = t_quantile(known.degrees)
    size = max(known.units, value * scale / known.variance * (Z / t) ** 2 if known.variance > 0 else 0.0)
    half = Z * Z * scale / (2 * size)
    wide = math.sqrt(half * half + 2 * half * value)
    return Interval(max(0.0, value + half - wide), value + half + wide)


def positive(value: float, known: Scatter) -> Interval | None:
    """Interval of a score above 0 on the log scale; None where it is 0 or does not vary."""
    if value <= 0 or not known.variance > (ROUNDING * value) ** 2:
        return None
    wide = t_quantile(known.degrees) * math.sqrt(known.variance) / value
    return Interval(value * math.exp(-wide), value * math.exp(wide)) if wide < 700 else None


def symmetric(value: float, known: Scatter) -> Interval | None:
    """Student's interval, of a score of which no range is known; None where it does not vary."""
    if not known.variance > (ROUNDING * abs(value)) ** 2:
        return None
    half = t_quantile(known.degrees) * math.sqrt(known.variance)
    return Interval(value - half, value + half)


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

"""Weighted means of scores: a group of tasks, subjects of a benchmark, classes of a macro average."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.difference import satterthwaite
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval, cluster_index, t_quantile

Z = t_quantile(math.inf)
NEAREST = 1e-9
SIDE = 0.7
"""How much of a member's move towards a limit is in proportion to its reach on that side, the rest to the other's."""


class GroupMean(NamedTuple):
    """A weighted mean of scores; what is undefined for a member is None for the mean."""

    value: float
    stderr: float | None
    interval: Interval | None


def group_mean(
    values: Sequence[float],
    stderrs: Sequence[float | None],
    degrees: Sequence[int],
    weights: Sequence[float] | None = None,
    *,
    intervals: Sequence[Interval | None] | None = None,
    correlation: ArrayLike | None = None,
) -> GroupMean:
    """Mean with SE² = Σ_ij w_i w_j ρ_ij SE_i SE_j, weights scaled to sum 1, and its 95 % interval.

    Without `intervals` that is Student's with Satterthwaite's effective degrees of freedom (Biometrics Bulletin 2,
    1946), and none where no member varies. With the members' own intervals see `_combined`.

    Args:
        values: one score per member.
        stderrs: their standard errors, None where undefined.
        degrees: degrees of freedom behind each standard error: independent docs, less one.
        weights: for example the members' sizes; equal where None.
        intervals: the members' 95 % intervals, which need not be symmetric.
        correlation: shape (members, members), of the members' errors; independent where None.
    """
    if not values:
        raise ValueError("a group needs at least one member")
    w = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
    w = w / math.fsum(w)
    rho = np.eye(len(values)) if correlation is None else np.asarray(correlation, dtype=np.float64)
    value = math.fsum(weight * x for weight, x in zip(w, values, strict=True))
    errors = [se for se in stderrs if se is not None]
    stderr = _error(w * errors, rho) if len(errors) == len(values) else None
    if intervals is None:
        return GroupMean(value, stderr, _students(value, stderr, w, errors, degrees))
    members = [_Member(x, se, df, ends) for x, se, df, ends in zip(values, stderrs, degrees, intervals, strict=True)]
    known = all(ends is not None for ends in intervals)
    return GroupMean(value, stderr, _combined(value, members, w, rho) if known else None)


def _error(parts: Floats, rho: Floats) -> float:
    return math.sqrt(max(0.0, float(parts @ rho @ parts)))


def _students(
    value: float, stderr: float | None, w: Floats, errors: Sequence[float], degrees: Sequence[int]
) -> Interval | None:
    if not stderr:
        return None
    half = t_quantile(satterthwaite(((w * errors) ** 2).tolist(), degrees)) * stderr
    return Interval(value - half, value + half)


class _Member(NamedTuple):
    value: float
    stderr: float | None
    degrees: int
    ends: Interval | None


def _combined(value: float, members: Sequence[_Member], w: Floats, rho: Floats) -> Interval:
    """The interval of a mean from its members' own.

    Zou & Donner ("Construction of confidence limits about effect measures", Statistics in Medicine 27, 2008; MOVER)
    take the variance that each member has at the end of its interval: L = m − √(Σ w²(m_i − l_i)²). That holds for a few
    members; of 57 tasks of five docs at .97 it holds 86 % and is wider than need be, since where the mean lies at its
    end its members lie much nearer to their values than to their ends. So the members move towards their ends only as
    far as the mean does, each by its part in the mean's scatter, and have the variance that belongs there
    (`_variances`). One member keeps its interval, and equal shares of right answers get Wilson's of all their docs.
    """
    ends = [member.ends for member in members if member.ends is not None]
    below = np.array([member.value - end.low for member, end in zip(members, ends, strict=True)]).clip(0)
    above = np.array([end.high - member.value for member, end in zip(members, ends, strict=True)]).clip(0)
    seen = np.array([math.nan if member.stderr is None else member.stderr for member in members])
    count = np.array([member.degrees + 1.0 for member in members])
    low = _distance(below, above, seen, count, w, rho)
    high = _distance(above, below, seen, count, w, rho)
    return Interval(value - low, value + high)


def _distance(reach: Floats, other: Floats, seen: Floats, count: Floats, w: Floats, rho: Floats) -> float:
    """How far the mean's limit lies from the mean, on the side where the members' limits lie `reach` from them.

    Members move in proportion to their reach, or a little by that to their other side as well, whichever takes the mean
    less far: where some members lie near 0 and others near 1 their skewness cancels.
    """
    if not (w @ reach) > 0:
        return 0.0
    sizes = (reach, np.sqrt(SIDE * reach**2 + (1 - SIDE) * other**2))
    return min(
        _solved(size, reach, lambda moved: w * np.sqrt(_variances(moved, reach, other, seen, count)), w, rho)
        for size in sizes
    )


def _solved(size: Floats, reach: Floats, scatter: Callable[[Floats], Floats], w: Floats, rho: Floats) -> float:
    """The distance of 1.96 standard errors, which the members have where the mean lies that far away."""
    from scipy.optimize import brentq

    pull = np.maximum(0, rho @ (w * size)) * size
    part = pull / (w @ pull)

    def too_far(distance: float) -> float:
        return distance - Z * _error(scatter(np.minimum(distance * part, reach)), rho)

    high = _error(w * reach, rho)
    while too_far(high) < 0:
        high *= 2
    # At 0 itself a mean at a bound has no scatter, and so is far enough.
    low = NEAREST * high
    return float(brentq(too_far, low, high, rtol=1e-10)) if too_far(low) < 0 else low


def _variances(moved: Floats, reach: Floats, other: Floats, seen: Floats, count: Floats) -> Floats:
    """Variance of each member's score where its true value lies `moved` from it towards one of its limits.

    At a limit it is (distance/1.96)², at the value the squared standard error; between them a parabola, which it is for
    shares of right answers. A score at a bound shows no variance: there it rises like a share's of `count` docs. Inside
    its range a score without variance gets that of its nearer limit, one without standard error the limits' mean.
    """
    at_end, at_other = (reach / Z) ** 2, (other / Z) ** 2
    at_value = np.where(np.isnan(seen), reach * other / Z**2, seen**2)
    none = at_value < 1e-18 * (at_end + at_other)
    x = np.divide(moved, reach, out=np.zeros_like(moved), where=reach > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = ((at_end - at_value) / reach + (at_other - at_value) / other) / (reach + other)
        curve = at_value + moved * ((at_end - at_value) / reach - bend * reach) + bend * moved**2
    line = at_value + (at_end - at_value) * x
    bound = at_end * x * (1 + Z * Z / count * (1 - x))
    inside = np.minimum(at_end, at_other)
    found = np.where(none, np.where(other > 0, inside, bound), np.where((reach > 0) & (other > 0), curve, line))
    return np.asarray(np.maximum(found, 0.0))


def correlation_of(sums: Sequence[Floats]) -> NDArray[np.float64]:
    """Correlation of estimates' errors from each one's influence values, summed within the same clusters.

    One with what does not vary, since nothing speaks against it and the mean's interval then is the widest.
    """
    table = np.stack(sums)
    return _scaled(table @ table.T, unknown=1.0)


def error_correlation(
    influences: Sequence[ArrayLike], clusters: Sequence[Sequence[Hashable | None] | None]
) -> NDArray[np.float64]:
    """Correlation of the errors of tasks whose docs are the same questions, in several languages for example.

    Errors of two tasks go together where docs of both share a cluster: Cov = Σ_c (Σ_{i∈c} ψ_i/n)_a (Σ_{i∈c} ψ_i/n)_b
    (Miller, "Adding Error Bars to Evals", arXiv 2411.00640, with clusters across tasks). Exactly the identity for tasks
    that share none.

    Args:
        influences: of each task, each doc's influence on the task's score.
        clusters: of each task, the name of each doc's cluster, the same name for parallel docs of several tasks; None
            for a doc of its own, or for a task whose docs are all of their own.

    Returns:
        Shape (tasks, tasks), ones on the diagonal.
    """
    from scipy.sparse import csr_array

    columns: dict[Hashable, int] = {}
    rows, places, sums, variances = [], [], [], []
    for task, (influence, names) in enumerate(zip(influences, clusters, strict=True)):
        psi = np.asarray(influence, dtype=np.float64) / max(1, np.asarray(influence).size)
        which = cluster_index(names, psi.size)
        variances.append(float(np.sum((psi if which is None else np.bincount(which, weights=psi)) ** 2)))
        named = [] if names is None else [i for i, name in enumerate(names) if name is not None]
        rows += [task] * len(named)
        places += [columns.setdefault(names[i], len(columns)) for i in named] if names is not None else []
        sums.append(psi[named])
    table = csr_array((np.concatenate(sums), (rows, places)), shape=(len(variances), max(1, len(columns))))
    shared = np.asarray((table @ table.T).todense(), dtype=np.float64)
    np.fill_diagonal(shared, variances)
    return _scaled(shared)


def _scaled(covariance: Floats, unknown: float = 0.0) -> NDArray[np.float64]:
    """Correlations of a covariance matrix; `unknown` with what does not vary."""
    error = np.sqrt(np.diagonal(covariance))
    product = np.outer(error, error)
    found = np.divide(covariance, product, out=np.full_like(covariance, unknown), where=product > 0)
    np.fill_diagonal(found, 1.0)
    return found.clip(-1, 1)

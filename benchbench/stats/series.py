"""Scores of one task over the checkpoints of a run, on the same items: values, errors, and what they are good for."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.difference import Difference, satterthwaite
from benchbench.stats.influence import Estimate, Floats, mean, unseen_variance
from benchbench.stats.intervals import cluster_index, standard_error


@dataclass(frozen=True, slots=True)
class Series:
    """Checkpoints in order of training. Values are turned so that higher is better."""

    steps: tuple[int, ...]
    values: Floats
    """Shape (checkpoints,)."""
    covariance: Floats
    """Shape (checkpoints, checkpoints): of the values, from the sampling of items."""
    degrees: int
    """Degrees of freedom behind the covariance: independent items or clusters, less one."""
    n: int
    n_clusters: int | None
    """None where no two items share a cluster."""
    scale: float = 1.0
    """The metric's range, or the size of its values where it has none: the unit of checkpoint noise."""
    right: NDArray[np.bool_] | None = None
    """Shape (items,): which the last checkpoint got right, for scores that are right or wrong, without clusters."""
    paired: bool = True
    """Errors of neighbouring checkpoints hang together because they answered the same items."""
    pulls: Floats | None = None
    """Shape (checkpoints, units): how each independent item or cluster pulls the value, scaled so that their products
    summed are the covariance; None where only standard errors are known."""
    units: tuple[Hashable | None, ...] | None = None
    """Name of each unit: tasks whose docs are the same questions share names. None: nothing else has it."""

    def contrast(self, weights: ArrayLike) -> Difference:
        """Σ w_t θ_t with its standard error, noise between checkpoints aside."""
        w = np.asarray(weights, dtype=np.float64)
        value = float(w @ self.values)
        error = None if self.degrees < 1 else math.sqrt(max(0.0, float(w @ self.covariance @ w)))
        return Difference(value, value, error, self.degrees)


def log_steps(steps: Sequence[int]) -> Floats:
    """Natural logarithms of the steps; steps that begin at 0 are taken as step + 1."""
    x = np.asarray(steps, dtype=np.float64)
    return np.asarray(np.log(x if x[0] > 0 else x - x[0] + 1), dtype=np.float64)


def series_of_items(
    steps: Sequence[int],
    items: Sequence[ArrayLike],
    clusters: Sequence[Hashable | None] | NDArray[np.generic] | None = None,
    *,
    higher_is_better: bool = True,
    paired: bool = True,
    scale: float | None = None,
) -> Series:
    """The series of means of item scores.

    Args:
        steps: strictly increasing.
        items: one vector per checkpoint, shape (items,), the same items in the same order. Items that are NaN at
            any checkpoint are left out at all.
        clusters: name of each item's cluster, None for an item of its own.
        paired: False where the checkpoints answered different items; then only the lengths may differ.
        scale: the metric's range; None: 1 where all scores lie from 0 to 1, else the size of its values.
    """
    _check_steps(steps, len(items))
    rows = [np.asarray(row, dtype=np.float64) for row in items]
    unit = _scale(np.concatenate([row.ravel() for row in rows])) if scale is None else scale
    if not paired:
        return _unpaired(steps, rows, higher_is_better, unit)
    if len({row.shape for row in rows}) > 1 or any(row.ndim != 1 for row in rows):
        raise ValueError(f"pairs need the same items at every checkpoint, not shapes {[row.shape for row in rows]}")
    table = np.stack(rows)
    kept: NDArray[np.bool_] = ~np.any(np.isnan(table), axis=0)
    if not kept.any():
        raise ValueError("no item has a score at every checkpoint")
    names = None if clusters is None else [name for name, keep in zip(clusters, kept.tolist(), strict=True) if keep]
    table = table[:, kept]
    estimates = [mean(row) for row in table]
    found = series_of_estimates(steps, estimates, names, higher_is_better=higher_is_better, scale=unit)
    if found.n_clusters is not None or not bool(((table == 0) | (table == 1)).all()):
        return found
    return replace(found, right=table[-1] == (1 if higher_is_better else 0))


def series_of_estimates(
    steps: Sequence[int],
    estimates: Sequence[Estimate],
    clusters: Sequence[Hashable | None] | None = None,
    *,
    higher_is_better: bool = True,
    scale: float | None = None,
) -> Series:
    """The series of any metric with influence values on the same items (corpus metrics, ratios)."""
    _check_steps(steps, len(estimates))
    sign = 1.0 if higher_is_better else -1.0
    values = np.array([estimate.value for estimate in estimates])
    unit = _scale(values) if scale is None else scale
    psi = np.stack([estimate.influence for estimate in estimates])
    n = psi.shape[1]
    which = cluster_index(clusters, n)
    sums, scores = _by_cluster(psi, which), _by_cluster(psi + values[:, None], which)
    count = sums.shape[1]
    pulls = sign * sums * (math.sqrt(count / (count - 1)) / n if count > 1 else math.nan)
    return Series(
        steps=tuple(map(int, steps)),
        values=sign * values,
        covariance=pulls @ pulls.T + _unseen(scores * count / n, unit) * np.eye(len(steps)),
        degrees=count - 1,
        n=n,
        n_clusters=None if which is None else count,
        scale=unit,
        pulls=pulls,
        units=None if clusters is None else _unit_names(list(clusters), which),
    )


def _unit_names(clusters: Sequence[Hashable | None], which: NDArray[np.intp] | None) -> tuple[Hashable | None, ...]:
    """Name of each independent unit, in order."""
    if which is None:
        return tuple(clusters)
    first = np.unique(which, return_index=True)[1]
    return tuple(clusters[i] for i in first)


def _by_cluster(rows: Floats, which: NDArray[np.intp] | None) -> Floats:
    """Sums per cluster, shape (checkpoints, clusters)."""
    return rows if which is None else np.stack([np.bincount(which, weights=row) for row in rows])


def _unseen(scores: Floats, scale: float) -> float:
    """Variance that the docs seen may hide of one checkpoint: half of that of the difference of two neighbours."""
    if len(scores) < 2:
        return 0.0
    return unseen_variance((scores[1:] - scores[:-1]).ravel(), scale, units=scores.shape[1]) / 2


def _scale(values: Floats) -> float:
    """1 for scores from 0 to 1, else the root of the mean square; 1 where all are 0."""
    known = values[~np.isnan(values)]
    if known.size == 0 or bool(((known >= 0) & (known <= 1)).all()):
        return 1.0
    return math.sqrt(float(known @ known) / known.size) or 1.0


def series_of_scores(
    steps: Sequence[int],
    values: Sequence[float],
    stderrs: Sequence[float],
    n: int,
    *,
    higher_is_better: bool = True,
    scale: float | None = None,
) -> Series:
    """The series of scores of which only standard errors are known, such as published tables.

    Taken as independent, which overstates the error of a gain where the items were the same.

    Args:
        n: items behind each score.
    """
    _check_steps(steps, len(values))
    x = np.asarray(values, dtype=np.float64)
    unit = _scale(x) if scale is None else scale
    variances = np.asarray(stderrs, dtype=np.float64) ** 2 + (unit / (n + 2)) ** 2
    turned = x if higher_is_better else -x
    return Series(tuple(map(int, steps)), turned, np.diag(variances), n - 1, n, None, unit, paired=False)


def series_of_tasks(
    members: Sequence[Series],
    weights: Sequence[float] | None = None,
    *,
    ranges: Sequence[tuple[float, float]] | None = None,
) -> Series:
    """The series of a suite: the weighted mean of its tasks, at the same checkpoints.

    Docs of different tasks are independent but for units of the same name: the same question in several languages is
    one cluster across tasks.

    Args:
        weights: scaled to sum 1; equal where None.
        ranges: (floor, ceiling) of each task's scores, which become 0 and 1; for metrics of which higher is better.
    """
    if not members or any(member.steps != members[0].steps for member in members):
        raise ValueError("a suite needs at least one task, and every task the same checkpoints")
    raw = np.ones(len(members)) if weights is None else np.asarray(weights, dtype=np.float64)
    bounds = [(0.0, 1.0)] * len(members) if ranges is None else list(ranges)
    w = raw / raw.sum() / np.array([high - low for low, high in bounds])
    last = [float(k**2 * member.covariance[-1, -1]) for k, member in zip(w, members, strict=True)]
    degrees = satterthwaite(last, [max(1, member.degrees) for member in members])
    shared = _shared(members, w)
    return Series(
        steps=members[0].steps,
        values=np.asarray(sum(k * (m.values - low) for k, m, (low, _) in zip(w, members, bounds, strict=True))),
        covariance=np.asarray(sum(k**2 * m.covariance for k, m in zip(w, members, strict=True))) + shared.covariance,
        degrees=int(min(degrees, shared.units - 1)),
        n=sum(member.n for member in members),
        n_clusters=None if shared.units == sum(member.n for member in members) else shared.units,
        scale=float(w @ [member.scale for member in members]),
        paired=all(member.paired for member in members),
    )


class _Shared(NamedTuple):
    """What tasks of which docs are the same questions add to the variance of their mean."""

    covariance: Floats
    """Shape (checkpoints, checkpoints): of pairs of different tasks."""
    units: int
    """Independent units in all tasks together."""


def _shared(members: Sequence[Series], weights: Floats) -> _Shared:
    count = len(members[0].steps)
    total = sum(member.degrees + 1 for member in members)
    known = [(k * m.pulls, m.units) for k, m in zip(weights, members, strict=True) if m.pulls is not None and m.units]
    names: dict[Hashable, int] = {}
    for _, units in known:
        for name in units:
            if name is not None:
                names.setdefault(name, len(names))
    sums, alone, named = np.zeros((count, len(names))), np.zeros((count, count)), 0
    for pulls, units in known:
        own = [i for i, name in enumerate(units) if name is not None]
        named += len(own)
        np.add.at(sums.T, np.array([names[units[i]] for i in own], dtype=np.intp), pulls[:, own].T)
        alone += pulls[:, own] @ pulls[:, own].T
    return _Shared(sums @ sums.T - alone, total - named + len(names))


def _unpaired(steps: Sequence[int], rows: Sequence[Floats], higher_is_better: bool, scale: float) -> Series:
    known = [row[~np.isnan(row)] for row in rows]
    least = min(row.size for row in known)
    if least == 0:
        raise ValueError("a checkpoint has no scored item")
    errors = [standard_error(mean(row).influence) or 0.0 for row in known]
    means = [float(row.mean()) for row in known]
    return series_of_scores(steps, means, errors, least, higher_is_better=higher_is_better, scale=scale)


def _check_steps(steps: Sequence[int], count: int) -> None:
    if len(steps) != count or count == 0:
        raise ValueError(f"{len(steps)} steps for {count} checkpoints")
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise ValueError(f"steps must increase strictly, not {list(steps)}")


SMOOTHED = 5
"""How many last checkpoints the noise of a curve is read from."""


@dataclass(frozen=True, slots=True)
class TaskSignal:
    """Figures of one task on one run's checkpoints. None: not defined for this curve."""

    monotonicity: float | None
    """Spearman's correlation of step and score, −1 to 1; 0.5 and more is usable (FineTasks)."""
    mann_kendall_p: float | None
    """Two-sided p that the curve has no trend, checkpoints taken as independent; None with fewer than five."""
    signal_to_noise: float | None
    """Spread of this run's scores over the spread of its last checkpoints."""
    above_chance_p: float | None
    """One-sided p that the last checkpoint guesses; None where chance is not known."""
    isotonic: tuple[float, ...]
    """The best never-falling curve through the scores, for display."""


class MannKendall(NamedTuple):
    """Mann–Kendall trend test."""

    s: float
    variance: float
    z: float
    p: float


def mann_kendall(scores: ArrayLike) -> MannKendall:
    """Two-sided test of a monotone trend in independent points, in order; normal approximation with ties.

    Source: Mann, Econometrica 13 (1945); Kendall, "Rank Correlation Methods" (1975).
    """
    from scipy.special import ndtr

    x = np.asarray(scores, dtype=np.float64)
    n = x.size
    s = float(sum(np.sign(b - a) for a, b in combinations(x.tolist(), 2)))
    ties = np.unique(x, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = 0.0 if s == 0 or variance == 0 else (s - math.copysign(1, s)) / math.sqrt(variance)
    return MannKendall(s, variance, z, float(2 * ndtr(-abs(z))))


def signal_to_noise(scores: ArrayLike, late: ArrayLike) -> float | None:
    """(max − min) / mean of `scores`, over sd / mean of the `late` checkpoints (ddof 0); None if those do not move.

    Source: "Signal and Noise", arXiv 2508.13144; there `scores` are those of several models.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(late, dtype=np.float64)
    noise = float(y.std())
    if noise == 0 or x.mean() == 0:
        return None
    return abs(float((x.max() - x.min()) / x.mean() * y.mean())) / noise


def above_chance(series: Series, chance: float, *, higher_is_better: bool = True) -> float | None:
    """One-sided p that the last checkpoint is no better than `chance`: exact binomial for right and wrong."""
    from scipy.special import bdtrc

    if series.right is not None and higher_is_better:
        successes = int(series.right.sum())
        return 1.0 if successes == 0 else float(bdtrc(successes - 1, series.n, chance))
    last = np.zeros(len(series.steps))
    last[-1] = 1.0
    return series.contrast(last).p_above(chance if higher_is_better else -chance)


def task_signal(series: Series, chance: float | None = None, *, higher_is_better: bool = True) -> TaskSignal:
    """All figures of a curve."""
    from scipy.optimize import isotonic_regression
    from scipy.stats import spearmanr

    values, count = series.values, len(series.steps)
    moves = count > 2 and float(np.ptp(values)) > 0
    curve = isotonic_regression(values).x
    return TaskSignal(
        monotonicity=round(float(spearmanr(series.steps, values).statistic), 12) if moves else None,
        mann_kendall_p=mann_kendall(values).p if count > 4 else None,
        signal_to_noise=signal_to_noise(values, values[-SMOOTHED:]) if count > 2 else None,
        above_chance_p=None if chance is None else above_chance(series, chance, higher_is_better=higher_is_better),
        isotonic=tuple(float(v) if higher_is_better else -float(v) for v in curve),
    )

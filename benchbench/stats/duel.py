"""Two models on the same items: who is better, by how much, and what could have been shown.

| items | p | interval |
|---|---|---|
| right or wrong, no clusters | exact McNemar | Bonett–Price |
| other scores, clusters, influence values of corpus metrics | Student's t, with and without its skewness | of both |
| the same, of fewer than 40 units' worth (`units`) | beside, flipped signs | of all three |

A claim has to hold by every test of its row: p is the largest of their p-values, and the interval holds all their
intervals, so that it excludes 0 where p is below 0.05 and nowhere else. Few items that hardly differ prove nothing:
what they leave unseen is counted in (`unseen`).
Duels are antisymmetric: duel(a, b) is duel(b, a) with the sign turned, and duel(a, a) has p 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.difference import Difference, sum_of_differences
from benchbench.stats.evidence import Evidence, of_difference, of_pairs, of_units
from benchbench.stats.influence import Estimate, Floats, mean
from benchbench.stats.intervals import Interval, cluster_index
from benchbench.stats.testing import ALPHA, detectable
from benchbench.stats.units import (
    Units,
    default_scale,
    gather,
    least_moves,
    size_of,
    units_of_estimates,
    units_of_means,
    without_rounding,
)

SEED = 0
"""Of flipped signs, where tasks that share questions have few units."""

Outcome = Literal["better", "worse", "equivalent", "undecided"]
Method = Literal["mcnemar", "paired t", "clustered t", "sign flip", "clustered sign flip", "mean of tasks", "none"]
TaskInfluence = tuple[ArrayLike, Sequence[Hashable | None] | None]
"""Influence of a task's docs on the difference, shape (docs,), and the docs' cluster names."""


@dataclass(frozen=True, slots=True)
class Duel:
    """b against a on the items that both have."""

    n: int
    n_clusters: int | None
    """Number of clusters, None where no two items share one."""
    score_a: float
    score_b: float
    evidence: Evidence
    method: Method
    wins: int | None
    """Items on which b does better than a; right and wrong: wrong → right. None for corpus metrics."""
    losses: int | None
    """Items on which b does worse than a; right → wrong."""
    higher_is_better: bool
    delta: float | None
    """Margin of equivalence in the metric's own unit, None if none was given."""
    scale: float
    """The metric's range, or the size of its values: how much one item can differ at most."""

    @property
    def difference(self) -> Difference:
        """b − a, in the metric's own unit."""
        return self.evidence.difference

    @property
    def p(self) -> float | None:
        """Two-sided; None with fewer than two independent items."""
        return self.evidence.p

    @property
    def interval(self) -> Interval | None:
        """95 % interval of b − a, None without a standard error. Excludes 0 where p < 0.05, and nowhere else."""
        return self.evidence.interval

    @property
    def equivalence_p(self) -> float | None:
        """p of the two one-sided tests against `delta`, None without one."""
        return self.evidence.equivalence_p

    @property
    def detectable(self) -> float | None:
        """Smallest true difference that would have been found with 80 % power; None where none would."""
        return self.evidence.detectable

    @property
    def reason(self) -> str | None:
        """Why there is no p."""
        return self.evidence.reason

    @property
    def flips(self) -> float | None:
        """Share of items on which the two differ."""
        return None if self.wins is None or self.losses is None else (self.wins + self.losses) / self.n

    def outcome(self, p: float | None = None) -> Outcome:
        """What can be said of b against a; `p` is an adjusted p-value, by default the duel's own.

        A difference that is significant counts as one even where it is surely smaller than delta.
        """
        shown = self.p if p is None else p
        if shown is not None and shown < ALPHA:
            return "better" if (self.difference.value > 0) == self.higher_is_better else "worse"
        if self.equivalence_p is not None and self.equivalence_p < ALPHA:
            return "equivalent"
        return "undecided"


def duel(
    a: ArrayLike,
    b: ArrayLike,
    clusters: Sequence[Hashable | None] | None = None,
    *,
    seed: int,
    delta: float | None = None,
    higher_is_better: bool = True,
    scale: float | None = None,
) -> Duel:
    """Duel of two means of item scores.

    Args:
        a, b: shape (items,), the same items in the same order, no NaN.
        clusters: name of the passage or source that items share; None for an item of its own.
        seed: for flipped signs, which are drawn where there are more than 12 units.
        delta: margin within which two models count as equivalent.
        scale: the metric's range; None: 1 where all scores lie in [0, 1], else the size of the largest.
    """
    x, y = _scores(a), _scores(b)
    if x.size != y.size:
        raise ValueError(f"pairs need the same items: {x.size} against {y.size}")
    gaps = without_rounding(y - x, size_of(x, y))
    rises, falls = int((gaps > 0).sum()), int((gaps < 0).sum())
    which = cluster_index(clusters, x.size)
    widest = default_scale(x, y) if scale is None else scale
    is_binary = _is_binary(x) and _is_binary(y)
    if which is None and is_binary:
        found = of_pairs(rises, falls, x.size, delta=delta)
        method: Method = "mcnemar"
    else:
        units = units_of_means(gaps[None, :], which, np.array([widest]), np.array([size_of(x, y)]))
        found = of_units(replace(units, right_or_wrong=is_binary), delta=delta, seed=seed)
        method = _method(found, units, which)
    return Duel(
        n=x.size,
        n_clusters=_count(which),
        score_a=mean(x).value,
        score_b=mean(y).value,
        evidence=found,
        method=method,
        wins=rises if higher_is_better else falls,
        losses=falls if higher_is_better else rises,
        higher_is_better=higher_is_better,
        delta=delta,
        scale=widest,
    )


def duel_of_estimates(  # noqa: PLR0913 - what is known of a metric is more than of a mean
    a: Estimate,
    b: Estimate,
    clusters: Sequence[Hashable | None] | None = None,
    *,
    delta: float | None = None,
    higher_is_better: bool = True,
    scale: float | None = None,
    weights: ArrayLike | None = None,
    seed: int = 0,
) -> Duel:
    """Duel of two corpus metrics by the influence values of the same items.

    Args:
        weights: shape (items,), positive: what a ratio of sums has in its denominator (an item's bytes, its words),
            all ones for metrics in which items count alike. None: read from the influence values (`read_weights`),
            which is as sure where items are alike, and less so where few long ones are most of the whole.
        scale: the metric's range; None: 1 where both values lie in [0, 1], else the size of the larger.
        seed: for flipped signs.
    """
    if a.influence.shape != b.influence.shape:
        raise ValueError(f"pairs need the same items: {a.influence.size} against {b.influence.size}")
    which = cluster_index(clusters, a.influence.size)
    values = np.array([a.value, b.value])
    widest = default_scale(values) if scale is None else scale
    units = units_of_estimates(
        (a.influence[None, :], b.influence[None, :]), values[1:] - values[:1], which, np.array([widest]), weights
    )
    found = of_units(units, delta=delta, seed=seed)
    return Duel(
        n=a.influence.size,
        n_clusters=_count(which),
        score_a=a.value,
        score_b=b.value,
        evidence=found,
        method=_method(found, units, which),
        wins=None,
        losses=None,
        higher_is_better=higher_is_better,
        delta=delta,
        scale=widest,
    )


def duel_of_tasks(
    duels: Sequence[Duel],
    weights: Sequence[float] | None = None,
    *,
    ranges: Sequence[tuple[float, float]] | None = None,
    parallel: Sequence[TaskInfluence] | None = None,
    delta: float | None = None,
    higher_is_better: bool = True,
) -> Duel:
    """b against a on the weighted mean of several tasks.

    As if the tasks were independent, SE² = Σ w² SE², unless `parallel` says which of their docs are the same question.

    Args:
        duels: one per task, of the same two models.
        weights: scaled to sum 1; equal where None.
        ranges: (floor, ceiling) of each task's scores, which become 0 and 1; not clipped, so that a model below
            chance stays visible. None: scores as they are.
        parallel: per task, the influence of its docs on the difference and their cluster names. Docs that share a name
            are one unit, whatever their tasks: the same question in several languages.
    """
    if not duels:
        raise ValueError("a mean of tasks needs at least one task")
    scale = np.ones(len(duels)) if ranges is None else np.array([1 / (high - low) for low, high in ranges])
    floors = [0.0] * len(duels) if ranges is None else [low for low, _ in ranges]
    w = _weights(weights, len(duels)) * scale
    widest = math.fsum(k * d.scale for k, d in zip(w, duels, strict=True))
    if parallel is None:
        found = _sum_of_tasks(duels, w, delta)
    else:
        value = math.fsum(k * d.difference.value for k, d in zip(w, duels, strict=True))
        found = of_units(_shared_units(value, parallel, w, widest), delta=delta, seed=SEED)
    return Duel(
        n=sum(d.n for d in duels),
        n_clusters=None,
        score_a=math.fsum(k * (d.score_a - low) for k, d, low in zip(w, duels, floors, strict=True)),
        score_b=math.fsum(k * (d.score_b - low) for k, d, low in zip(w, duels, floors, strict=True)),
        evidence=found,
        method="none" if found.p is None else "mean of tasks",
        wins=None,
        losses=None,
        higher_is_better=higher_is_better,
        delta=delta,
        scale=widest,
    )


def _sum_of_tasks(duels: Sequence[Duel], weights: Floats, delta: float | None) -> Evidence:
    total = sum_of_differences([d.difference for d in duels], weights)
    one_more = math.hypot(*(k * d.evidence.one_more for k, d in zip(weights, duels, strict=True)))
    least = None if total.error is None else detectable(total.error, degrees=total.degrees)
    return of_difference(total, one_more, delta=delta, detectable=least)


def _shared_units(value: float, parallel: Sequence[TaskInfluence], weights: Floats, scale: float) -> Units:
    """Units of the mean of tasks: each question's pull through all the tasks that ask it."""
    influences = [np.asarray(psi, dtype=np.float64) for psi, _ in parallel]
    total = sum(psi.size for psi in influences)
    shares = [np.full(psi.size, k * total / psi.size) for k, psi in zip(weights, influences, strict=True)]
    names = [name for psi, labels in parallel for name in (labels or [None] * np.asarray(psi).size)]
    which = cluster_index(names, total)
    pulls = np.concatenate([k * psi for k, psi in zip(shares, influences, strict=True)])
    return Units(
        values=np.array([value]),
        pulls=gather(pulls[None, :], which),
        weights=gather(np.concatenate(shares)[None, :] / float(weights.sum()), which),
        scales=np.array([scale]),
        least=least_moves(np.array([scale]), np.array([float(np.abs(pulls).max())])),
    )


def _weights(weights: Sequence[float] | None, count: int) -> Floats:
    raw = np.ones(count) if weights is None else np.asarray(weights, dtype=np.float64)
    return np.asarray(raw / raw.sum(), dtype=np.float64)


def _scores(values: ArrayLike) -> Floats:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or bool(np.isnan(x).any()):
        raise ValueError("item scores must be a non-empty vector without NaN")
    return x


def _is_binary(x: Floats) -> bool:
    return bool(((x == 0) | (x == 1)).all())


def _method(found: Evidence, units: Units, which: NDArray[np.intp] | None) -> Method:
    if found.p is None:
        return "none"
    if units.are_few[0]:
        return "sign flip" if which is None else "clustered sign flip"
    return "paired t" if which is None else "clustered t"


def _count(which: NDArray[np.intp] | None) -> int | None:
    return None if which is None else int(which.max()) + 1

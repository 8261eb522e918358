"""Two models on the same items: who is better, by how much, and what could have been shown.

| items | p | interval |
|---|---|---|
| right or wrong, no clusters | exact McNemar | Bonett–Price |
| other scores, or clusters | paired t on cluster sums; sign flips below 40 clusters | the same t |
| corpus metrics (influence values) | paired t | the same t |

Duels are antisymmetric: duel(a, b) is duel(b, a) with the sign turned, and duel(a, a) has p 1.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.difference import Difference, matched_pairs, paired_difference, satterthwaite
from benchbench.stats.influence import Estimate, Floats, mean
from benchbench.stats.intervals import Interval, cluster_index, cluster_sums
from benchbench.stats.pairs import mcnemar, sign_flip
from benchbench.stats.power import ALPHA, detectable

FEW_CLUSTERS = 40
"""Below this many independent values Student's t is not trusted and signs are flipped instead."""

Outcome = Literal["better", "worse", "equivalent", "undecided"]
Method = Literal["mcnemar", "paired t", "clustered t", "sign flip", "clustered sign flip", "mean of tasks", "none"]


@dataclass(frozen=True, slots=True)
class Duel:
    """b against a on the items that both have."""

    n: int
    n_clusters: int | None
    """Number of clusters, None where no two items share one."""
    score_a: float
    score_b: float
    difference: Difference
    """b − a, in the metric's own unit."""
    p: float | None
    """Two-sided; None with fewer than two independent items."""
    method: Method
    wins: int | None
    """Items on which b does better than a; right and wrong: wrong → right. None for corpus metrics."""
    losses: int | None
    """Items on which b does worse than a; right → wrong."""
    higher_is_better: bool
    delta: float | None
    """Margin of equivalence in the metric's own unit, None if none was given."""
    detectable: float | None
    """Smallest true difference that would have been found with 80 % power."""

    @property
    def interval(self) -> Interval | None:
        """95 % interval of b − a, None without a standard error."""
        found = self.difference.interval()
        if self.method != "mcnemar" or found is None:
            return found
        return Interval(max(-1.0, found.low), min(1.0, found.high))

    @property
    def equivalence_p(self) -> float | None:
        """p of the two one-sided tests against `delta`, None without one."""
        return None if self.delta is None else self.difference.equivalence_p(self.delta)

    @property
    def flips(self) -> float | None:
        """Share of items on which the two differ."""
        return None if self.wins is None or self.losses is None else (self.wins + self.losses) / self.n

    def outcome(self, p: float | None = None, *, alpha: float = ALPHA) -> Outcome:
        """What can be said of b against a; `p` is an adjusted p-value, by default the duel's own.

        A difference that is significant counts as one even where it is surely smaller than delta.
        """
        shown = self.p if p is None else p
        if shown is not None and shown < alpha:
            return "better" if (self.difference.value > 0) == self.higher_is_better else "worse"
        if self.equivalence_p is not None and self.equivalence_p < alpha:
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
) -> Duel:
    """Duel of two means of item scores.

    Args:
        a, b: shape (items,), the same items in the same order, no NaN.
        clusters: name of the passage or source that items share; None for an item of its own.
        seed: for sign flips, used where there are 13 to 39 independent values.
        delta: margin within which two models count as equivalent.
    """
    x, y = _scores(a), _scores(b)
    if x.size != y.size:
        raise ValueError(f"pairs need the same items: {x.size} against {y.size}")
    rises, falls = int((y > x).sum()), int((y < x).sum())
    shared = cluster_index(clusters, x.size)
    before, after = mean(x), mean(y)
    p: float | None
    method: Method
    if shared is None and _is_binary(x) and _is_binary(y):
        found, p, method = matched_pairs(rises, falls, x.size), mcnemar(rises, falls), "mcnemar"
    else:
        found = paired_difference(before, after, clusters)
        p, method = _mean_p(found, cluster_sums(y - x, clusters), seed, clustered=shared is not None)
    return Duel(
        n=x.size,
        n_clusters=_count(shared),
        score_a=before.value,
        score_b=after.value,
        difference=found,
        p=p,
        method=method,
        wins=rises if higher_is_better else falls,
        losses=falls if higher_is_better else rises,
        higher_is_better=higher_is_better,
        delta=delta,
        detectable=_detectable(_null_error(y - x, clusters, binary=method == "mcnemar")),
    )


def duel_of_estimates(
    a: Estimate,
    b: Estimate,
    clusters: Sequence[Hashable | None] | None = None,
    *,
    delta: float | None = None,
    higher_is_better: bool = True,
) -> Duel:
    """Duel of two corpus metrics by the influence values of the same items."""
    found = paired_difference(a, b, clusters)
    shared = cluster_index(clusters, a.influence.size)
    return Duel(
        n=a.influence.size,
        n_clusters=_count(shared),
        score_a=a.value,
        score_b=b.value,
        difference=found,
        p=_degenerate_p(found, a.influence.size) if found.stderr == 0 else found.p_two_sided(),
        method="none" if found.stderr is None else "paired t" if shared is None else "clustered t",
        wins=None,
        losses=None,
        higher_is_better=higher_is_better,
        delta=delta,
        detectable=_detectable(found.stderr),
    )


def duel_of_tasks(
    duels: Sequence[Duel],
    weights: Sequence[float] | None = None,
    *,
    ranges: Sequence[tuple[float, float]] | None = None,
    delta: float | None = None,
    higher_is_better: bool = True,
) -> Duel:
    """b against a on the weighted mean of several tasks, as if the tasks were independent: SE² = Σ w² SE².

    Args:
        duels: one per task, of the same two models.
        weights: scaled to sum 1; equal where None.
        ranges: (floor, ceiling) of each task's scores, which become 0 and 1; not clipped, so that a model below
            chance stays visible. None: scores as they are.
    """
    if not duels:
        raise ValueError("a mean of tasks needs at least one task")
    scale = np.ones(len(duels)) if ranges is None else np.array([1 / (high - low) for low, high in ranges])
    floors = [0.0] * len(duels) if ranges is None else [low for low, _ in ranges]
    w = _weights(weights, len(duels)) * scale
    found = _sum_of_differences([d.difference for d in duels], w)
    return Duel(
        n=sum(d.n for d in duels),
        n_clusters=None,
        score_a=math.fsum(k * (d.score_a - low) for k, d, low in zip(w, duels, floors, strict=True)),
        score_b=math.fsum(k * (d.score_b - low) for k, d, low in zip(w, duels, floors, strict=True)),
        difference=found,
        p=found.p_two_sided(),
        method="none" if found.stderr is None else "mean of tasks",
        wins=None,
        losses=None,
        higher_is_better=higher_is_better,
        delta=delta,
        detectable=_detectable(found.stderr),
    )


def _sum_of_differences(differences: Sequence[Difference], weights: Floats) -> Difference:
    value = math.fsum(k * d.value for k, d in zip(weights, differences, strict=True))
    centre = math.fsum(k * d.centre for k, d in zip(weights, differences, strict=True))
    errors = [d.stderr for d in differences if d.stderr is not None]
    if len(errors) < len(differences):
        return Difference(value, centre, None, 0)
    variances = [(k * error) ** 2 for k, error in zip(weights, errors, strict=True)]
    degrees = satterthwaite(variances, [d.degrees for d in differences])
    return Difference(value, centre, math.sqrt(math.fsum(variances)), degrees)


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


def _mean_p(found: Difference, sums: Floats, seed: int, *, clustered: bool) -> tuple[float | None, Method]:
    if found.stderr is None:
        return None, "none"
    if sums.size < FEW_CLUSTERS or found.stderr == 0:
        flipped = _degenerate_p(found, sums.size) if found.stderr == 0 else sign_flip(sums, seed=seed)
        return flipped, "clustered sign flip" if clustered else "sign flip"
    return found.p_two_sided(), "clustered t" if clustered else "paired t"


def _degenerate_p(found: Difference, count: int) -> float:
    """All items pull alike, and t has no scale: of the 2^C sign patterns two are as extreme."""
    return 1.0 if found.value == 0 else 2.0 ** (1 - count)


def _null_error(differences: Floats, clusters: Sequence[Hashable | None] | None, *, binary: bool) -> float | None:
    """Standard error if the true difference were 0: for right and wrong √(d/n), with one item added to each cell."""
    if binary:
        return math.sqrt(np.count_nonzero(differences) + 2) / (differences.size + 2)
    sums = cluster_sums(differences, clusters)
    return None if sums.size < 2 else math.sqrt(math.fsum(sums * sums)) / differences.size


def _detectable(stderr: float | None) -> float | None:
    return None if stderr is None else detectable(stderr)


def _count(shared: NDArray[np.intp] | None) -> int | None:
    return None if shared is None else int(shared.max()) + 1

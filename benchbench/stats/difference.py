"""The difference of two estimates, with its error: what every comparison of models or checkpoints rests on.

Paired: both estimates come from the same items, so the influence values are subtracted item by item and
what both find hard cancels. Source: Miller, "Adding Error Bars to Evals", arXiv 2411.00640, §4.

`Reach`: what docs that failed could have done to a score or to a difference, from as bad to as good as possible. No
model of why they failed is needed. Source: Manski, "Nonparametric bounds on treatment effects", American Economic
Review 80 (1990).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Estimate, Floats, ends, surely_above, tail
from benchbench.stats.intervals import LEVEL, Interval, cluster_sums, standard_error, t_quantile


@dataclass(frozen=True, slots=True)
class Difference:
    """θ_b − θ_a."""

    value: float
    centre: float
    """Middle of the intervals: the value itself, or slightly nearer to 0 (Bonett–Price)."""
    stderr: float | None
    """None where it is undefined: fewer than two independent items."""
    degrees: float
    """Degrees of freedom of Student's t; infinite for the normal."""
    extra: float = 0.0
    """Variance beyond stderr² that tests and intervals count in: what few docs leave unseen, or unequal docs hide."""
    skewness: float = 0.0
    """Of the estimate: the sample skewness of its units over √units. Corrected for as `skew` says."""

    @property
    def error(self) -> float | None:
        """Standard error that tests and intervals use."""
        return None if self.stderr is None else math.sqrt(self.stderr**2 + self.extra)

    def interval(self, level: float = LEVEL) -> Interval | None:
        """Two-sided interval, or None without a standard error."""
        if self.error is None:
            return None
        low, high = ends(t_quantile(self.degrees, level), self.skewness)
        return Interval(self.centre - high * self.error, self.centre - low * self.error)

    def upper(self, level: float = LEVEL) -> float | None:
        """One-sided upper bound: above the true difference in `level` of cases."""
        found = self.interval(2 * level - 1)
        return None if found is None else found.high

    def p_above(self, margin: float = 0.0) -> float | None:
        """One-sided p of "the difference is at most `margin`"."""
        if self.error is None:
            return None
        if self.error == 0:
            return 0.0 if self.centre > margin else 1.0
        return float(tail(surely_above((self.centre - margin) / self.error, self.skewness), self.degrees))

    def p_two_sided(self) -> float | None:
        """Two-sided p of "there is no difference"; 1 where the difference and its error are both 0."""
        above, below = self.p_above(), (-self).p_above()
        return None if above is None or below is None else min(1.0, 2 * min(above, below))

    def equivalence_p(self, delta: float) -> float | None:
        """p of the two one-sided tests: small where the difference lies inside (−delta, delta).

        At 0.05 this is "the 90 % interval lies inside". Source: Schuirmann, J. Pharmacokinet. Biopharm. 15 (1987).
        """
        if not delta > 0:
            raise ValueError(f"the margin of equivalence must be positive, not {delta}")
        below, above = (-self).p_above(-delta), self.p_above(-delta)
        return None if below is None or above is None else max(below, above)

    def __neg__(self) -> Difference:
        return replace(self, value=-self.value, centre=-self.centre, skewness=-self.skewness)


def satterthwaite(variances: Sequence[float], degrees: Sequence[float]) -> float:
    """Effective degrees of freedom of a sum of independent variances; infinite where nothing was estimated.

    Source: Satterthwaite, Biometrics Bulletin 2 (1946).
    """
    parts = math.fsum(v**2 / df for v, df in zip(variances, degrees, strict=True) if not math.isinf(df))
    return math.inf if parts == 0 else math.fsum(variances) ** 2 / parts


def sum_of_differences(differences: Sequence[Difference], weights: ArrayLike) -> Difference:
    """Σ w·difference of independent differences, without an error where one has none.

    Third moments add up as variances do, so the skewness of the sum is Σ (w·SE)³·skewness / SE³.
    """
    w = np.asarray(weights, dtype=np.float64)
    value, centre = (float(w @ [getattr(d, name) for d in differences]) for name in ("value", "centre"))
    if any(d.stderr is None for d in differences):
        return Difference(value, centre, None, 0)
    plain = w**2 * [(d.stderr or 0.0) ** 2 for d in differences]
    extra = w**2 * [d.extra for d in differences]
    cubes = plain**1.5 * np.sign(w) * [d.skewness for d in differences]
    total = math.fsum(plain)
    return Difference(
        value,
        centre,
        math.sqrt(total),
        satterthwaite((plain + extra).tolist(), [d.degrees for d in differences]),
        math.fsum(extra),
        math.fsum(cubes) / total**1.5 if total > 0 else 0.0,
    )


def paired_difference(a: Estimate, b: Estimate, clusters: Sequence[Hashable | None] | None = None) -> Difference:
    """θ_b − θ_a from influence values of the same items in the same order, clustered where `clusters` says so."""
    if a.influence.shape != b.influence.shape:
        raise ValueError(f"pairs need the same items: {a.influence.size} against {b.influence.size}")
    value, psi = b.value - a.value, b.influence - a.influence
    return Difference(value, value, standard_error(psi, clusters), cluster_sums(psi, clusters).size - 1)


def matched_pairs(wins: int, losses: int, n: int) -> Difference:
    """Difference of two proportions on the same `n` items, of which b alone is right on `wins`, a alone on `losses`.

    The interval is Bonett & Price's, with one item added to each cell: honest also when few or no items
    differ. Source: Bonett & Price, "Adjusted Wald confidence interval for a difference of binomial
    proportions based on paired data", J. Educ. Behav. Stat. 37 (2012).
    """
    if wins < 0 or losses < 0 or wins + losses > n or n < 1:
        raise ValueError(f"{wins} wins and {losses} losses of {n} items")
    p12, p21 = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    centre = p12 - p21
    return Difference((wins - losses) / n, centre, math.sqrt((p12 + p21 - centre**2) / (n + 2)), math.inf)


@dataclass(frozen=True, slots=True)
class Reach:
    """A value of the docs that have one, and where it could lie if the others had one, too."""

    value: float
    low: float
    """If all docs that failed had been as bad as possible for it."""
    high: float
    missing: int
    """Docs that failed."""


def reach_of_difference(a: ArrayLike, b: ArrayLike, bounds: tuple[float, float]) -> Reach:
    """b − a on the items that both have, and its range over those that failed on one side, too.

    Items that failed on both sides are left out: they tell nothing of either.

    Args:
        a, b: item scores, shape (items,), the same items in the same order, NaN where an item failed.
        bounds: (lowest, highest) score that an item can have.

    Raises:
        ValueError: different items, no item with both scores, or a score outside the bounds.
    """
    x, y = _within(a, bounds), _within(b, bounds)
    if x.size != y.size:
        raise ValueError(f"pairs need the same items: {x.size} against {y.size}")
    tried = ~(np.isnan(x) & np.isnan(y))
    x, y = x[tried], y[tried]
    both = ~(np.isnan(x) | np.isnan(y))
    if not both.any():
        raise ValueError("no item has a score on both sides: there is no difference to bound")
    low, high = bounds
    worst = np.where(np.isnan(y), low, y) - np.where(np.isnan(x), high, x)
    best = np.where(np.isnan(y), high, y) - np.where(np.isnan(x), low, x)
    return Reach(_mean((y - x)[both]), _mean(worst), _mean(best), int((~both).sum()))


def _mean(x: Floats) -> float:
    return math.fsum(x) / x.size


def _within(scores: ArrayLike, bounds: tuple[float, float]) -> Floats:
    x = np.asarray(scores, dtype=np.float64)
    if x.ndim != 1 or not bounds[0] < bounds[1]:
        raise ValueError(f"scores are a vector and bounds rise, not shape {x.shape} and {bounds}")
    outside = x[(x < bounds[0]) | (x > bounds[1])]
    if outside.size:
        raise ValueError(f"a score of {outside[0]:g} lies outside the bounds {bounds[0]:g} to {bounds[1]:g}")
    return x

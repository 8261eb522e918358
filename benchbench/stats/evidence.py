"""What all tests of a difference grant together: the largest p, an interval that holds every test's interval.

Equivalence has to survive one more doc that differs. How much it would differ is read from the docs that do, and one of
the metric's whole range is counted among them: eight docs with equal scores are no proof, twenty thousand are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from benchbench.stats.difference import Difference, matched_pairs
from benchbench.stats.influence import ends
from benchbench.stats.intervals import LEVEL, Interval, t_quantile
from benchbench.stats.pairs import Flips, mcnemar
from benchbench.stats.power import ALPHA, detectable_pairs, t_sum
from benchbench.stats.units import Units, spread

ESTIMATED_SKEWNESS = 0.8
"""What removing a skewness that is not there costs: this share of the critical value, over the number of units."""


class Test(Protocol):
    """A test of a difference. `-test` is the test of the difference turned around."""

    def p_two_sided(self) -> float | None:
        """p of "there is no difference"."""
        ...

    def p_above(self, margin: float) -> float | None:
        """p of "the difference is at most `margin`"."""
        ...

    def interval(self, level: float) -> Interval | None:
        """All differences that the two-sided test does not reject."""
        ...

    def __neg__(self) -> Test: ...


@dataclass(frozen=True, slots=True)
class Evidence:
    """What can be said of a difference. None where nothing can; `reason` then says why."""

    difference: Difference
    """With all that a sum of differences needs to count in."""
    p: float | None
    """Two-sided."""
    interval: Interval | None
    """95 %. Excludes 0 where p is below 0.05, and nowhere else."""
    equivalence_p: float | None
    """p of the two one-sided tests against the margin; None without one."""
    detectable: float | None
    """Smallest true difference found with 80 % power; None where none is."""
    one_more: float
    """How far one more doc that differs may move the difference."""
    reason: str | None = None


def of_pairs(wins: int, losses: int, n: int, *, delta: float | None) -> Evidence:
    """From `n` docs, right or wrong: exact McNemar, and Bonett & Price's interval, which reaches 0 where p asks."""
    found, p, one_more = matched_pairs(wins, losses, n), mcnemar(wins, losses), 1 / (n + 2)
    whole = found.interval() or Interval(-1.0, 1.0)
    interval = _within(1.0, _agreeing(whole, p))
    return Evidence(
        found, p, interval, equivalence_p([found], delta, one_more), detectable_pairs(wins + losses, n), one_more
    )


def of_units(units: Units, *, delta: float | None, seed: int) -> Evidence:
    """From the one pair of `units`: Student's t with and without its skewness, and flipped signs of few units."""
    if units.count < 2:
        reason = "no standard error: the docs are fewer than two independent ones"
        return nothing(float(units.values[0]), reason)
    careful = difference_of(units, flipped=False)
    one_more, detectable = float(units.one_more[0]), _detectable(units, careful)
    if not units.are_few[0]:
        return of_difference(careful, one_more, delta=delta, detectable=detectable)
    own = difference_of(units)
    flips = Flips.of(units.sums[0], units.weights[0], seed=seed)
    p = max(own.p_two_sided() or 0.0, flips.p_two_sided())
    most = max(float(units.scales[0]), abs(own.value))
    interval = _within(most, _agreeing(_hull(own.interval(), flips.interval(LEVEL)), p))
    return Evidence(careful, p, interval, equivalence_p([own, flips], delta, one_more), detectable, one_more)


def of_difference(
    found: Difference, one_more: float, *, delta: float | None, detectable: float | None = None
) -> Evidence:
    """From a difference that has all in it."""
    if found.stderr is None:
        return nothing(found.value, "no standard error: a task has fewer than two independent docs")
    p, interval = found.p_two_sided(), found.interval()
    return Evidence(found, p, interval, equivalence_p([found], delta, one_more), detectable, one_more)


def nothing(value: float, reason: str) -> Evidence:
    """Where there is no test."""
    return Evidence(Difference(value, value, None, 0), None, None, None, None, math.inf, reason)


def equivalence_p(tests: Sequence[Test], delta: float | None, one_more: float) -> float | None:
    """Largest p of the two one-sided tests of "the difference lies outside ±delta", one more doc being left for."""
    if delta is None:
        return None
    if not delta > 0:
        raise ValueError(f"the margin of equivalence must be positive, not {delta}")
    margin = delta - one_more
    if margin <= 0:
        return 1.0
    sides = [side.p_above(-margin) for test in tests for side in (test, -test)]
    return max(1.0 if p is None else p for p in sides)


def difference_of(units: Units, *, flipped: bool = True) -> Difference:
    """The first pair's difference with its error; `flipped` as in `spread`."""
    found, value = spread(units, flipped=flipped), float(units.values[0])
    return Difference(
        value,
        value,
        math.sqrt(found.variance[0]),
        float(found.degrees[0]),
        float(found.extra[0]),
        float(found.skewness[0]),
    )


def _detectable(units: Units, found: Difference) -> float | None:
    """Smallest true difference found with 80 % power, in the direction that the skewness makes harder to see.

    Where all units differ, it moves them all. Where most do not, it is taken to turn the direction of docs that are
    right or wrong, until all that differ go one way and more have to; of other scores, to make more units differ, half
    of them by what it adds in one direction. The first makes the variance smaller, the second larger.
    """
    from scipy.optimize import brentq

    if units.are_few[0] and 0.5 ** (units.count - 1) >= ALPHA:
        return None
    still, n, typical = float(units.still[0]), units.count, float(units.typical()[0])
    degrees = n - 1.0 if units.known else found.degrees
    quantile = t_quantile(degrees)
    low, high = ends(quantile, found.skewness)
    symmetric = quantile * (1 + ESTIMATED_SKEWNESS / n)
    errors = (1 - still) * max(high, -low) + still * symmetric + t_sum(degrees) - quantile
    seen = (found.stderr or 0.0) ** 2 * n

    def missing(gap: float) -> float:
        turned = max(0.0, typical * gap - seen) - gap**2
        more = still * (turned if units.right_or_wrong else typical * gap / 2)
        return gap**2 - errors**2 * (max(0.0, seen + more) / n + found.extra)

    most = float(units.scales[0])
    return None if missing(most) < 0 else float(brentq(missing, 0.0, most, xtol=1e-9 * most, rtol=1e-6))


def _hull(first: Interval | None, second: Interval) -> Interval:
    """Both intervals, and what lies between them; an end that is unknown reaches 0."""
    low, high = (0.0 if math.isinf(end) else end for end in second)
    return Interval(low, high) if first is None else Interval(min(first.low, low), max(first.high, high))


def _agreeing(interval: Interval, p: float) -> Interval:
    return interval if p < ALPHA else Interval(min(0.0, interval.low), max(0.0, interval.high))


def _within(most: float, interval: Interval) -> Interval:
    """No difference is larger than the metric's range."""
    return Interval(max(-most, interval.low), min(most, interval.high))

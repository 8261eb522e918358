"""How sure a difference is: the exact tests of pairs, and what all tests of a difference grant together.

`mcnemar` for right and wrong and sign flips for any score need no large sample. `Evidence` holds the largest p of all
tests and an interval that holds the interval of each. Equivalence has to survive one more doc that differs. How much it
would differ is read from the docs that do, and one of the whole range of the metric is counted among them: eight docs
with equal scores are no proof, twenty thousand are one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.difference import Difference, matched_pairs
from benchbench.stats.influence import Floats, ends
from benchbench.stats.intervals import LEVEL, Interval, t_quantile
from benchbench.stats.testing import ALPHA, detectable_pairs, t_sum
from benchbench.stats.units import Units, spread

EXACT_FLIPS = 12
"""Up to this many values all 2^C sign patterns are tried."""
SLACK = 1e-12
"""Share of the sum of sizes that is rounding."""


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p that wins and losses are equally likely; 1 where no pair differs.

    Source: McNemar, Psychometrika 12 (1947); exact form: the sign test on the pairs that differ.
    """
    return min(1.0, 2 * min(mcnemar_above(wins, losses), mcnemar_above(losses, wins)))


def mcnemar_above(wins: int, losses: int) -> float:
    """Exact one-sided p of "wins are no more likely than losses"."""
    from scipy.special import bdtrc

    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses")
    return 1.0 if wins == 0 else float(bdtrc(wins - 1, wins + losses, 0.5))


def sign_flip(values: ArrayLike, *, seed: int, draws: int = 9999) -> float:
    """Two-sided p that the values (differences of items, or sums of them per cluster) are symmetric about 0.

    All 2^C sign patterns where C is at most 12, else `draws` random ones and p = (1 + r) / (draws + 1),
    which is never 0. Source: Fisher, "The Design of Experiments" (1935), §21; Phipson & Smyth (2010).
    """
    x: Floats = np.asarray(values, dtype=np.float64)
    return Flips.of(x, np.ones_like(x), seed=seed, draws=draws).p_two_sided()


@dataclass(frozen=True, slots=True)
class Flips:
    """Flipped signs of units' sums, for any true mean: with x = sums − mean · weights, the signs of x are flipped.

    A pattern turns the signs of some units and keeps those of the rest. Its flipped sum is as far from 0 as the true
    one for means between the mean of the units turned and that of those kept, so the patterns' two means are all one
    needs. Unequal weights are no trouble: symmetry about 0 is all that the test asks for.
    Source: Tritchler, "On inverting permutation tests", JASA 79 (1984).
    """

    total: float
    weight: float
    """Sum of the weights."""
    turned: Floats
    """Shape (patterns,): flipped sums."""
    weights: Floats
    """Shape (patterns,): flipped sums of the weights."""
    beside: int
    """Patterns to count beside them as reached: 0 where they are all, 1 where they were drawn."""
    slack: float
    """Rounding of a sum."""

    @classmethod
    def of(cls, sums: Floats, weights: Floats, *, seed: int, draws: int = 9999) -> Flips:
        """The flips of `sums`, shape (units,), of units with these weights, positive, shape (units,)."""
        signs, beside = sign_patterns(sums.size, seed=seed, draws=draws)
        turned, flipped = (signs @ np.stack([sums, weights], axis=1)).T
        slack = SLACK * float(np.abs(sums).sum())
        return cls(float(sums.sum()), float(weights.sum()), turned, flipped, beside, slack)

    def p_two_sided(self) -> float:
        """Two-sided p of "the mean is 0"."""
        return self._share(np.abs(self.turned) >= abs(self.total) - self.slack)

    def p_above(self, margin: float = 0.0) -> float:
        """One-sided p of "the mean is at most `margin`"."""
        gap = self.turned - self.total - margin * (self.weights - self.weight)
        return self._share(gap >= -self.slack)

    def interval(self, level: float) -> Interval:
        """All means whose two-sided p is at least 1 − `level`; infinite where there are too few patterns."""
        means = [
            np.divide(
                self.total + sign * self.turned,
                self.weight + sign * self.weights,
                out=np.full_like(self.turned, np.nan),
                where=np.abs(self.weight + sign * self.weights) > SLACK * self.weight,
            )
            for sign in (1, -1)
        ]
        least = np.where(np.isnan(means[0]) | np.isnan(means[1]), -np.inf, np.minimum(*means))
        most = np.where(np.isinf(least), np.inf, np.maximum(*means))
        place = max(0, math.ceil((1 - level) * (least.size + self.beside) - 1e-9) - self.beside - 1)
        return Interval(float(np.partition(least, place)[place]), -float(np.partition(-most, place)[place]))

    def __neg__(self) -> Flips:
        return replace(self, total=-self.total, turned=-self.turned)

    def _share(self, reached: NDArray[np.bool_]) -> float:
        return float((self.beside + reached.sum()) / (self.beside + reached.size))


def flipped_p(sums: Floats, *, seed: int) -> Floats:
    """`sign_flip` of many rows at once, shape (rows, units) to (rows,)."""
    signs, beside = sign_patterns(sums.shape[1], seed=seed)
    slack = SLACK * np.abs(sums).sum(axis=1)
    reached = np.abs(signs @ sums.T) >= np.abs(sums.sum(axis=1)) - slack
    return np.asarray((beside + reached.sum(axis=0)) / (beside + signs.shape[0]))


@lru_cache(maxsize=8)
def sign_patterns(count: int, *, seed: int, draws: int = 9999) -> tuple[NDArray[np.int8], int]:
    """Patterns of ±1, shape (patterns, count), and how many to count beside them as reached.

    All 2^count of them and 0, or `draws` random ones and 1.
    """
    if count <= EXACT_FLIPS:
        patterns = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1).astype(np.int8)
        beside = 0
    else:
        patterns = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (draws, count), dtype=np.int8)
        beside = 1
    patterns.setflags(write=False)
    return patterns, beside


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

"""Tests for pairs that need no large sample: McNemar's for right and wrong, sign flips for any score."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval

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


def mcnemar_mid(wins: int, losses: int) -> float:
    """Two-sided mid-p: half the probability of the observed count is left out. Less conservative than the exact p.

    Source: Fagerland, Lydersen & Laake, BMC Med. Res. Methodol. 13:91 (2013).
    """
    from scipy.stats import binom

    most, pairs = max(wins, losses), wins + losses
    if wins == losses:
        return 1.0
    return min(1.0, 2 * float(binom.sf(most, pairs, 0.5) + 0.5 * binom.pmf(most, pairs, 0.5)))


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


def flipped_p(sums: Floats, *, seed: int, draws: int = 9999) -> Floats:
    """`sign_flip` of many rows at once, shape (rows, units) to (rows,)."""
    signs, beside = sign_patterns(sums.shape[1], seed=seed, draws=draws)
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

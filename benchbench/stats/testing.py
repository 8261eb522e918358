"""Error rates of tests: what a benchmark could have shown, and p-values of many tests, adjusted.

Sources: of detectable differences, Miller, "Adding Error Bars to Evals", arXiv 2411.00640, §5; of the adjustments, each
function names its own. An adjusted p below α is significant among its family; statsmodels' `multipletests` computes
the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats

ALPHA = 0.05
POWER = 0.80
MANY_DEGREES = 1e5
"""Above this many degrees of freedom, Student's t is the normal."""
MANY_PAIRS = 3000
"""Above this many pairs that differ, the exact test asks for one pair more than the normal's error says."""
DELTA = 0.005
"""Margin of equivalence unless one is given, as a share of the metric's range: half a percentage point of accuracy."""


def margin(bounds: tuple[float, float] | None, *scores: float) -> float | None:
    """The margin of equivalence for a metric with these bounds; of the scores' mean size where it has none.

    None where the scores are 0 too.
    """
    size = bounds[1] - bounds[0] if bounds is not None else sum(map(abs, scores)) / max(1, len(scores))
    return DELTA * size or None


def t_sum(degrees: float, alpha: float = ALPHA, power: float = POWER, *, two_sided: bool = True) -> float:
    """How many standard errors a difference must be worth where the error is estimated with `degrees` of freedom.

    2.8016 at 5 % and 80 % with infinitely many: z_{α/2} + z_β. Else the noncentrality of Student's t at which it
    exceeds its critical value with this power; a two-sided test's other tail is left out. Source: Johnson & Welch,
    Biometrika 31 (1940).
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    upper = 1 - alpha / (2 if two_sided else 1)
    if degrees > MANY_DEGREES:
        return float(ndtri(upper) + ndtri(power))
    return float(nctdtrinc(degrees, 1 - power, stdtrit(degrees, upper)))


def detectable(
    stderr: float, *, alpha: float = ALPHA, power: float = POWER, degrees: float = math.inf, two_sided: bool = True
) -> float:
    """Smallest true difference that a t test finds with this power, given its standard error.

    For right and wrong, two models of equal score that differ on a share d of many items have stderr √(d/n); of few
    items `detectable_pairs` knows better.
    """
    return t_sum(degrees, alpha, power, two_sided=two_sided) * stderr


def detectable_pairs(differing: int, n: int) -> float | None:
    """Smallest true difference of two proportions that the exact two-sided McNemar test finds with 80 % power.

    As many items differ as were seen to, until the difference itself asks for more: then all that differ do so in one
    direction. None where the test finds nothing even if all items differ in one direction.

    Args:
        differing: items of `n` on which the two differ.
    """
    from scipy.optimize import brentq

    if differing > MANY_PAIRS:
        return detectable(math.sqrt(differing) / n) + 1 / n

    def missing(difference: float) -> float:
        return pairs_power(difference, max(difference, differing / n), n) - POWER

    if missing(1.0) < 0:
        return None
    near = min(1.0, 2 * detectable(math.sqrt((differing + 8) / n / n)))
    return float(brentq(missing, 0.0, near if missing(near) > 0 else 1.0, xtol=1e-9, rtol=1e-6))


def pairs_power(difference: float, differing: float, n: int, *, alpha: float = ALPHA) -> float:
    """Power of the exact two-sided McNemar test on `n` items of which a share `differing` is expected to differ."""
    from scipy.special import bdtr, bdtrc

    count, likely, wins = _tables(differing, n, alpha)
    share = (1 + difference / differing) / 2 if differing > 0 else 0.5
    found = bdtrc(wins - 1, count, share) + bdtr(count - wins, count, share)
    return float(likely @ np.where(wins > count, 0.0, found))


@lru_cache(maxsize=1)
def _tables(
    differing: float, n: int, alpha: float
) -> tuple[NDArray[np.int_], NDArray[np.float64], NDArray[np.float64]]:
    """Numbers of items that may differ, how likely each is, and the fewest wins among them that are found."""
    from scipy.special import bdtr

    spread = 9 * math.sqrt(n * differing * (1 - differing)) + 9
    first, last = max(1, math.floor(n * differing - spread)), min(n, math.ceil(n * differing + spread))
    count = np.arange(first, last + 1, dtype=np.int_)
    likely = np.asarray(bdtr(count, n, differing) - bdtr(count - 1, n, differing), dtype=np.float64)
    return count, likely, _fewest_wins(count, alpha)


def _fewest_wins(count: NDArray[np.int_], alpha: float) -> NDArray[np.float64]:
    """Fewest wins among `count` pairs that McNemar's exact two-sided test finds."""
    from scipy.special import bdtr, bdtrik

    most = np.ceil(bdtrik(1 - alpha / 2, count, 0.5))
    lower = np.maximum(0, most - 1)
    return np.asarray(np.where(bdtr(lower, count, 0.5) >= 1 - alpha / 2, lower, most) + 1)


def holm(p: ArrayLike) -> Floats:
    """Adjusted p-values, shape (tests,): the chance of any false claim stays below α, whatever the dependence.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    raised = np.maximum.accumulate(x[order] * np.arange(x.size, 0, -1))
    return _back(np.minimum(raised, 1.0), order)


def benjamini_hochberg(p: ArrayLike, *, any_dependence: bool = False) -> Floats:
    """Adjusted p-values, shape (tests,): among the claims, the expected share of false ones stays below α.

    `any_dependence` pays Benjamini & Yekutieli's factor Σ 1/k (Annals of Statistics 29, 2001).
    Source: Benjamini & Hochberg, JRSS B 57 (1995).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    ranks = np.arange(1, x.size + 1)
    factor = float((1 / ranks).sum()) if any_dependence else 1.0
    lowered = np.minimum.accumulate((x[order] * factor * x.size / ranks)[::-1])[::-1]
    return _back(np.minimum(lowered, 1.0), order)


def _probabilities(p: ArrayLike) -> Floats:
    x = np.asarray(p, dtype=np.float64)
    if x.ndim != 1 or not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError("p-values are a vector of numbers from 0 to 1")
    return x


def _back(x: Floats, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
    adjusted = np.empty_like(x)
    adjusted[order] = x
    return adjusted


FIRST_LOOK = 2
"""The first look has two checkpoints."""
FULL = 5
"""The share grows up to the look with so many checkpoints."""
STEADY, FALLING = (12, 2), (5, 3)
"""It stays up to so many checkpoints, and falls with this power of their number from then on; the second is for tests
whose looks are nearly the same question again, of which most of the error goes to the first ones."""
ONE_LOOK = 0.5
"""What a single look gets: half, for tests of one look are less cautious than the sum over many (simulated)."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a claim is adjusted for."""

    looks: int | None = None
    """None: a look after every checkpoint; 1: all checkpoints were there before anybody looked."""
    tasks: int = 1
    """How many tasks share the error."""
    share: float | None = None
    """This task's share of it; None: all alike."""

    @property
    def of_task(self) -> float:
        """This task's share of the error."""
        return 1 / self.tasks if self.share is None else self.share

    def level(self, checkpoints: int, *, early: bool = False) -> float:
        """Share of the error that this look at this task may take.

        Args:
            checkpoints: at this look.
            early: of a test whose looks are nearly the same question again.
        """
        return self.of_task * (spent(checkpoints, early=early) if self.looks is None else ONE_LOOK)

    def num_looks(self, checkpoints: int) -> int:
        """How many looks there have been up to this number of checkpoints."""
        return max(1, checkpoints - 1) if self.looks is None else self.looks


@cache
def spent(checkpoints: int, *, early: bool = False) -> float:
    """Share of the error that the look with so many checkpoints gets; the shares of all looks from 2 on sum to 1."""
    return _raw(checkpoints, *(FALLING if early else STEADY)) / _total(*(FALLING if early else STEADY))


def _raw(checkpoints: int, steady: int, power: int) -> float:
    if checkpoints < FIRST_LOOK:
        return 0.0
    return min(1.0, (checkpoints / FULL) ** 3) * min(1.0, (steady / checkpoints) ** power)


@cache
def _total(steady: int, power: int) -> float:
    """Of all looks: those with fewer than 1,000 checkpoints one by one, the others as an integral."""
    first = math.fsum(_raw(k, steady, power) for k in range(FIRST_LOOK, 1000))
    return first + float(steady**power) / ((power - 1) * 999.5 ** (power - 1))

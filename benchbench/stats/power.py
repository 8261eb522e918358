"""What a benchmark could have shown: the smallest detectable difference, and how many items a difference needs.

Source: Miller, "Adding Error Bars to Evals", arXiv 2411.00640, §5.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

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


def z_sum(alpha: float = ALPHA, power: float = POWER) -> float:
    """z_{α/2} + z_β: how many standard errors a difference must be worth; 2.8016 at 5 % and 80 %."""
    return t_sum(math.inf, alpha, power)


def t_sum(degrees: float, alpha: float = ALPHA, power: float = POWER, *, two_sided: bool = True) -> float:
    """How many standard errors a difference must be worth where the error is estimated with `degrees` of freedom.

    The noncentrality of Student's t at which it exceeds its critical value with this power; a two-sided test's other
    tail is left out. Source: Johnson & Welch, Biometrika 31 (1940).
    """
    from scipy.special import nctdtrinc, ndtri, stdtrit

    upper = 1 - alpha / (2 if two_sided else 1)
    if degrees > MANY_DEGREES:
        return float(ndtri(upper) + ndtri(power))
    return float(nctdtrinc(degrees, 1 - power, stdtrit(degrees, upper)))


def detectable(
    stderr: float,
    *,
    alpha: float = ALPHA,
    power: float = POWER,
    degrees: float = math.inf,
    two_sided: bool = True,
) -> float:
    """Smallest true difference that a t test finds with this power, given its standard error.

    For right and wrong, two models of equal score that differ on a share d of many items have stderr √(d/n); of few
    items `detectable_pairs` knows better.
    """
    return t_sum(degrees, alpha, power, two_sided=two_sided) * stderr


def detectable_pairs(differing: int, n: int, *, alpha: float = ALPHA, power: float = POWER) -> float | None:
    """Smallest true difference of two proportions that the exact two-sided McNemar test finds with this power.

    As many items differ as were seen to, until the difference itself asks for more: then all that differ do so in one
    direction. None where the test finds nothing even if all items differ in one direction.

    Args:
        differing: items of `n` on which the two differ.
    """
    from scipy.optimize import brentq

    if differing > MANY_PAIRS:
        return detectable(math.sqrt(differing) / n, alpha=alpha, power=power) + 1 / n

    def missing(difference: float) -> float:
        return pairs_power(difference, max(difference, differing / n), n, alpha=alpha) - power

    if missing(1.0) < 0:
        return None
    near = min(1.0, 2 * detectable(math.sqrt((differing + 8) / n / n), alpha=alpha, power=power))
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
    count = np.arange(max(1, math.floor(n * differing - spread)), min(n, math.ceil(n * differing + spread)) + 1)
    likely = bdtr(count, n, differing) - bdtr(count - 1, n, differing)
    return count, likely, _fewest_wins(count, alpha)


def _fewest_wins(count: NDArray[np.int_], alpha: float) -> NDArray[np.float64]:
    """Fewest wins among `count` pairs that McNemar's exact two-sided test finds."""
    from scipy.special import bdtr, bdtrik

    most = np.ceil(bdtrik(1 - alpha / 2, count, 0.5))
    lower = np.maximum(0, most - 1)
    return np.asarray(np.where(bdtr(lower, count, 0.5) >= 1 - alpha / 2, lower, most) + 1)


def items_needed(
    difference: float,
    variance: float,
    *,
    resampling: tuple[float, float] = (0.0, 0.0),
    alpha: float = ALPHA,
    power: float = POWER,
) -> float:
    """Items after which a true `difference` is found with this power.

    Args:
        difference: in the score's own unit.
        variance: of the paired difference between items; for right and wrong the share d on which models differ.
        resampling: σ_A²/K_A and σ_B²/K_B, the variances of the two models' item means over repeated generations.
    """
    return z_sum(alpha, power) ** 2 * (variance + sum(resampling)) / difference**2

"""Student's t of skewed values, corrected: Hall's transformation, and both tests at once.

The mean of few skewed values is not where Student's t believes it: with exponential differences of 10 docs it calls two
equal models different in 10 % of cases. Hall's transformation takes the skewness out of t, but the skewness has to be
estimated, and where there is none that makes t worse on the other side. Here a claim has to hold by both: the p-value
is the larger of the two, the interval holds both intervals.
Source: Hall, "On the removal of skewness by transformation", JRSS B 54 (1992); Johnson, JASA 73 (1978).
"""

from __future__ import annotations

import math

import numpy as np

from benchbench.stats.influence import Floats


def corrected(t: Floats | float, skewness: Floats | float) -> Floats:
    """Hall's transformation of t, where `skewness` is that of the estimate: of the values, over √n.

    ((1 + a·t/3)³ − 1)/a + a/6: increasing in t, and t itself where a is 0.
    """
    a = np.asarray(skewness, dtype=np.float64)
    return np.asarray(t + a * (np.square(t) / 3 + 1 / 6) + np.square(a) * np.power(t, 3) / 27)


def uncorrected(y: float, skewness: float) -> float:
    """The t of which `y` is the transformation."""
    if abs(skewness) < 1e-6:
        return y - skewness * (y * y / 3 + 1 / 6)
    return 3 / skewness * (math.cbrt(1 + skewness * (y - skewness / 6)) - 1)


def surely_above(t: Floats | float, skewness: Floats | float) -> Floats:
    """The smaller of t and its transformation: what both tests grant for "the mean is above"."""
    return np.asarray(np.minimum(t, corrected(t, skewness)))


def surely_off(t: Floats | float, skewness: Floats | float) -> Floats:
    """The same for "the mean is not 0": what both tests grant in one direction; below 0 where they disagree."""
    other = corrected(t, skewness)
    return np.asarray(np.maximum(np.minimum(t, other), np.minimum(-np.asarray(t), -other)))


def ends(quantile: float, skewness: float) -> tuple[float, float]:
    """Between which t both tests together do not reject: (low, high), low < 0 < high."""
    low, high = uncorrected(-quantile, skewness), uncorrected(quantile, skewness)
    return min(-quantile, low), max(quantile, high)


def tail(t: Floats | float, degrees: Floats | float) -> Floats:
    """P(T > t) of Student's t; the normal's where degrees are infinite."""
    from scipy.special import stdtr

    return np.asarray(stdtr(degrees, -np.asarray(t)), dtype=np.float64)

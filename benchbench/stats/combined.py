"""A difference of two groups of trainings: what docs leave open, and what trainings differ by, together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchbench.stats.intervals import LEVEL, Interval, t_quantile


def training_spread(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> float | None:
    """Half the width of the interval that the trainings' own scores leave for mean(b) − mean(a), by Welch's t.

    Args:
        a, b: the score of each training, on the same docs. One alone says nothing of its like and adds nothing.

    Returns:
        None where neither group has two.
    """
    parts = [(float(np.var(x, ddof=1)) / len(x), len(x) - 1) for x in (a, b) if len(x) > 1]
    if not parts:
        return None
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    degrees = total**2 / sum(variance**2 / free for variance, free in parts)
    return t_quantile(degrees, level) * math.sqrt(total)


def widened(value: float, interval: Interval, spread: float) -> Interval:
    """The interval of a value with an independent error of that half width added to it, each side by itself.

    Source: Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    low = value - math.hypot(value - interval.low, spread)
    return Interval(low, value + math.hypot(interval.high - value, spread))

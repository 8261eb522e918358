"""A difference of two groups of trainings: what docs leave open, and what trainings differ by, together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import LEVEL, Interval, t_quantile


def answer_noise(scores: Floats) -> float:
    """Variance of one training's score that comes from its answers alone: the interaction of docs and trainings.

    Source: two-way analysis of variance without replication, Searle, Casella & McCulloch, "Variance Components" (1992).

    Args:
        scores: shape (trainings, docs). 0 for one training.
    """
    trainings, docs = scores.shape
    if trainings < 2 or docs < 2:
        return 0.0
    left: Floats = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    return float((left**2).sum() / ((trainings - 1) * (docs - 1) * docs))


def training_spread(
    a: Sequence[float], b: Sequence[float], noise: tuple[float, float] = (0.0, 0.0), level: float = LEVEL
) -> float | None:
    """Half the width of the interval that the trainings' own differences leave for mean(b) − mean(a), by Welch's t.

    Args:
        a, b: the score of each training, on the same docs. One alone says nothing of its like and adds nothing.
        noise: what of the scores' variance comes from the answers alone (`answer_noise`): the docs' interval holds it.
            What is left of a variance has fewer degrees of freedom (Satterthwaite), one at least.

    Returns:
        None where neither group has two.
    """
    known = [(x, own) for x, own in zip((a, b), noise, strict=True) if len(x) > 1]
    if not known:
        return None
    parts = [(float(np.var(x, ddof=1)) / len(x), len(x) - 1) for x, _ in known]
    total = sum(variance for variance, _ in parts)
    if total == 0:
        return 0.0
    trainings = sum(max(0.0, float(np.var(x, ddof=1)) - own) / len(x) for x, own in known)
    degrees = trainings**2 / sum(variance**2 / free for variance, free in parts)
    return t_quantile(max(1.0, degrees), level) * math.sqrt(trainings)


def widened(value: float, interval: Interval, spread: float) -> Interval:
    """The interval of a value with an independent error of that half width added to it, each side by itself.

    Source: Zou & Donner, "Construction of confidence limits about effect measures", Statistics in Medicine 27 (2008).
    """
    low = value - math.hypot(value - interval.low, spread)
    return Interval(low, value + math.hypot(interval.high - value, spread))

"""Is the task any good for watching this training? Monotonicity, signal to noise, above chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.series import Series

SMOOTHED = 5
"""How many last checkpoints the noise of a curve is read from."""


@dataclass(frozen=True, slots=True)
class TaskSignal:
    """Figures of one task on one run's checkpoints. None: not defined for this curve."""

    monotonicity: float | None
    """Spearman's correlation of step and score, −1 to 1; 0.5 and more is usable (FineTasks)."""
    mann_kendall_p: float | None
    """Two-sided p that the curve has no trend, checkpoints taken as independent; None with fewer than five."""
    signal_to_noise: float | None
    """Spread of this run's scores over the spread of its last checkpoints."""
    above_chance_p: float | None
    """One-sided p that the last checkpoint guesses; None where chance is not known."""
    isotonic: tuple[float, ...]
    """The best never-falling curve through the scores, for display."""


class MannKendall(NamedTuple):
    """Mann–Kendall trend test."""

    s: float
    variance: float
    z: float
    p: float


def mann_kendall(scores: ArrayLike) -> MannKendall:
    """Two-sided test of a monotone trend in independent points, in order; normal approximation with ties.

    Source: Mann, Econometrica 13 (1945); Kendall, "Rank Correlation Methods" (1975).
    """
    from scipy.special import ndtr

    x = np.asarray(scores, dtype=np.float64)
    n = x.size
    s = float(sum(np.sign(b - a) for a, b in combinations(x.tolist(), 2)))
    ties = np.unique(x, return_counts=True)[1]
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    z = 0.0 if s == 0 or variance == 0 else (s - math.copysign(1, s)) / math.sqrt(variance)
    return MannKendall(s, variance, z, float(2 * ndtr(-abs(z))))


def signal_to_noise(scores: ArrayLike, late: ArrayLike) -> float | None:
    """(max − min) / mean of `scores`, over sd / mean of the `late` checkpoints (ddof 0); None if those do not move.

    Source: "Signal and Noise", arXiv 2508.13144; there `scores` are those of several models.
    """
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(late, dtype=np.float64)
    noise = float(y.std())
    if noise == 0 or x.mean() == 0:
        return None
    return abs(float((x.max() - x.min()) / x.mean() * y.mean())) / noise


def decision_accuracy(small: Sequence[float], large: Sequence[float]) -> float:
    """Share of pairs of models that small and large scale put in the same order. Source: arXiv 2508.13144."""
    pairs = list(combinations(range(len(small)), 2))
    if not pairs or len(small) != len(large):
        raise ValueError("decisions need the same two or more models at both scales")
    return sum((small[i] > small[j]) == (large[i] > large[j]) for i, j in pairs) / len(pairs)


def above_chance(series: Series, chance: float, *, higher_is_better: bool = True) -> float | None:
    """One-sided p that the last checkpoint is no better than `chance`: exact binomial for right and wrong."""
    from scipy.special import bdtrc

    if series.right is not None and higher_is_better:
        successes = int(series.right.sum())
        return 1.0 if successes == 0 else float(bdtrc(successes - 1, series.n, chance))
    last = np.zeros(len(series.steps))
    last[-1] = 1.0
    return series.contrast(last).p_above(chance if higher_is_better else -chance)


def task_signal(series: Series, chance: float | None = None, *, higher_is_better: bool = True) -> TaskSignal:
    """All figures of a curve."""
    from scipy.optimize import isotonic_regression
    from scipy.stats import spearmanr

    values, count = series.values, len(series.steps)
    moves = count > 2 and float(np.ptp(values)) > 0
    curve = isotonic_regression(values).x
    return TaskSignal(
        monotonicity=round(float(spearmanr(series.steps, values).statistic), 12) if moves else None,
        mann_kendall_p=mann_kendall(values).p if count > 4 else None,
        signal_to_noise=signal_to_noise(values, values[-SMOOTHED:]) if count > 2 else None,
        above_chance_p=None if chance is None else above_chance(series, chance, higher_is_better=higher_is_better),
        isotonic=tuple(float(v) if higher_is_better else -float(v) for v in curve),
    )

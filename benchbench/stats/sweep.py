"""What a curve over checkpoints shows: where improvement stops being detectable, trend, noise and drops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.stats.difference import Difference
from benchbench.stats.influence import Floats
from benchbench.stats.multiple import holm
from benchbench.stats.power import ALPHA
from benchbench.stats.series import Noise, Series, with_noise

LATE_CHECKPOINTS = 4
"""Fewest late checkpoints from which noise is estimated."""


@dataclass(frozen=True, slots=True)
class StepTest:
    """Two checkpoints compared."""

    start: int
    """Position of the earlier checkpoint."""
    end: int
    difference: Difference
    """Later minus earlier; positive is better."""
    p: float
    """One-sided in the fixed sequence, two-sided and Holm-adjusted between neighbours."""


def fixed_sequence(series: Series, noise: Noise | None = None, *, alpha: float = ALPHA) -> tuple[StepTest, ...]:
    """One-sided tests of the last checkpoint against the first, second, … until one is not significant.

    The checkpoint of the last test is the earliest that the last checkpoint is not detectably better than; if all
    tests are significant, there is none before it. The order is fixed beforehand, so every test is at full α and
    the chance of any false claim is at most α. Source: Westfall & Krishen, J. Stat. Plan. Inference 99 (2001).
    """
    last = len(series.steps) - 1
    tests = []
    for start in range(last):
        p = series.p_gain(start, last, noise)
        tests.append(StepTest(start, last, with_noise(series.gain(start, last), noise), p))
        if p > alpha:
            break
    return tuple(tests)


def plateau_start(tests: Sequence[StepTest], last: int, *, alpha: float = ALPHA) -> int:
    """Position of the earliest checkpoint not distinguishable from the last; `last` itself if all are."""
    return next((test.start for test in tests if test.p > alpha), last)


def losses(series: Series, noise: Noise | None = None, *, alpha: float = ALPHA) -> tuple[StepTest, ...]:
    """Earlier checkpoints than which the last is significantly worse, Holm over all earlier ones; worst first."""
    last = len(series.steps) - 1
    raw = [series.p_gain(last, start, noise) for start in range(last)]
    found = [
        StepTest(start, last, with_noise(series.gain(start, last), noise), float(p))
        for start, p in enumerate(holm(raw))
        if p < alpha
    ]
    return tuple(sorted(found, key=lambda test: test.difference.value))


def drops(series: Series, *, alpha: float = ALPHA) -> tuple[StepTest, ...]:
    """Neighbouring checkpoints between which the score fell significantly: two-sided, Holm over all neighbours.

    About these files: noise between checkpoints is not counted in, for a loss spike is what it would be read from.
    """
    pairs = [(start, start + 1) for start in range(len(series.steps) - 1)]
    raw = [min(1.0, 2 * min(series.p_gain(*pair), series.p_gain(*pair[::-1]))) for pair in pairs]
    tests = [StepTest(*pair, series.gain(*pair), float(p)) for pair, p in zip(pairs, holm(raw), strict=True)]
    return tuple(test for test in tests if test.p < alpha and test.difference.value < 0)


def trend(series: Series, start: int = 0, noise: Noise | None = None) -> Difference | None:
    """Gain per doubling of steps, over all checkpoints from position `start`; None with fewer than three.

    Least squares on log(step): a contrast of the checkpoints, so its error comes from the items, and from the noise
    where it is known. Steps that begin at 0 are taken as log(step + 1).
    """
    x = _log_steps(series.steps)
    if x.size - start < 3:
        return None
    w = np.zeros(x.size)
    w[start:] = x[start:] - x[start:].mean()
    w *= math.log(2) / float(w @ w)
    found = series.contrast(w)
    return found if noise is None else found.with_noise(noise.tau, noise.degrees, weight=float(w @ w))


def checkpoint_noise(series: Series) -> Noise | None:
    """Noise between late checkpoints (from half of the last step on); None with fewer than four.

    τ² = max(0, (squared residuals around a line in log(step) − what the sampling of items adds) / (k − 2)).
    The residuals' part from items is exact: the trace of R Σ R for the items' covariance Σ.
    """
    late = [i for i, step in enumerate(series.steps) if 2 * step >= series.steps[-1]]
    k = len(late)
    if k < LATE_CHECKPOINTS or series.degrees < 1:
        return None
    x = _log_steps(series.steps)[late]
    design = np.column_stack([np.ones(k), x - x.mean()])
    remove = np.eye(k) - design @ np.linalg.pinv(design)
    residuals = remove @ series.values[late]
    items = float(np.trace(remove @ series.covariance[np.ix_(late, late)] @ remove))
    variance = (float(residuals @ residuals) - items) / (k - 2)
    rounding = 1e-24 * float(series.values[late] @ series.values[late])
    return Noise(math.sqrt(variance) if variance > rounding else 0.0, k - 2, k)


def _log_steps(steps: Sequence[int]) -> Floats:
    x = np.asarray(steps, dtype=np.float64)
    return np.asarray(np.log(x if x[0] > 0 else x - x[0] + 1), dtype=np.float64)

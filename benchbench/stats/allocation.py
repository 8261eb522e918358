"""How many docs to ask of each task: what tells checkpoints apart, and what narrows the interval of a suite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.stats.influence import Floats
from benchbench.stats.noise import checkpoint_noise, gain_of
from benchbench.stats.series import Series, task_signal

HALF = 0.5
"""Of the training: the last checkpoint is held against the last one before."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """How well one task tells the checkpoints of one training apart."""

    signal: float
    """Gain over the second half of the training, positive is better."""
    noise: float
    """Its standard error: docs and checkpoint noise."""
    spread: float
    """Standard deviation of one doc's share in that gain: the error of the docs times √docs."""
    monotonicity: float | None
    docs: int

    @property
    def ratio(self) -> float:
        """Signal over noise; below 2 a gain of this size is hardly ever found."""
        return self.signal / self.noise


def resolution(series: Series) -> Resolution | None:
    """None where there are fewer than four checkpoints, or docs without any error."""
    if len(series.steps) < 4 or series.degrees < 1:
        return None
    last = len(series.steps) - 1
    start = max(k for k in range(last) if k == 0 or series.steps[k] <= HALF * series.steps[-1])
    weights = np.zeros(last + 1)
    weights[start], weights[last] = -1.0, 1.0
    gain = gain_of(series, weights, checkpoint_noise(series))
    docs_error = math.sqrt(max(0.0, float(weights @ series.covariance @ weights)))
    if gain.stderr == 0 or docs_error == 0:
        return None
    signal = task_signal(series)
    return Resolution(gain.value, gain.stderr, docs_error * math.sqrt(series.n), signal.monotonicity, series.n)


def allocate(spreads: Sequence[float], totals: Sequence[int], weights: Sequence[float], budget: int) -> tuple[int, ...]:
    """Docs of each task that make the variance of the weighted mean, Σ w²·σ²/n, smallest; never more than there are.

    Neyman, JRSS 97 (1934): n in proportion to w·σ. What a task cannot use goes to the others.

    Raises:
        ValueError: fewer docs than tasks, or figures that do not fit together.
    """
    if not len(spreads) == len(totals) == len(weights) or budget < len(totals):
        raise ValueError(
            f"{budget} docs for {len(totals)} tasks, with {len(spreads)} spreads and {len(weights)} weights"
        )
    pull = np.asarray(weights, dtype=np.float64) * np.asarray(spreads, dtype=np.float64)
    most = np.asarray(totals, dtype=np.float64)
    found: Floats = np.zeros(len(most))
    is_free = np.ones(len(most), dtype=bool)
    left = float(min(budget, most.sum()))
    while is_free.any():
        share = pull * is_free
        wanted = left * (share / share.sum() if share.sum() > 0 else is_free / is_free.sum())
        full = is_free & (wanted >= most - found)
        if not full.any():
            found[is_free] = wanted[is_free]
            break
        left -= float(most[full].sum())
        found[full] = most[full]
        is_free &= ~full
    return tuple(max(1, int(n)) for n in found)

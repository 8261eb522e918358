"""What the scores of a run's checkpoints allow one to say, as figures and as a sentence.

`sweep_verdict` takes item scores, `series_verdict` any `Series` (corpus metrics through influence values).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchbench.stats.difference import Difference
from benchbench.stats.intervals import Interval
from benchbench.stats.power import detectable
from benchbench.stats.sentence import sentence
from benchbench.stats.series import Noise, Series, series_of_items, with_noise
from benchbench.stats.signal import TaskSignal, task_signal
from benchbench.stats.sweep import (
    StepTest,
    checkpoint_noise,
    drops,
    fixed_sequence,
    losses,
    plateau_start,
    trend,
)

SweepOutcome = Literal["improving", "plateau", "no detectable improvement", "regressed", "too little data"]
FEWEST_ITEMS = 10
"""Fewer independent items (or clusters) than this say nothing about a curve."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be said of one task over the checkpoints of a run. Gains are positive where the last is better."""

    outcome: SweepOutcome
    steps: tuple[int, ...]
    values: tuple[float, ...]
    """The metric at each checkpoint, in its own unit and direction."""
    n: int
    """Items with a score at every checkpoint."""
    n_clusters: int | None
    higher_is_better: bool
    delta: float
    """Margin below which a gain counts as none."""
    chance: float | None
    start: int
    """Position of X*, the earliest checkpoint that the last is not detectably better than; the last itself if all
    earlier ones are worse. Where the run regressed: of the checkpoint than which the last is worst."""
    gain: Difference | None
    """From X* to the last checkpoint; where improving, from the one before the last. Holds the noise if known."""
    detectable: float | None
    """Smallest gain that would have been found with 80 % power, between X* and the last."""
    noise: Noise | None
    """Movement between checkpoints beyond the sampling of items; None: could not be estimated."""
    sequence: tuple[StepTest, ...]
    """The tests of the fixed sequence, in order."""
    losses: tuple[StepTest, ...]
    """Earlier checkpoints than which the last is significantly worse (Holm)."""
    drops: tuple[StepTest, ...]
    """Neighbours between which the score fell significantly (Holm), the noise aside."""
    trend: Difference | None
    """Gain per doubling of steps since X*, with three or more checkpoints."""
    signal: TaskSignal | None
    paired: bool
    """The checkpoints answered the same items, and were compared item by item."""
    reason: str | None = None
    """Why there is too little data."""
    is_share: bool | None = None
    """The metric is a share of 1, so that differences are percentage points; None: as its values look."""

    @property
    def since(self) -> int:
        """The step of X*."""
        return self.steps[self.start]

    @property
    def interval(self) -> Interval | None:
        """95 % interval of the gain."""
        return None if self.gain is None else self.gain.interval()

    @property
    def upper(self) -> float | None:
        """One-sided 95 % upper bound of the gain since X*."""
        return None if self.gain is None else self.gain.upper()

    def sentence(self, task: str, metric: str, *, is_share: bool | None = None) -> str:
        """The verdict in words, for the task and metric so named; `is_share` where it is known of the metric."""
        return sentence(self if is_share is None else replace(self, is_share=is_share), task, metric)


def sweep_verdict(
    steps: Sequence[int],
    items: Sequence[NDArray[np.float64]],
    *,
    clusters: Sequence[Hashable | None] | NDArray[np.generic] | None = None,
    chance: float | None = None,
    delta: float,
    higher_is_better: bool = True,
    paired: bool = True,
) -> Verdict:
    """The verdict on a metric that is the mean of item scores.

    Args:
        steps: of the checkpoints, strictly increasing.
        items: one vector of item scores per checkpoint, shape (items,), the same docs in the same order. NaN (a
            doc that failed) leaves the doc out at every checkpoint.
        clusters: name of the passage or source that docs share, None for a doc of its own.
        chance: score of a guesser.
        delta: margin below which a gain counts as none, in the metric's own unit.
        paired: False where the checkpoints answered different docs.

    Raises:
        ValueError: vectors that do not fit together, or no item with a score at every checkpoint.
    """
    series = series_of_items(steps, items, clusters, higher_is_better=higher_is_better, paired=paired)
    return series_verdict(series, chance=chance, delta=delta, higher_is_better=higher_is_better)


def series_verdict(
    series: Series, *, chance: float | None = None, delta: float, higher_is_better: bool = True
) -> Verdict:
    """The verdict on any series; the outcomes in order of precedence.

    too little data: fewer than two checkpoints or ten independent items. regressed: the last checkpoint is
    significantly worse than an earlier one. improving: it is significantly better than every earlier one. plateau:
    the upper bound of the gain since X* is below delta. no detectable improvement: the rest.
    """
    if not delta > 0:
        raise ValueError(f"delta must be positive, not {delta}")
    reason = _too_little(series)
    if reason is not None:
        signal = task_signal(series, chance, higher_is_better=higher_is_better) if series.degrees > 0 else None
        return _verdict(
            series, "too little data", _Facts(signal=signal, reason=reason), chance, delta, higher_is_better
        )
    noise = checkpoint_noise(series)
    sequence, worse = fixed_sequence(series, noise), losses(series, noise)
    last = len(series.steps) - 1
    start = worse[0].start if worse else plateau_start(sequence, last)
    gain = with_noise(series.gain(min(start, last - 1), last), noise)
    upper = gain.upper()
    outcome: SweepOutcome
    if worse:
        outcome = "regressed"
    elif start == last:
        outcome = "improving"
    elif upper is not None and upper < delta:
        outcome = "plateau"
    else:
        outcome = "no detectable improvement"
    facts = _Facts(
        start=start,
        gain=gain,
        noise=noise,
        sequence=sequence,
        losses=worse,
        drops=drops(series),
        trend=trend(series, start, noise),
        signal=task_signal(series, chance, higher_is_better=higher_is_better),
    )
    return _verdict(series, outcome, facts, chance, delta, higher_is_better)


@dataclass(frozen=True, slots=True)
class _Facts:
    start: int | None = None
    gain: Difference | None = None
    noise: Noise | None = None
    sequence: tuple[StepTest, ...] = ()
    losses: tuple[StepTest, ...] = ()
    drops: tuple[StepTest, ...] = ()
    trend: Difference | None = None
    signal: TaskSignal | None = None
    reason: str | None = None


def _verdict(
    series: Series, outcome: SweepOutcome, facts: _Facts, chance: float | None, delta: float, higher_is_better: bool
) -> Verdict:
    sign = 1.0 if higher_is_better else -1.0
    return Verdict(
        outcome=outcome,
        steps=series.steps,
        values=tuple(float(sign * value) for value in series.values),
        n=series.n,
        n_clusters=series.n_clusters,
        higher_is_better=higher_is_better,
        delta=delta,
        chance=chance,
        start=len(series.steps) - 1 if facts.start is None else facts.start,
        gain=facts.gain,
        detectable=None if facts.gain is None or facts.gain.stderr is None else detectable(facts.gain.stderr),
        noise=facts.noise,
        sequence=facts.sequence,
        losses=facts.losses,
        drops=facts.drops,
        trend=facts.trend,
        signal=facts.signal,
        paired=series.paired,
        reason=facts.reason,
    )


def _too_little(series: Series) -> str | None:
    if len(series.steps) < 2:
        return "one checkpoint makes no curve"
    if series.degrees + 1 < FEWEST_ITEMS:
        what = "items" if series.n_clusters is None else "clusters of items"
        return f"{series.degrees + 1} independent {what} are too few"
    return None

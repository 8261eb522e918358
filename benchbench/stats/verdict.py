"""What the scores of a run's checkpoints allow one to say, as figures and as a sentence.

`sweep_verdict` takes item scores, `series_verdict` any `Series` (corpus metrics through influence values).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchbench.stats.noise import checkpoint_noise, fixed_noise, gain_of
from benchbench.stats.sentence import Findings, SweepOutcome, Verdict
from benchbench.stats.series import Series, series_of_items, task_signal
from benchbench.stats.sweep import StepTest, drops, fall, fixed_sequence, last_part, pair, rise_ever, rise_lately, seen
from benchbench.stats.testing import ALPHA, POWER, Family

FEWEST_ITEMS = 10
"""Fewer independent items (or clusters) than this say nothing about a curve."""


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
    """The verdict on a metric that is the mean of item scores, with a look after every checkpoint at this one task.

    `series_verdict` takes other looks, several tasks, metrics that have no range, and another newest part.

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
    series: Series,
    *,
    chance: float | None = None,
    delta: float,
    higher_is_better: bool = True,
    since: int | None = None,
    family: Family | None = None,
) -> Verdict:
    """The verdict on any series; the outcomes in order of precedence.

    too little data: fewer than two checkpoints or ten independent items. regressed: the last checkpoint is worse than
    earlier ones. improving: the last ones are better than those before them, or the last is better than every earlier
    one. plateau: the 95 % interval of the gain since X* lies inside ±delta. no detectable improvement: the rest.

    Args:
        chance: score of a guesser.
        delta: margin below which a gain counts as none, in the metric's own unit.
        since: the step from which the newest part of the training is counted; None: the last fifth of the steps.
        family: the looks and tasks that share the chance of a false claim; None: a look after every checkpoint at
            this one task.
    """
    if not delta > 0:
        raise ValueError(f"delta must be positive, not {delta}")
    reason = _too_little(series)
    known = family or Family()
    findings = None if reason is not None else _findings(series, known, since)
    signal = task_signal(series, chance, higher_is_better=higher_is_better) if series.degrees > 0 else None
    sign = 1.0 if higher_is_better else -1.0
    return Verdict(
        outcome="too little data" if findings is None else _outcome(findings, len(series.steps), delta),
        steps=series.steps,
        values=tuple(float(sign * value) for value in series.values),
        n=series.n,
        n_clusters=series.n_clusters,
        higher_is_better=higher_is_better,
        delta=delta,
        chance=chance,
        family=known,
        findings=findings,
        signal=signal,
        paired=series.paired,
        reason=reason,
    )


def _findings(series: Series, family: Family, since: int | None) -> Findings:
    noise = checkpoint_noise(series)
    recent = last_part(series, since)
    lately = rise_lately(series, noise, family, recent)
    ever, fell = rise_ever(series, noise, family, lately), fall(series, noise, family)
    sequence = fixed_sequence(series, noise)
    last = len(series.steps) - 1
    start = int(np.argmax(series.values[:-1])) if fell.p < ALPHA else _start(sequence, last) if ever.p < ALPHA else 0
    since_start = pair(series, min(start, last - 1))
    gain, tested = gain_of(series, since_start, noise), gain_of(series, since_start, seen(noise))
    typical = gain_of(series, since_start, fixed_noise(noise.tau))
    return Findings(
        since=recent,
        recent=gain_of(series, pair(series, recent), noise),
        lowest=sequence[0].start,
        start=start,
        gain=gain,
        detectable=tested.half_width(ALPHA) + typical.half_width(1 - POWER),
        lately=lately,
        ever=ever,
        fall=fell,
        noise=noise,
        sequence=sequence,
        drops=drops(series, noise, family),
    )


def _start(sequence: Sequence[StepTest], last: int) -> int:
    """Position of X*; 0 where not even the lowest checkpoint is worse than the last."""
    if sequence[0].p > ALPHA:
        return 0
    return next((test.start for test in sequence if test.p > ALPHA), last)


def _outcome(found: Findings, checkpoints: int, delta: float) -> SweepOutcome:
    interval = found.gain.interval()
    if found.fall.p < ALPHA:
        return "regressed"
    if found.lately.p < ALPHA or (found.ever.p < ALPHA and found.start == checkpoints - 1):
        return "improving"
    if -delta < interval.low and interval.high < delta:
        return "plateau"
    return "no detectable improvement"


def _too_little(series: Series) -> str | None:
    if len(series.steps) < 2:
        return "one checkpoint makes no curve"
    if series.degrees + 1 < FEWEST_ITEMS:
        what = "items" if series.n_clusters is None else "clusters of items"
        return f"{series.degrees + 1} independent {what} are too few"
    return None

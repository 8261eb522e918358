"""What a curve over checkpoints shows: did it rise or fall, since when is no rise detectable, where did it drop.

All tests are contrasts of the checkpoints, averaged over what is not known of checkpoint noise (`noise.py`), at the
level that this look at this task may spend (`testing.py`). p-values are adjusted: below 0.05 is a claim. From them
follows the verdict: `sweep_verdict` takes item scores, `series_verdict` any `Series` (corpus metrics through influence
values).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.noise import NO_NOISE, Noise, checkpoint_noise, fixed_noise, gain_of, p_above
from benchbench.stats.sentence import Claim, Findings, Kind, StepTest, SweepOutcome, Verdict
from benchbench.stats.series import Series, log_steps, series_of_items, task_signal
from benchbench.stats.testing import ALPHA, POWER, Family, spent

LAST_PART = 0.2
"""The last fifth of the steps: what the newest training bought."""

LATELY: dict[Kind, float] = {"last": 0.0105, "trend": 0.03, "last part": 0.002}
EVER: dict[Kind, float] = {"whole trend": 0.0115, "pair": 0.004}
FALL: dict[Kind, float] = {"last": 0.005, "trend": 0.02, "whole trend": 0.004, "pair": 0.006}
"""Nominal error of each test of a rise or fall, over all looks at all tasks. They sum to more than 5 % because tests of
slopes are taken at the correlation that is worst for them; in simulated flat runs all of them together err in at most
6 % of trainings at any look, and in about 1 % where noise is small (`python -m tests.simulate --part sweeps`)."""


def rise_lately(series: Series, noise: Noise, family: Family, since: int) -> Claim:
    """The surest sign that the last checkpoints are better than those before them: still improving.

    `since` is the position from which the newest part of the training is counted.
    """
    tests = [*_last(series), *_trend(series), ("last part", since, (pair(series, since),))]
    return _surest(series, noise, family, tests, LATELY)


def rise_ever(series: Series, noise: Noise, family: Family, lately: Claim) -> Claim:
    """The surest sign that the last checkpoint is better than earlier ones, of which `lately` is one."""
    found = _surest(series, noise, family, [*_pairs(series), *_whole_trend(series)], EVER)
    return min(lately, found, key=lambda claim: claim.p)


def fall(series: Series, noise: Noise, family: Family) -> Claim:
    """The surest sign that the last checkpoint is worse than earlier ones."""
    tests = [*_pairs(series), *_last(series), *_trend(series), *_whole_trend(series)]
    return _surest(series, noise, family, tests, FALL, sign=-1)


def last_part(series: Series, since: int | None = None) -> int:
    """Position of the latest checkpoint at or before `since`, by default before the last fifth of the steps."""
    last = series.steps[-1]
    bound = last - LAST_PART * (last - min(0, series.steps[0])) if since is None else since
    earlier = [i for i, step in enumerate(series.steps[:-1]) if step <= bound]
    return earlier[-1] if earlier else 0


def fixed_sequence(series: Series, noise: Noise) -> tuple[StepTest, ...]:
    """Tests of the last checkpoint against earlier ones, from the lowest one on, until one is not significant.

    The checkpoint of the last test is the earliest after the lowest that the last one is not detectably better than.
    Each test is one-sided and that of this look alone, and counts noise only where some was seen: it says since when
    there was a rise, not that there was one. The order is fixed beforehand but for its start.
    Source: Westfall & Krishen, J. Stat. Plan. Inference 99 (2001).
    """
    last = len(series.steps) - 1
    tests = []
    for start in range(int(np.argmin(series.values[:-1])), last):
        gain = gain_of(series, pair(series, start), seen(noise))
        tests.append(StepTest(start, last, gain, gain.p_above()))
        if tests[-1].p > ALPHA:
            break
    return tuple(tests)


def seen(noise: Noise) -> Noise:
    """The noise where some was seen, else none."""
    return noise if noise.is_seen else NO_NOISE


def drops(series: Series, noise: Noise, family: Family) -> tuple[StepTest, ...]:
    """Neighbouring checkpoints between which the score fell by more than noise explains.

    Each pair of neighbours has its own share of the error for good, so that all of them together, at all looks, are
    wrong in at most 5 % of trainings.
    """
    ends = np.arange(1, len(series.steps))
    steps = np.eye(len(series.steps))[1:] - np.eye(len(series.steps))[:-1]
    tails = p_above(series, -steps, noise, np.zeros(ends.size, dtype=bool))
    found = []
    for end, weights, raw in zip(ends.tolist(), steps, tails.tolist(), strict=True):
        part = family.of_task * (spent(end + 1) if family.looks is None else 1 / ends.size)
        if raw < ALPHA * part:
            found.append(StepTest(end - 1, end, gain_of(series, weights, noise), raw / part))
    return tuple(found)


_Contrast = tuple[Kind, int, tuple[Floats, ...]]
"""What is compared, from which position on, and its weights; of several the least sure one counts."""


def _surest(
    series: Series,
    noise: Noise,
    family: Family,
    tests: Sequence[_Contrast],
    errors: dict[Kind, float],
    *,
    sign: int = 1,
) -> Claim:
    """The contrast with the smallest p, adjusted for its kind's error, the look's share and how many there are."""
    count = len(series.steps)
    owners = np.repeat(np.arange(len(tests)), [len(several) for _, _, several in tests])
    slopes = np.array([tests[i][0] in ("trend", "whole trend") for i in owners])
    rows = np.stack([weights for _, _, several in tests for weights in several])
    tails = p_above(series, sign * rows, noise, slopes)
    p = [
        float(tails[owners == i].max() * ALPHA * sum(other == kind for other, _, _ in tests))
        / (errors[kind] * family.level(count, early=kind == "whole trend"))
        for i, (kind, _, _) in enumerate(tests)
    ]
    kind, start, several = tests[int(np.argmin(p))]
    gain = gain_of(series, several[0], noise, is_slope=kind in ("trend", "whole trend"))
    return Claim(kind, start, gain, min(1.0, *p))


def pair(series: Series, start: int) -> Floats:
    """Weights of the last checkpoint less the one at `start`."""
    weights = np.zeros(len(series.steps))
    weights[start] = -1
    weights[-1] += 1
    return weights


def _pairs(series: Series) -> list[_Contrast]:
    return [("pair", start, (pair(series, start),)) for start in range(len(series.steps) - 1)]


def _last(series: Series) -> list[_Contrast]:
    """The last checkpoint against the mean of the quarter of checkpoints before it, three at least."""
    before = len(series.steps) - 1
    start = before - max(3, math.ceil(before / 4))
    if start < 0:
        return []
    weights = np.zeros(before + 1)
    weights[start:-1] = -1 / (before - start)
    weights[-1] = 1
    return [("last", start, (weights,))]


def _late(series: Series) -> int:
    """Position of the first checkpoint of the late half."""
    return next(i for i, step in enumerate(series.steps) if 2 * step >= series.steps[-1])


def _trend(series: Series) -> list[_Contrast]:
    """Slope of the late half, whichever one checkpoint of it is left out; none with fewer than four.

    A single outlier, such as a loss spike, then makes no trend.
    """
    places = np.arange(_late(series), len(series.steps))
    if places.size < 4:
        return []
    left_out = (np.delete(places, i) for i in range(places.size))
    return [("trend", int(places[0]), tuple(_slope_weights(series, kept) for kept in (places, *left_out)))]


def _whole_trend(series: Series) -> list[_Contrast]:
    """Slope over all checkpoints; none with fewer than three."""
    places = np.arange(len(series.steps))
    return [("whole trend", 0, (_slope_weights(series, places),))] if places.size > 2 else []


def _slope_weights(series: Series, kept: NDArray[np.intp]) -> Floats:
    """Of the least-squares slope on log(step), per doubling of steps, over these positions."""
    x = log_steps(series.steps)[kept]
    weights = np.zeros(len(series.steps))
    weights[kept] = (x - x.mean()) * (math.log(2) / float(((x - x.mean()) ** 2).sum()))
    return weights


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

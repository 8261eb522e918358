"""What a training's score will be: from how other trainings went on from there, with an interval that was tried out.

A bank of other trainings of the same task tells how much each still gained from the place that this one has reached.
The gain is regressed on the level there (and on that of the smooth signal, bits per byte of the right answer, where all
have it), by ridge regression that leans to "all gain alike". Each training of the bank is then forecast from the
others; how far those forecasts were off is how wide the interval is: jackknife prediction, Barber, Candès, Ramdas &
Tibshirani, Annals of Statistics 49 (2021).

Held against two plain forecasts: "stays as it is", and the power law y = a - b·x^(-c) through a training's own scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval

RECENT = (0.2, 0.3, 0.5)
"""Weights of the last three scores in the level that a training has reached."""
RIDGE = 1.0
"""Penalty on the coefficients of standardised levels."""
FEWEST_IN_BANK = 8
"""Fewer other trainings make no interval."""
POWER_FROM = 1000
"""The power law is fitted from this place on, before which little is learned; to all if fewer than four are left."""
EXPONENTS = np.linspace(0.05, 2.0, 40)


@dataclass(frozen=True, slots=True)
class Course:
    """Scores of one training on one task."""

    name: str
    places: Floats
    """Shape (checkpoints,), increasing."""
    values: Floats
    """Shape (checkpoints,)."""
    smooth: Floats | None = None
    """Shape (checkpoints,): bits per byte of the right answer, where known."""

    def until(self, place: float) -> Course:
        """What was known at `place`."""
        kept = self.places <= place
        return Course(
            self.name, self.places[kept], self.values[kept], None if self.smooth is None else self.smooth[kept]
        )

    def covers(self, seen: Course, at: float) -> bool:
        """It was scored around the last places of `seen`, and around `at`."""
        return bool(self.places[0] <= seen.places[-len(RECENT)] and at <= self.places[-1])


@dataclass(frozen=True, slots=True)
class BackTest:
    """How far forecasts of the bank's own trainings were off, in the metric's unit: mean absolute errors."""

    forecast: float
    stays: float
    power_law: float
    trainings: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """The score expected at a place."""

    at: float
    value: float
    half_80: float
    half_90: float
    test: BackTest
    uses_smooth: bool
    refused: str | None = None
    """Why the figures are not to be relied on; None where they are."""

    def interval(self, level: float = 0.9) -> Interval:
        """80 or 90 % prediction interval of the score that will be measured."""
        half = {0.8: self.half_80, 0.9: self.half_90}[level]
        return Interval(self.value - half, self.value + half)


def power_law(seen: Course, at: float) -> float:
    """The least-squares fit of y = a - b·x^(-c) to a training's own scores, read at `at`."""
    late = seen.places >= POWER_FROM
    x, y = (seen.places[late], seen.values[late]) if late.sum() >= 4 else (seen.places, seen.values)
    best, found = np.inf, float(y[-1])
    for exponent in EXPONENTS:
        columns = np.column_stack([np.ones(len(x)), -((x + 1.0) ** -exponent)])
        fit = np.linalg.lstsq(columns, y, rcond=None)[0]
        error = float(((columns @ fit - y) ** 2).sum())
        if error < best:
            best, found = error, float(fit[0] - fit[1] * (at + 1.0) ** -exponent)
    return found


def forecast(seen: Course, bank: Sequence[Course], at: float) -> Forecast:
    """The score at `at`, given what `seen` has shown and how the trainings of `bank` went on.

    Refused (`refused` says why) where the back-test on the bank is no nearer than "stays as it is".

    Raises:
        ValueError: a place that is behind what was seen, fewer than three checkpoints, or too small a bank.
    """
    if len(seen.places) < len(RECENT):
        raise ValueError(f"{len(seen.places)} checkpoints tell too little; a forecast takes three at least")
    if at <= seen.places[-1]:
        raise ValueError(f"{at:,.0f} is not ahead: scores are there until {seen.places[-1]:,.0f}")
    others = [one for one in bank if one.covers(seen, at)]
    if len(others) < FEWEST_IN_BANK:
        raise ValueError(
            f"{len(others)} other trainings of this task reach from {seen.places[-1]:,.0f} to {at:,.0f}; a forecast"
            f" takes {FEWEST_IN_BANK} at least, to learn from and to be tested on"
        )
    has_smooth = seen.smooth is not None and all(one.smooth is not None for one in others)
    levels = np.stack([_levels(one, seen, smooth=has_smooth) for one in others])
    gains = np.array([_read(one.places, one.values, at) for one in others]) - levels[:, 0]
    own = _levels(seen, seen, smooth=has_smooth)
    errors = np.array([
        gains[k] - _ridge(np.delete(levels, k, 0), np.delete(gains, k), levels[k]) for k in range(len(others))
    ])  # fmt: skip
    test = _tested(errors, others, seen, at)
    found = float(own[0] + _ridge(levels, gains, own))
    why = None
    if test.forecast >= test.stays:
        why = f"forecasts were off by {test.forecast:.4f}, and 'stays as it is' by {test.stays:.4f}"
    return Forecast(at, found, _half(errors, 0.8), _half(errors, 0.9), test, has_smooth, why)


def _tested(errors: Floats, others: Sequence[Course], seen: Course, at: float) -> BackTest:
    last = float(seen.places[-1])
    known = [(one.until(last), _read(one.places, one.values, at)) for one in others]
    stays = [abs(float(one.values[-1]) - truth) for one, truth in known]
    power = [abs(power_law(one, at) - truth) for one, truth in known]
    return BackTest(float(np.abs(errors).mean()), float(np.mean(stays)), float(np.mean(power)), len(others))


def _read(places: Floats, values: Floats, at: float) -> float:
    """A curve at a place, linear in the logarithm between checkpoints."""
    return float(np.interp(np.log(at + 1.0), np.log(places + 1.0), values))


def _levels(one: Course, seen: Course, *, smooth: bool) -> Floats:
    """Where a training stood at the last places of `seen`; shape (1,), or (2,) with the smooth signal."""
    places = seen.places[-len(RECENT) :].tolist()
    found = [sum(w * _read(one.places, one.values, p) for w, p in zip(RECENT, places, strict=True))]
    if smooth and one.smooth is not None:
        found.append(sum(w * _read(one.places, one.smooth, p) for w, p in zip(RECENT, places, strict=True)))
    return np.array(found)


def _ridge(levels: Floats, gains: Floats, own: Floats) -> float:
    centre, spread = levels.mean(axis=0), levels.std(axis=0)
    spread[spread == 0] = 1.0
    x = (levels - centre) / spread
    slopes = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (gains - gains.mean()))
    return float(gains.mean() + (own - centre) / spread @ slopes)


def _half(errors: Floats, level: float) -> float:
    """What a new error stays below in `level` of cases: between the order statistics that (n + 1)·level names."""
    ranked = np.sort(np.abs(errors))
    place = level * (len(ranked) + 1) - 1
    if place >= len(ranked) - 1:
        return float(ranked[-1] * (1 + (place - (len(ranked) - 1))))
    low = int(place)
    return float(ranked[low] + (place - low) * (ranked[low + 1] - ranked[low]))

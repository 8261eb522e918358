"""Two trainings on the same docs: is one better, from when on, and how much training does that save?

Both curves are read on one axis. Where only one of them has a checkpoint, the other is interpolated linearly in the
logarithm of the place; what its bend may add to that is counted as error. The noise of each training's checkpoints is
averaged over as in `noise.py`, but before any score is seen every size up to four hundredths of the range is taken for
equally likely: with two or three checkpoints nothing else keeps noise of two points from passing for a difference.

"Better from X on" is a fixed sequence of tests, from the last common point back to the first that is not significant
(Westfall & Krishen, J. Stat. Plan. Inference 99 (2001)). How much training is saved is the set of places at which the
better curve is not significantly different from the other's last score (inverting a test: Fieller, JRSS B 16 (1954)).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.noise import MEAN_TAU, Gain, Noise, checkpoint_noise
from benchbench.stats.series import Series
from benchbench.stats.testing import ALPHA

GRID = 80
"""Places between a training's first and last at which its curve is held against the other's last score."""
NEGLIGIBLE = 1e-3
"""Cases of noise less likely than this are left out."""
FEWEST_FOR_BEND = 4
"""With fewer checkpoints nothing is known of the curve between them; intervals then end at checkpoints."""
FEWEST_UNITS = 10

Outcome = Literal["better", "worse", "equivalent", "no difference shown", "too little data"]


@dataclass(frozen=True, slots=True)
class PointDifference:
    """b − a at one place of the axis."""

    place: float
    value: float
    low: float
    high: float
    p: float
    """Two-sided."""
    interpolated: bool
    """One of the two has no checkpoint there."""
    bend: float
    """Standard error that interpolation adds."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Where the better training reaches the other's last score, as shares of the other's training."""

    faster: Literal["a", "b"]
    share: float | None
    """None: it does not get there."""
    low: float | None
    """95 % interval; None: before its first checkpoint."""
    high: float | None
    """None: after its last checkpoint, or never."""


@dataclass(frozen=True, slots=True)
class PairVerdict:
    """What is said of b against a."""

    outcome: Outcome
    since: float | None
    """Place from which on b is better (or worse) at every common point; None where nothing is shown."""
    last: PointDifference | None
    """At the last common point."""
    points: tuple[PointDifference, ...]
    saved: Saved | None
    level: float
    """Two-sided error of the claim."""
    delta: float
    noise: tuple[float, float] = (0.0, 0.0)
    """Median size of checkpoint noise of a and b, in the metric's unit."""
    reason: str | None = None


@dataclass(frozen=True)
class CurvePair:
    """Scores of two trainings on the same docs. Higher is better."""

    joint: Series
    """Checkpoints of a, then those of b; its steps count them."""
    a: tuple[int, ...]
    """Places of a's checkpoints on the axis (steps, tokens, operations), strictly increasing."""
    b: tuple[int, ...]

    @cached_property
    def logs(self) -> tuple[Floats, Floats]:
        """Logarithms of the places; of place + 1 where one is 0."""
        shift = 0.0 if min(self.a[0], self.b[0]) > 0 else 1.0
        x, y = (np.log(np.asarray(places, dtype=np.float64) + shift) for places in (self.a, self.b))
        return x, y

    @cached_property
    def cases(self) -> tuple[_Cases, _Cases]:
        """Noise of a's checkpoints and of b's."""
        cut = len(self.a)
        return _Cases.of(self._part(slice(None, cut), self.a)), _Cases.of(self._part(slice(cut, None), self.b))

    def _part(self, rows: slice, places: tuple[int, ...]) -> Series:
        joint = self.joint
        return replace(
            joint,
            steps=places,
            values=joint.values[rows],
            covariance=joint.covariance[rows, rows],
            pulls=None if joint.pulls is None else joint.pulls[rows],
        )

    def at(self, which: Literal["a", "b"], x: float) -> tuple[Floats, float]:
        """Weights of all checkpoints that read one training's curve at log place `x`, and the bend's variance."""
        logs = self.logs[0 if which == "a" else 1]
        start = 0 if which == "a" else len(self.a)
        own, place = np.zeros(len(self.a) + len(self.b)), int(np.searchsorted(logs, x - 1e-12))
        if place < len(logs) and abs(logs[place] - x) < 1e-9:
            own[start + place] = 1.0
            return own, 0.0
        place = min(max(place, 1), len(logs) - 1)
        left, right = logs[place - 1], logs[place]
        share = (x - left) / (right - left)
        own[start + place - 1], own[start + place] = 1 - share, share
        size = self._bends[0 if which == "a" else 1][[place - 1, place]]
        return own, float(np.nanmean(size) if np.isfinite(size).any() else 0.0) * ((x - left) * (right - x)) ** 2

    @cached_property
    def _bends(self) -> tuple[Floats, Floats]:
        """Squared second divided difference at every checkpoint, less what noise and docs make of it; NaN at ends."""
        return self._bend(self.logs[0], 0, self.cases[0]), self._bend(self.logs[1], len(self.a), self.cases[1])

    def _bend(self, logs: Floats, start: int, cases: _Cases) -> Floats:
        found = np.full(len(logs), np.nan)
        for k in range(1, len(logs) - 1):
            left, here, right = logs[k - 1 : k + 2]
            w = np.zeros(len(self.joint.values))
            w[start + k - 1 : start + k + 2] = (
                1 / ((left - here) * (left - right)),
                1 / ((here - left) * (here - right)),
                1 / ((right - left) * (right - here)),
            )
            chance = float(w @ self.joint.covariance @ w) + cases.typical**2 * float(w @ w)
            found[k] = max(0.0, float(w @ self.joint.values) ** 2 - chance)
        return found

    def gain(self, weights: Floats, bend: float = 0.0) -> Gain:
        """A contrast of the checkpoints of both, its error averaged over both noises."""
        errors, degrees, odds = self._errors(weights[None, :], np.array([bend]))
        return Gain(float(weights @ self.joint.values), errors[0], degrees[0], odds)

    def _errors(self, weights: Floats, bends: Floats) -> tuple[Floats, Floats, Floats]:
        """Standard errors and degrees of freedom, shape (contrasts, cases) each, and the cases' odds."""
        cut, (first, second) = len(self.a), self.cases
        items = np.einsum("qi,ij,qj->q", weights, self.joint.covariance, weights)[:, None]
        moved_a, moved_b = first.moved(weights[:, :cut]), second.moved(weights[:, cut:])
        noise = (moved_a[:, :, None] + moved_b[:, None, :]).reshape(len(weights), -1)
        total = items + noise + bends[:, None]
        floor = np.maximum(items, 1e-30)
        odds = (first.weights[:, None] * second.weights[None, :]).ravel()
        return np.sqrt(np.maximum(total, 1e-30)), max(1, self.joint.degrees) * (total / floor) ** 2, odds

    def tails(self, weights: Floats, bends: Floats) -> tuple[Floats, Floats]:
        """One-sided p of "at most 0" and of "at least 0" for many contrasts, shape (contrasts,) each."""
        from scipy.special import stdtr

        errors, degrees, odds = self._errors(weights, bends)
        t = (weights @ self.joint.values)[:, None] / errors
        return np.asarray(stdtr(degrees, -t) @ odds), np.asarray(stdtr(degrees, t) @ odds)


@dataclass(frozen=True)
class _Cases:
    """What noise of one training's checkpoints may be."""

    variances: Floats
    correlations: Floats
    weights: Floats

    @classmethod
    def of(cls, series: Series) -> _Cases:
        noise = _flat(checkpoint_noise(series), series.scale)
        kept = noise.weights > NEGLIGIBLE
        weights = noise.weights[kept]
        return cls(noise.taus[kept] ** 2, noise.correlations[kept], weights / weights.sum())

    @property
    def typical(self) -> float:
        """Median size."""
        order = np.argsort(self.variances, kind="stable")
        place = int(np.searchsorted(np.cumsum(self.weights[order]), 0.5 - 1e-12))
        return float(np.sqrt(self.variances[order][place]))

    def moved(self, weights: Floats) -> Floats:
        """Variance of contrasts from noise, shape (contrasts, cases)."""
        place = np.arange(weights.shape[1])
        found = np.empty((len(weights), len(self.variances)))
        for rho in np.unique(self.correlations):
            related = rho ** np.abs(place[:, None] - place[None, :])
            own = self.correlations == rho
            found[:, own] = (((weights @ related) * weights).sum(axis=1))[:, None] * self.variances[own]
        return found


def _flat(noise: Noise, scale: float) -> Noise:
    """The noise as it is if every size was equally likely before."""
    weights = noise.weights * np.exp(noise.taus / (scale / 100) / MEAN_TAU)
    return Noise(noise.taus, noise.correlations, weights / weights.sum(), noise.checkpoints)


def common_places(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Places of checkpoints where both trainings are known, by interpolation at least; ValueError if there is none."""
    first, last = max(a[0], b[0]), min(a[-1], b[-1])
    if first > last:
        raise ValueError(f"they have no part of the axis in common: {a[0]:,} to {a[-1]:,} and {b[0]:,} to {b[-1]:,}")
    return tuple(sorted({place for place in (*a, *b) if first <= place <= last}))


def pair_verdict(pair: CurvePair, *, delta: float, level: float = ALPHA) -> PairVerdict:
    """What can be said of b against a.

    better, worse: the difference at the last common point is significant at `level`, two-sided. equivalent: its 90 %
    interval lies inside ±delta.

    Args:
        delta: margin below which a difference counts as none, in the metric's unit.
        level: this claim's share of the chance of a false one.

    Raises:
        ValueError: a margin that is not positive, or trainings without a common place.
    """
    if not delta > 0:
        raise ValueError(f"delta must be positive, not {delta}")
    common = common_places(pair.a, pair.b)
    if pair.joint.degrees + 1 < FEWEST_UNITS:
        reason = f"{pair.joint.degrees + 1} independent docs are too few"
        return PairVerdict("too little data", None, None, (), None, level, delta, reason=reason)
    points = tuple(_difference(pair, place, level) for place in common)
    last = points[-1]
    outcome, since = _claim(pair, points, level, delta)
    noise = (pair.cases[0].typical, pair.cases[1].typical)
    return PairVerdict(outcome, since, last, points, saved(pair), level, delta, noise)


def last_difference(pair: CurvePair, level: float = ALPHA) -> PointDifference:
    """b − a at the last common point, on which the claim rests."""
    return _difference(pair, common_places(pair.a, pair.b)[-1], level)


def _contrast(pair: CurvePair, place: int) -> tuple[Floats, float]:
    x = float(np.log(place + (0.0 if min(pair.a[0], pair.b[0]) > 0 else 1.0)))
    (plus, bend_b), (minus, bend_a) = pair.at("b", x), pair.at("a", x)
    return plus - minus, bend_a + bend_b


def _difference(pair: CurvePair, place: int, level: float) -> PointDifference:
    weights, bend = _contrast(pair, place)
    gain = pair.gain(weights, bend)
    low, high = gain.interval(1 - level)
    p = min(1.0, 2 * min(gain.p_above(), 1 - gain.p_above()))
    return PointDifference(place, gain.value, low, high, p, place not in pair.a or place not in pair.b, bend**0.5)


def _claim(
    pair: CurvePair, points: tuple[PointDifference, ...], level: float, delta: float
) -> tuple[Outcome, float | None]:
    last = points[-1]
    if last.p < level:
        sign = 1 if last.value > 0 else -1
        since = last.place
        for point in reversed(points):
            if point.p >= level or point.value * sign <= 0:
                break
            since = point.place
        return ("better" if sign > 0 else "worse"), since
    low, high = pair.gain(*_contrast(pair, int(last.place))).interval(0.9)
    return ("equivalent" if -delta < low and high < delta else "no difference shown"), None


def saved(pair: CurvePair) -> Saved:
    """Where the training that ends higher reaches the other's last score; 95 % interval.

    At the true place the two are equal, so a test of equality keeps it in 95 % of cases; curves are taken to rise.
    """
    cut = len(pair.a)
    b_is_faster = bool(pair.joint.values[-1] >= pair.joint.values[cut - 1])
    which: Literal["a", "b"] = "b" if b_is_faster else "a"
    logs, goal = (pair.logs[1], cut - 1) if b_is_faster else (pair.logs[0], len(pair.joint.values) - 1)
    end = (pair.a if b_is_faster else pair.b)[-1]
    is_fine = len(logs) >= FEWEST_FOR_BEND
    grid = np.union1d(np.linspace(logs[0], logs[-1], GRID), logs) if is_fine else logs
    read = [pair.at(which, float(x)) for x in grid]
    weights = np.stack([w for w, _ in read])
    weights[:, goal] -= 1
    below, above = pair.tails(weights, np.array([bend for _, bend in read]))
    tail = ALPHA / 2
    is_open = np.flatnonzero((below >= tail) & (above >= tail))
    shift = 0.0 if min(pair.a[0], pair.b[0]) > 0 else 1.0

    def share(place: int) -> float:
        return float((np.exp(grid[place]) - shift) / end)

    first, last = _ends(is_open, below < tail, is_fine)
    return Saved(
        which,
        _reached(pair, which, goal, shift, end),
        None if first is None or first < 0 else share(first),
        None if last is None or last >= len(grid) else share(last),
    )


def _ends(is_open: NDArray[np.intp], is_above: NDArray[np.bool_], is_fine: bool) -> tuple[int | None, int | None]:
    """Positions between which the place lies; −1 or the length where it lies beyond the ends."""
    count = len(is_above)
    if len(is_open) == 0:
        risen = np.flatnonzero(is_above)
        return (int(risen[0]) - 1, int(risen[0])) if len(risen) else (count - 1, count)
    first, last = int(is_open[0]), int(is_open[-1])
    if first == 0:
        first = -1
    elif not is_fine:
        first -= 1
    if last == count - 1:
        last = count
    elif not is_fine:
        last += 1
    return first, last


def _reached(pair: CurvePair, which: Literal["a", "b"], goal: int, shift: float, end: int) -> float | None:
    """Where the best never-falling curve through one training's scores meets the other's last score."""
    from scipy.optimize import isotonic_regression

    cut = len(pair.a)
    logs = pair.logs[1 if which == "b" else 0]
    own = pair.joint.values[cut:] if which == "b" else pair.joint.values[:cut]
    rising, level = isotonic_regression(own).x, float(pair.joint.values[goal])
    risen = np.flatnonzero(rising >= level)
    if len(risen) == 0:
        return None
    place = int(risen[0])
    x = float(logs[place])
    if place > 0:
        low, high = float(rising[place - 1]), float(rising[place])
        x = float(logs[place - 1]) + (level - low) / (high - low) * (x - float(logs[place - 1]))
    return float((np.exp(x) - shift) / end)

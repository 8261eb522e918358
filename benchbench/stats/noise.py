"""Checkpoint noise: how much a score moves between checkpoints beyond the sampling of docs, and what is left to say.

Neighbouring checkpoints of one training differ although nothing was learned between them. Its size τ is not known, with
few checkpoints not even roughly, so it is never set to one value: every test is averaged over the values of τ that the
earlier checkpoints leave possible. The checkpoint under test has no part in it, or a collapse would pass as noise.

The model: score at checkpoint t = a smooth curve + τ·e_t + sampling error of the docs, where e_t has variance 1 and
correlation ρ^|t − s| with e_s. The sampling errors' covariance is known from the docs. The curve is a line in
log(step); or, where the scores insist on it, a line with one rise or fall of any steepness, with one outlier, or a
cubic, so that emergence, a jump or a loss spike is not taken for noise. Before any score is seen, τ is 0 or
exponentially distributed around one hundredth of the metric's range; what that leads to in runs of known noise is
measured by `python -m tests.simulate`.
Source: restricted likelihood with known error covariance: Harville, JASA 72 (1977); averaging over what is not known
rather than plugging in an estimate: Gelman et al., "Bayesian Data Analysis" (3rd ed.), ch. 5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import LEVEL, Interval
from benchbench.stats.series import Series, log_steps

TAUS = np.array([0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0])
"""Sizes of noise that are weighed, in hundredths of the metric's range."""
MEAN_TAU = 1.0
"""Mean of the exponential distribution of τ where it is not 0, in the same unit."""
ZERO_ODDS = math.e
"""How much likelier τ = 0 is than its share of that distribution."""
CORRELATIONS = ((0.0, 0.2), (0.35, 0.3), (0.7, 0.5))
"""Correlations of neighbouring checkpoints' noise that are weighed, and their weights."""
SHAPES = 0.03
"""Chance of each shape other than a line: one rise or fall of any steepness, one outlier, a cubic."""
WIDTHS = (0.0, 1.0, 1.5, 2.0, 3.0)
"""Steepness of a rise, in checkpoints: 0 is a jump, else the scale of a logistic curve."""
SHAPE_SIZE = 8.0
"""Standard deviation of what a shape adds to the line, in hundredths of the metric's range."""
REACH = 0.15
"""Earlier checkpoints from this share of the last step on tell of noise; before, curves are too steep."""
FEWEST, RECENT = 3, 6
"""Noise is read from at least 3 earlier checkpoints; the 6 before the last count whatever their step."""
SINGLE_FROM, BEND_FROM = 4, 7
"""A rise or an outlier is thought of from 4 checkpoints on, a bend from 7."""


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """What the earlier checkpoints say of τ."""

    taus: Floats
    """Shape (cases,): possible standard deviations of one checkpoint, in the score's own unit."""
    correlations: Floats
    """Shape (cases,): of neighbouring checkpoints."""
    weights: Floats
    """Shape (cases,): their probabilities, sum 1."""
    checkpoints: int
    """Earlier checkpoints that it rests on; 0 where they are too few and nothing is known."""

    @property
    def tau(self) -> float:
        """Median of τ."""
        return self._quantile(0.5)

    @property
    def upper(self) -> float:
        """Upper 95 % bound of τ."""
        return self._quantile(LEVEL)

    @property
    def is_seen(self) -> bool:
        """τ = 0 has a probability below 5 %."""
        return float(self.weights[self.taus == 0].sum()) < 1 - LEVEL

    def _quantile(self, level: float) -> float:
        order = np.argsort(self.taus, kind="stable")
        place = int(np.searchsorted(np.cumsum(self.weights[order]), level - 1e-12))
        return float(self.taus[order][min(place, order.size - 1)])


def fixed_noise(tau: float) -> Noise:
    """Noise of a known size, uncorrelated."""
    return Noise(np.array([tau]), np.zeros(1), np.ones(1), 0)


NO_NOISE = fixed_noise(0.0)
"""Checkpoints that do not move beyond what their docs say."""


@dataclass(frozen=True, slots=True, eq=False)
class Gain:
    """A difference of checkpoints whose error depends on the noise: a mixture of Student's t around `value`."""

    value: float
    """Positive is better."""
    stderrs: Floats
    """Shape (cases,)."""
    degrees: Floats
    """Shape (cases,)."""
    weights: Floats
    """Shape (cases,), sum 1."""

    @property
    def stderr(self) -> float:
        """Root of the mean variance."""
        return math.sqrt(float(self.weights @ self.stderrs**2))

    def p_above(self, margin: float = 0.0) -> float:
        """One-sided p of "the true difference is at most `margin`"."""
        return self._tail(self.value - margin)

    def half_width(self, tail: float) -> float:
        """Distance beyond which `tail` of the probability lies on one side."""
        from scipy.optimize import brentq

        far = float(self.stderrs.max())
        while self._tail(far) > tail:
            far *= 2
        return float(brentq(lambda x: self._tail(x) - tail, 0.0, far, xtol=1e-9 * far))

    def interval(self, level: float = LEVEL) -> Interval:
        """Two-sided interval."""
        half = self.half_width((1 - level) / 2)
        return Interval(self.value - half, self.value + half)

    def upper(self, level: float = LEVEL) -> float:
        """One-sided upper bound."""
        return self.value + self.half_width(1 - level)

    def _tail(self, distance: float) -> float:
        from scipy.special import stdtr

        return float(self.weights @ stdtr(self.degrees, -distance / self.stderrs))


def checkpoint_noise(series: Series) -> Noise:
    """What the checkpoints before the last say of noise."""
    unit = series.scale / 100
    used = _used(series)
    taus, rhos, prior = _cases()
    if used.size < FEWEST:
        return Noise(unit * taus, rhos, prior / prior.sum(), 0)
    y, sigma = series.values[used] / unit, series.covariance[np.ix_(used, used)] / unit**2
    logs = np.log(prior) + _log_likelihood(y, sigma, log_steps(series.steps)[used], taus, rhos)
    weights = np.exp(logs - logs.max())
    return Noise(unit * taus, rhos, weights / weights.sum(), used.size)


def gain_of(series: Series, weights: ArrayLike, noise: Noise, *, is_slope: bool = False) -> Gain:
    """The contrast Σ w_t θ_t of the series, its error averaged over what noise may be.

    Correlated noise looks like a slope, and few checkpoints tell little of the correlation: a slope is taken at the
    correlation that moves it most.
    """
    w = np.asarray(weights, dtype=np.float64)
    stderrs, degrees = _errors(series, w[None, :], noise, np.array([is_slope]))
    return Gain(float(w @ series.values), stderrs[0], degrees[0], noise.weights)


def p_above(series: Series, weights: Floats, noise: Noise, slopes: NDArray[np.bool_]) -> Floats:
    """One-sided p of "the contrast is at most 0" for many contrasts, as `gain_of(…).p_above()` for each.

    Args:
        weights: shape (contrasts, checkpoints).
        slopes: shape (contrasts,): which of them are slopes.
    Returns:
        shape (contrasts,).
    """
    from scipy.special import stdtr

    stderrs, degrees = _errors(series, weights, noise, slopes)
    values = weights @ series.values
    return np.asarray(stdtr(degrees, -values[:, None] / stderrs) @ noise.weights)


def _errors(series: Series, weights: Floats, noise: Noise, slopes: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Standard errors and degrees of freedom of contrasts in every case of noise, shape (contrasts, cases) each."""
    items = np.einsum("qi,ij,qj->q", weights, series.covariance, weights)[:, None]
    rhos = [rho for rho, _ in CORRELATIONS]
    spread = np.stack([((weights @ _correlation(weights.shape[1], rho)) * weights).sum(axis=1) for rho in rhos], axis=1)
    own = spread[:, np.searchsorted(rhos, noise.correlations)]
    moved = np.where(slopes[:, None], spread.max(axis=1, keepdims=True), own)
    variances = items + noise.taus**2 * moved
    return np.sqrt(variances), max(1, series.degrees) * (variances / items) ** 2


def _used(series: Series) -> NDArray[np.intp]:
    """Positions of the earlier checkpoints that tell of noise."""
    before = np.arange(len(series.steps) - 1)
    late = before[np.asarray(series.steps[:-1]) >= REACH * series.steps[-1]]
    return late if late.size >= RECENT else before[-RECENT:]


def _cases() -> tuple[Floats, Floats, Floats]:
    """τ (in hundredths of the range), ρ and prior weight of every case; τ = 0 needs no ρ."""
    density = np.exp(-TAUS / MEAN_TAU) * np.gradient(TAUS)
    found = [(0.0, 0.0, ZERO_ODDS * float(density[0]))]
    found += [
        (tau, rho, w * d)
        for tau, d in zip(TAUS[1:].tolist(), density[1:].tolist(), strict=True)
        for rho, w in CORRELATIONS
    ]
    taus, rhos, prior = zip(*found, strict=True)
    return np.array(taus), np.array(rhos), np.array(prior)


@cache
def _correlation(count: int, rho: float) -> Floats:
    places = np.arange(count)
    return np.asarray(rho ** np.abs(places[:, None] - places[None, :]), dtype=np.float64)


def _log_likelihood(y: Floats, sigma: Floats, x: Floats, taus: Floats, rhos: Floats) -> Floats:
    """Restricted log-likelihood of each case, averaged over the shapes that the curve may have; shape (cases,).

    Intercept and slope have a flat prior; what a shape adds to them is normal of standard deviation `SHAPE_SIZE`.
    """
    k = y.size
    places = {rho: _correlation(k, rho) for rho, _ in CORRELATIONS}
    cov = sigma + np.stack([tau**2 * places[rho] for tau, rho in zip(taus.tolist(), rhos.tolist(), strict=True)])
    inverse = np.linalg.inv(cov)
    base = np.column_stack([np.ones(k), x - x.mean()])
    head = base.T @ inverse @ base
    # `rest` maps a vector to what intercept and slope do not explain of it, weighted by the inverse covariance.
    rest = inverse - inverse @ base @ np.linalg.solve(head, base.T @ inverse)
    residual = rest @ (y - y.mean())
    line = -0.5 * (np.linalg.slogdet(cov)[1] + np.linalg.slogdet(head)[1] + residual @ (y - y.mean()))
    shapes = [_one_of(columns, rest, residual) for columns in _singles(x.size)]
    if k >= BEND_FROM:
        shapes.append(_both(_bends(x), rest, residual))
    total = 1 - SHAPES * len(shapes) + SHAPES * sum(shapes)
    return np.asarray(line + np.log(total), dtype=np.float64)


@cache
def _singles(count: int) -> tuple[Floats, ...]:
    """Columns of which the curve may have one: of rises, and of outliers; shape (columns, checkpoints) each."""
    if count < SINGLE_FROM:
        return ()
    place = np.arange(count, dtype=np.float64)
    jumps = [(place >= j).astype(np.float64) for j in range(1, count)]
    rises = [1 / (1 + np.exp((j - 0.5 - place) / width)) for width in WIDTHS if width for j in range(1, count)]
    return np.stack([*jumps, *rises]), np.eye(count)[1:-1]


def _bends(x: Floats) -> Floats:
    """Columns of a cubic beside intercept and slope, shape (2, checkpoints)."""
    z = (x - x.mean()) / np.ptp(x)
    return np.stack([z**2, z**3])


def _one_of(columns: Floats, rest: Floats, residual: Floats) -> Floats:
    """Mean likelihood ratio of one column with a normal coefficient against none, shape (cases,)."""
    own = np.maximum(0.0, ((columns @ rest) * columns).sum(axis=2))
    with_y = residual @ columns.T
    gains = np.exp(np.minimum(700.0, 0.5 * with_y**2 / (own + SHAPE_SIZE**-2))) / np.sqrt(1 + SHAPE_SIZE**2 * own)
    return np.asarray(gains.mean(axis=1), dtype=np.float64)


def _both(columns: Floats, rest: Floats, residual: Floats) -> Floats:
    """Likelihood ratio of several columns with normal coefficients against none, shape (cases,)."""
    own, with_y = columns @ rest @ columns.T, residual @ columns.T
    ridge = own + np.eye(len(columns)) / SHAPE_SIZE**2
    fit = np.einsum("ci,ci->c", with_y, np.linalg.solve(ridge, with_y[..., None])[..., 0])
    grown = np.linalg.slogdet(np.eye(len(columns)) + SHAPE_SIZE**2 * own)[1]
    return np.asarray(np.exp(np.minimum(700.0, 0.5 * (fit - grown))), dtype=np.float64)

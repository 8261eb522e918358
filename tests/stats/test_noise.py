"""What is known of checkpoint noise, and that no claim rests on a guess at it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats import noise as noise_module
from benchbench.stats.noise import CORRELATIONS, Gain, Noise, checkpoint_noise, gain_of, p_above
from benchbench.stats.series import Series, series_of_items, series_of_scores
from benchbench.stats.sweep import pair
from tests.simulate.worlds import Curve

STEPS = tuple(range(1000, 13000, 1000))


def published(values: list[float], error: float = 0.005, n: int = 10_000) -> Series:
    """A series of scores with one standard error for all."""
    return series_of_scores(range(1000, 1000 * len(values) + 1000, 1000), values, [error] * len(values), n)


def drawn(tau: float, seed: int, checkpoints: int = 12, n: int = 4000) -> Series:
    rows = Curve((0.5,) * checkpoints, n, tau=tau).draw(np.random.default_rng(seed))
    return series_of_items(STEPS[:checkpoints], rows)


def known(tau: float) -> Noise:
    return Noise(np.array([tau]), np.array([0.0]), np.array([1.0]), 10)


def test_without_earlier_checkpoints_nothing_is_known() -> None:
    found = checkpoint_noise(published([0.5, 0.5, 0.5]))
    assert found.checkpoints == 0
    assert not found.is_seen
    assert found.upper == pytest.approx(0.025)
    assert found.weights.sum() == pytest.approx(1)


def test_the_checkpoint_under_test_has_no_part_in_it() -> None:
    values = [0.5, 0.502, 0.499, 0.501, 0.5, 0.498, 0.501]
    flat, fallen = checkpoint_noise(published([*values, 0.5])), checkpoint_noise(published([*values, 0.02]))
    assert np.array_equal(flat.weights, fallen.weights)
    assert fallen.checkpoints == 6


@pytest.mark.parametrize("tau", [0.0, 0.01, 0.02])
def test_noise_of_a_known_size_is_found(tau: float) -> None:
    found = [checkpoint_noise(drawn(tau, seed)) for seed in range(20)]
    seen = sum(noise.is_seen for noise in found)
    assert seen <= 2 if tau == 0 else seen >= 8
    assert sum(noise.upper >= tau for noise in found) >= 19
    assert float(np.median([noise.tau for noise in found])) == pytest.approx(tau, abs=0.005)


def test_the_unit_is_the_metric_s_range() -> None:
    """BLEU of 0 to 100 has the noise of the same scores from 0 to 1, a hundred times as large."""
    values = [0.30, 0.31, 0.29, 0.33, 0.30, 0.32, 0.31]
    small = checkpoint_noise(series_of_scores(range(1, 8), values, [0.01] * 7, 500, scale=1.0))
    large = checkpoint_noise(series_of_scores(range(1, 8), [100 * v for v in values], [1.0] * 7, 500, scale=100.0))
    assert large.weights == pytest.approx(small.weights, rel=1e-6)
    assert large.upper == pytest.approx(100 * small.upper)


@pytest.mark.parametrize(
    "shape",
    {
        "a jump": np.where(np.arange(14) < 8, 0.40, 0.55),
        "an outlier": np.where(np.arange(14) == 7, 0.20, 0.50),
        "emergence": 0.25 + 0.5 / (1 + np.exp(-(np.arange(14) - 7) / 1.5)),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_is_no_line_is_not_taken_for_noise(shape: tuple[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    series = published([*shape[1].tolist(), float(shape[1][-1])], error=0.004)
    with_shapes = checkpoint_noise(series).tau
    monkeypatch.setattr(noise_module, "SHAPES", 0.0)
    assert checkpoint_noise(series).tau > 2 * with_shapes


def test_the_likelihood_is_that_of_the_residuals_of_a_line() -> None:
    """Against the restricted likelihood written out: REML of y ~ 1 + log(step) with a known covariance."""
    series = published([0.5, 0.51, 0.495, 0.52], error=0.01)
    y, x = 100 * series.values[:3], np.log([1000, 2000, 3000])
    found = checkpoint_noise(series)
    logs = []
    for tau, rho in zip(100 * found.taus, found.correlations, strict=True):
        cov = np.eye(3) * (1 + (100 / 10_002) ** 2) + tau**2 * rho ** np.abs(np.subtract.outer(range(3), range(3)))
        design = np.column_stack([np.ones(3), x])
        inverse = np.linalg.inv(cov)
        inner = design.T @ inverse @ design
        rest = y - design @ np.linalg.solve(inner, design.T @ inverse @ y)
        logs.append(-0.5 * (np.linalg.slogdet(cov)[1] + np.linalg.slogdet(inner)[1] + rest @ inverse @ rest))
    prior = checkpoint_noise(published([0.5, 0.5])).weights
    assert found.weights == pytest.approx(prior * np.exp(logs) / (prior @ np.exp(logs)), rel=1e-6)


def test_with_known_noise_a_gain_is_the_textbook_test() -> None:
    series = drawn(0.0, 3)
    weights = pair(series, 4)
    alone = gain_of(series, weights, known(0.0))
    variance = float(weights @ series.covariance @ weights)
    assert alone.stderr == pytest.approx(math.sqrt(variance))
    assert alone.p_above() == pytest.approx(scipy_stats.t.sf(alone.value / alone.stderr, series.degrees))
    noisy = gain_of(series, weights, known(0.02))
    assert noisy.stderr == pytest.approx(math.sqrt(variance + 2 * 0.02**2))
    assert abs(noisy.p_above() - 0.5) < abs(alone.p_above() - 0.5)


def test_correlated_noise_moves_a_slope_as_far_as_any_correlation_lets_it() -> None:
    series = drawn(0.0, 3)
    slope = np.linspace(-1, 1, 12)
    variance = float(slope @ series.covariance @ slope)
    lags = np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    most = max(slope @ rho**lags @ slope for rho, _ in CORRELATIONS)
    cautious = gain_of(series, slope, known(0.01), is_slope=True)
    assert cautious.stderr == pytest.approx(math.sqrt(variance + 0.01**2 * most))
    assert cautious.stderr > gain_of(series, slope, known(0.01)).stderr


def test_many_contrasts_at_once_are_each_of_them_alone() -> None:
    series = drawn(0.01, 5)
    noise = checkpoint_noise(series)
    rows = np.stack([pair(series, start) for start in range(5)])
    alone = [gain_of(series, row, noise).p_above() for row in rows]
    assert p_above(series, rows, noise, np.zeros(5, dtype=bool)) == pytest.approx(alone)


def test_a_mixture_s_interval_and_p_agree() -> None:
    gain = Gain(1.0, np.array([0.3, 1.0]), np.array([50.0, 1e9]), np.array([0.7, 0.3]))
    low, high = gain.interval()
    assert (low + high) / 2 == pytest.approx(1.0)
    assert gain.p_above(low) == pytest.approx(0.025, rel=1e-6)
    assert 1 - gain.p_above(high) == pytest.approx(0.025, rel=1e-6)
    assert gain.upper() == pytest.approx(1.0 + gain.half_width(0.05))

"""Figures on a task's curve, against worked numbers and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats.series import mann_kendall, series_of_items, signal_to_noise, task_signal
from tests.simulate.worlds import CARD_COUNTS, CARD_N, CARD_STEPS, card

CARD = [count / CARD_N for count in CARD_COUNTS]


def right(count: int, n: int) -> np.ndarray:
    return np.concatenate([np.ones(count), np.zeros(n - count)])


def test_the_worked_mann_kendall_test() -> None:
    found = mann_kendall(CARD)
    assert found == pytest.approx((10, 16.6667, 2.20454, 0.027486), abs=5e-5)
    assert scipy_stats.kendalltau(CARD_STEPS, CARD).pvalue == pytest.approx(0.016667, abs=5e-7)


def test_mann_kendall_counts_ties() -> None:
    assert mann_kendall([1, 1, 1, 1]) == (0, 0, 0, 1)
    assert mann_kendall([1, 1, 2, 3, 3]).variance == pytest.approx((5 * 4 * 15 - 2 * 2 * 1 * 9) / 18)


def test_four_points_never_get_a_mann_kendall_p() -> None:
    rows = [np.arange(20.0) + t for t in range(5)]
    assert task_signal(series_of_items(range(1, 5), rows[:4])).mann_kendall_p is None
    assert task_signal(series_of_items(range(1, 6), rows)).mann_kendall_p is not None


def test_the_worked_signal_to_noise() -> None:
    assert signal_to_noise([0.50, 0.55, 0.60], [0.59, 0.60, 0.61]) == pytest.approx(13.36085, abs=5e-6)
    assert signal_to_noise([0.5, 0.6], [0.6, 0.6]) is None


def test_monotonicity_is_spearman_s_and_follows_the_direction() -> None:
    rng = np.random.default_rng(0)
    rows = list(rng.normal(size=(6, 50)))
    means = [row.mean() for row in rows]
    found = task_signal(series_of_items(range(1, 7), rows))
    assert found.monotonicity == pytest.approx(scipy_stats.spearmanr(range(6), means).statistic)
    turned = task_signal(series_of_items(range(1, 7), rows, higher_is_better=False), higher_is_better=False)
    assert turned.monotonicity == pytest.approx(-(found.monotonicity or 0))


def test_a_curve_that_does_not_move_has_no_monotonicity() -> None:
    found = task_signal(series_of_items([1, 2, 3], [right(5, 10)] * 3), 0.5)
    assert (found.monotonicity, found.signal_to_noise) == (None, None)


def test_the_displayed_curve_never_falls() -> None:
    rows = [np.full(20, value) for value in (1.0, 3.0, 2.0, 4.0)]
    assert task_signal(series_of_items(range(1, 5), rows)).isotonic == pytest.approx((1, 2.5, 2.5, 4))
    falling = task_signal(series_of_items(range(1, 5), rows[::-1], higher_is_better=False), higher_is_better=False)
    assert falling.isotonic == pytest.approx((4, 2.5, 2.5, 1))


def test_above_chance_is_the_exact_binomial_test() -> None:
    series = series_of_items([1, 2], [right(20, 100), right(33, 100)])
    theirs = scipy_stats.binomtest(33, 100, 0.25, alternative="greater").pvalue
    assert task_signal(series, 0.25).above_chance_p == pytest.approx(theirs)
    assert task_signal(series).above_chance_p is None
    nothing = series_of_items([1, 2], [right(0, 10), right(0, 10)])
    assert task_signal(nothing, 0.25).above_chance_p == 1.0


def test_above_chance_with_clusters_or_real_scores_is_a_t_test() -> None:
    rows = list(np.random.default_rng(1).normal(0.5, 1, (2, 80)))
    theirs = scipy_stats.ttest_1samp(rows[1], 0.4, alternative="greater").pvalue
    assert task_signal(series_of_items([1, 2], rows), 0.4).above_chance_p == pytest.approx(theirs, rel=0.01)
    lower = task_signal(series_of_items([1, 2], rows, higher_is_better=False), 0.4, higher_is_better=False)
    assert lower.above_chance_p == pytest.approx(1 - theirs, rel=0.01)


def test_the_published_curve_is_monotone_and_above_chance() -> None:
    found = task_signal(series_of_items(CARD_STEPS, card(0.2, np.random.default_rng(0))), 0.25)
    assert found.monotonicity == 1.0
    assert found.mann_kendall_p == pytest.approx(0.027486, abs=5e-7)
    assert (found.above_chance_p or 0) < 1e-9

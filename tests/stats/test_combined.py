"""Intervals over docs and trainings together."""

from __future__ import annotations

import numpy as np
import pytest

from benchbench.stats.combined import answer_noise, training_spread, widened
from benchbench.stats.duel import duel
from benchbench.stats.intervals import Interval


def test_one_training_a_side_says_nothing_of_its_like() -> None:
    assert training_spread([0.5], [0.6]) is None
    assert training_spread([0.5, 0.5], [0.6]) == 0.0


def test_it_is_welchs_interval() -> None:
    from scipy import stats

    a, b = [0.50, 0.52, 0.47], [0.60, 0.61, 0.66, 0.58]
    found = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.95)
    assert training_spread(a, b) == pytest.approx((found.high - found.low) / 2)


def test_an_interval_is_widened_on_each_side_by_itself() -> None:
    assert widened(1.0, Interval(-2.0, 5.0), 4.0) == pytest.approx((-4.0, 1.0 + 32**0.5))
    assert widened(1.0, Interval(0.0, 3.0), 0.0) == (0.0, 3.0)


def rate(trainings: int, tries: int, seed: int) -> float:
    """How often the interval holds the true difference of two recipes, of which each training is a draw."""
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(tries):
        ease = rng.beta(1, 1, 250)
        shift = rng.normal([0.0, 0.08], 0.03, (trainings, 2))
        answers = rng.random((trainings, 2, 250)) < np.clip(ease + shift[:, :, None], 0, 1)
        scores = answers.astype(float)
        found = duel(scores[:, 0].mean(axis=0), scores[:, 1].mean(axis=0), seed=1)
        means = scores.mean(axis=2)
        spread = training_spread(
            list(means[:, 0]), list(means[:, 1]), (answer_noise(scores[:, 0]), answer_noise(scores[:, 1]))
        )
        interval = found.interval
        assert interval is not None
        assert spread is not None
        low, high = widened(found.difference.value, interval, spread)
        hits += low <= TRUTH <= high
    return hits / tries


def _truth() -> float:
    rng = np.random.default_rng(0)
    ease = rng.random(400_000)
    gain = [np.clip(ease + rng.normal(mean, 0.03, ease.size), 0, 1).mean() for mean in (0.0, 0.08)]
    return float(gain[1] - gain[0])


TRUTH = _truth()


def test_it_covers_the_true_difference_of_two_recipes() -> None:
    """The Monte Carlo error of 200 runs is 1.5 points."""
    assert rate(3, 200, 3) == pytest.approx(0.955, abs=0.04)


def test_the_noise_of_answers_is_what_is_left_of_docs_and_trainings() -> None:
    rng = np.random.default_rng(1)
    found = [answer_noise(rng.random(60) + rng.normal(0, 1, (4, 1)) + rng.normal(0, 0.3, (4, 60))) for _ in range(300)]
    assert np.mean(found) == pytest.approx(0.09 / 60, rel=0.05)
    assert answer_noise(np.ones((1, 5))) == 0.0

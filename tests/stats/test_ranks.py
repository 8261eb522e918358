"""Rank intervals, win rates and scores on one scale."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats.difference import paired_difference
from benchbench.stats.influence import mean
from benchbench.stats.ranks import (
    Covariance,
    chance_normalised,
    covariance_of_mean,
    duel_win_score,
    mean_covariance,
    mean_win_rate,
    rank_intervals,
)
from benchbench.stats.units import spread, units_of_means

A_BEATS_B = [[False, True], [False, False]]
B_BEATS_A = [[False, False], [True, False]]


def test_the_worked_ranks() -> None:
    found = rank_intervals([0.60, 0.50, 0.49], np.eye(3) * 0.01**2, seed=0, draws=400_000)
    assert found.low.tolist() == [1, 2, 2]
    assert found.high.tolist() == [1, 3, 3]
    exact = scipy_stats.studentized_range.ppf(0.95, 3, math.inf) / math.sqrt(2)
    assert exact == pytest.approx(2.3437, abs=5e-5)
    assert found.critical[0] == pytest.approx(exact, abs=0.01)
    assert found.critical[1] == pytest.approx(1.96, abs=0.01), "one pair is left after the first step"


def test_step_down_finds_what_one_step_does_not() -> None:
    """2.2 standard errors between the last two are enough once the first is out of the family."""
    error = 0.01
    found = rank_intervals([0.9, 0.5 + 2.2 * math.sqrt(2) * error, 0.5], np.eye(3) * error**2, seed=1)
    assert found.low.tolist() == [1, 2, 3]


def test_ties_share_all_places_and_lower_may_be_better() -> None:
    tied = rank_intervals([0.5] * 4, np.eye(4) * 1e-4, seed=0)
    assert (tied.low.tolist(), tied.high.tolist()) == ([1] * 4, [4] * 4)
    turned = rank_intervals([3.0, 1.0, 2.0], np.eye(3) * 1e-4, seed=0, higher_is_better=False)
    assert turned.low.tolist() == turned.high.tolist() == [3, 1, 2]


def test_the_same_seed_gives_the_same_ranks() -> None:
    values = np.random.default_rng(0).normal(size=8)
    first, second = (rank_intervals(values, np.eye(8) * 0.3, seed=4) for _ in range(2))
    assert first.critical == second.critical
    assert (first.better == second.better).all()


def test_shared_items_narrow_the_intervals() -> None:
    rng = np.random.default_rng(0)
    ease = rng.normal(size=500)
    scores = ease + rng.normal(0, 0.2, (3, 500)) + np.array([[0.0], [0.05], [0.1]])
    psi = scores - scores.mean(axis=1, keepdims=True)
    together = rank_intervals(scores.mean(axis=1), mean_covariance([psi]), seed=0)
    alone = rank_intervals(scores.mean(axis=1), np.diag(np.diag(mean_covariance([psi]))), seed=0)
    assert together.low.tolist() == [3, 2, 1]
    assert alone.low.tolist() == [1, 1, 1]


def test_a_model_listed_twice_is_never_above_itself() -> None:
    psi = np.random.default_rng(1).normal(size=(2, 100))
    twice = np.vstack([psi, psi[1]])
    found = rank_intervals([0.9, 0.1, 0.1], mean_covariance([twice - twice.mean(axis=1, keepdims=True)]), seed=0)
    assert (found.low[1], found.high[1]) == (found.low[2], found.high[2])
    assert not found.better[1, 2]
    assert not found.better[2, 1]


def test_the_covariance_of_a_mean_is_that_of_paired_differences() -> None:
    rng = np.random.default_rng(2)
    tables = [rng.normal(size=(2, n)) for n in (40, 60)]
    names = [None, [f"c{i // 3}" for i in range(60)]]
    psi = [table - table.mean(axis=1, keepdims=True) for table in tables]
    found = mean_covariance(psi, names, [1.0, 3.0])
    errors = [
        paired_difference(mean(t[0]), mean(t[1]), labels).stderr or 0 for t, labels in zip(tables, names, strict=True)
    ]
    variance = found[0, 0] + found[1, 1] - 2 * found[0, 1]
    assert math.sqrt(variance) == pytest.approx(math.hypot(errors[0] / 4, 3 * errors[1] / 4))


def centred(table: np.ndarray) -> np.ndarray:
    return table - table.mean(axis=1, keepdims=True)


def test_a_covariance_knows_how_few_docs_it_comes_from() -> None:
    table = np.random.default_rng(3).normal(size=(2, 12))
    known = mean_covariance([centred(table)])
    alone = spread(units_of_means(table[:1] - table[1:], None, np.ones(1), np.ones(1)))
    assert (known.units, known.degrees.shape) == (12, (1,))
    assert known.degrees[0] <= 11
    assert known[0, 0] + known[1, 1] - 2 * known[0, 1] == pytest.approx(alone.variance[0])
    assert np.asarray(known).tolist() == pytest.approx(np.cov(table) / 12)


def test_two_models_on_few_docs_are_held_to_student_s_t() -> None:
    """2.1 standard errors: enough for the normal, too little for 7 degrees of freedom."""
    sigma = np.eye(2) * 0.01**2
    values = [0.5 + 2.1 * math.sqrt(2) * 0.01, 0.5]
    assert rank_intervals(values, sigma, seed=0).low.tolist() == [1, 2]
    assert rank_intervals(values, Covariance(sigma, degrees=7.0), seed=0).low.tolist() == [1, 1]
    assert rank_intervals(values, Covariance(sigma, extra=1e-4), seed=0).low.tolist() == [1, 1]
    enough = scipy_stats.t.ppf(0.975, 7) * 1.02
    values = [0.5 + enough * math.sqrt(2) * 0.01, 0.5]
    assert rank_intervals(values, Covariance(sigma, degrees=7.0), seed=0).low.tolist() == [1, 2]


def test_equal_answers_on_few_docs_separate_no_models_whatever_their_values() -> None:
    same = np.zeros((2, 8))
    assert rank_intervals([0.5, 0.55], mean_covariance([same]), seed=0).low.tolist() == [1, 1]
    assert rank_intervals([0.5, 0.55], mean_covariance([np.zeros((2, 4000))]), seed=0).low.tolist() == [2, 1]


def test_arithmetic_forgets_what_is_known_and_a_mean_of_covariances_does_not() -> None:
    tables = [centred(np.random.default_rng(i).normal(size=(3, n))) for i, n in ((4, 20), (5, 300))]
    parts = [mean_covariance([table]) for table in tables]
    assert np.isinf((parts[0] * 0.25).degrees).all()
    together, weighed = mean_covariance(tables, weights=[1.0, 3.0]), covariance_of_mean(parts, [0.25, 0.75])
    assert np.asarray(together) == pytest.approx(np.asarray(weighed))
    assert together.degrees == pytest.approx(weighed.degrees)
    assert together.units == 320
    exact = covariance_of_mean([parts[0], np.eye(3) * 1e-3], [0.5, 0.5])
    assert (exact.degrees > parts[0].degrees).all(), "what is known exactly has no degrees to lose"


def test_many_models_on_few_docs_need_more_than_their_covariance_shows() -> None:
    """A covariance of 30 models from 10 docs has rank 9: the largest of their gaps looks smaller than it is."""
    table = np.random.default_rng(6).normal(size=(30, 10))
    known = mean_covariance([centred(table)])
    independent = rank_intervals(np.zeros(30), np.eye(30), seed=0).critical[0]
    assert rank_intervals(np.zeros(30), np.asarray(known), seed=0).critical[0] < independent - 0.2
    assert rank_intervals(np.zeros(30), known, seed=0).critical[0] == pytest.approx(independent, abs=0.02)
    many = mean_covariance([centred(np.random.default_rng(6).normal(size=(30, 3000)))])
    plain = rank_intervals(np.zeros(30), np.asarray(many), seed=0).critical[0]
    assert rank_intervals(np.zeros(30), many, seed=0).critical[0] == pytest.approx(plain, abs=1e-3)


def test_the_same_questions_in_several_languages_are_one_unit() -> None:
    table = centred(np.random.default_rng(7).normal(size=(2, 50)))
    names = [[f"question {i}" for i in range(50)]] * 4
    apart = mean_covariance([table] * 4, names)
    parallel = mean_covariance([table] * 4, names, parallel=True)
    assert np.asarray(parallel) == pytest.approx(np.asarray(mean_covariance([table])))
    assert np.asarray(apart) == pytest.approx(np.asarray(parallel) / 4)
    assert (parallel.units, apart.units) == (50, 200)
    others = [[f"{task} {i}" for i in range(50)] for task in range(4)]
    alone = mean_covariance([table] * 4, others, parallel=True)
    assert np.asarray(alone) == pytest.approx(np.asarray(apart), rel=0.02), "nothing shared: as if independent"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: rank_intervals([1.0, 2.0], np.eye(3), seed=0), "2 × 2"),
        (lambda: mean_covariance([]), "at least one task"),
        (lambda: mean_covariance([np.ones((2, 1))]), "two independent items"),
    ],
)
def test_what_does_not_fit_is_refused(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]


def test_scores_on_the_scale_from_chance_to_the_best() -> None:
    assert 100 * chance_normalised(0.6, 0.25) == pytest.approx(46.67, abs=5e-3)
    assert 100 * chance_normalised(0.5004, 0.25) == pytest.approx(33.387, abs=5e-4)
    assert 100 * chance_normalised(0.4992, 0.25) == pytest.approx(33.227, abs=5e-4)
    step = chance_normalised(0.5 + 0.00499, 0.25) - chance_normalised(0.5, 0.25)
    assert step == pytest.approx(0.00665, abs=5e-6)
    assert chance_normalised(0.2, 0.25) < 0, "below chance stays visible"
    with pytest.raises(ValueError, match="below the best"):
        chance_normalised(0.5, 1.0)


def test_the_worked_mean_win_rate() -> None:
    assert mean_win_rate([[0.5, 0.4, 0.4, 0.1]]).tolist() == [1, 0.5, 0.5, 0]


def test_a_model_without_a_score_is_left_out_of_that_task() -> None:
    rates = mean_win_rate([[0.5, 0.4, math.nan], [0.1, 0.2, 0.3]])
    assert rates.tolist() == [0.5, 0.25, 1.0]
    assert math.isnan(mean_win_rate([[0.5, math.nan]])[0])


def test_the_worked_duel_win_scores() -> None:
    beats_both = [[False, True, True], [False] * 3, [False] * 3]
    assert duel_win_score([beats_both]).tolist() == [1, 0, 0]
    assert duel_win_score([A_BEATS_B, B_BEATS_A]).tolist() == [0.5, 0.5]


def test_a_duel_win_score_depends_on_who_else_is_listed() -> None:
    """Nothing about A and B changes, but C joins and loses once, to A."""
    first = [[False, True, True], [False] * 3, [False] * 3]
    second = [[False] * 3, [True, False, False], [False] * 3]
    assert duel_win_score([first, second]).tolist() == [0.5, 0.25, 0.0]


def test_a_lone_task_of_a_category_weighs_as_much_as_the_category() -> None:
    tasks = [A_BEATS_B, B_BEATS_A, B_BEATS_A]
    assert duel_win_score(tasks, ["history", "nli", "nli"]).tolist() == [0.5, 0.5]
    assert duel_win_score(tasks).tolist() == pytest.approx([1 / 3, 2 / 3])


@pytest.mark.parametrize("bad", [A_BEATS_B, [[[False]]]])
def test_wins_need_their_shape(bad: list) -> None:
    with pytest.raises(ValueError, match="tasks × models × models"):
        duel_win_score(bad)

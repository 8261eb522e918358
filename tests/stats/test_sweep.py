"""Series of checkpoints: contrasts, rises and falls, the fixed sequence, drops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats.difference import paired_difference
from benchbench.stats.influence import Estimate, mean, ratio, unseen_variance
from benchbench.stats.noise import Noise, checkpoint_noise, gain_of
from benchbench.stats.series import Series, log_steps, series_of_estimates, series_of_items, series_of_tasks
from benchbench.stats.sweep import drops, fall, fixed_sequence, last_part, pair, rise_ever, rise_lately
from benchbench.stats.testing import Family
from tests.simulate.worlds import CARD_STEPS, Curve, card

QUIET = Noise(np.zeros(1), np.zeros(1), np.ones(1), 10)
"""Checkpoints that are known not to move beyond what their docs say."""


def real_scores(values: list[float], n: int = 400, seed: int = 0) -> list[np.ndarray]:
    """Item scores with these means exactly, correlated between checkpoints."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=n)
    rows = [ease + rng.normal(0, 0.5, n) for _ in values]
    return [row - row.mean() + value for row, value in zip(rows, values, strict=True)]


def binary(values: list[float], n: int = 2000, seed: int = 0) -> Series:
    steps = range(1000, 1000 * len(values) + 1000, 1000)
    return series_of_items(steps, Curve(tuple(values), n).draw(np.random.default_rng(seed)))


def test_the_published_curve_has_the_worked_z() -> None:
    series = series_of_items(CARD_STEPS, card(0.2, np.random.default_rng(0)))
    z = [series.contrast(pair(series, start)) for start in range(4)]
    assert [d.value / (d.stderr or math.nan) for d in z] == pytest.approx([10.82, 5.59, 2.43, 1.00], abs=8e-3)


@pytest.mark.parametrize(("disagreement", "step"), [(0.07, 130_000), (0.08, 100_000), (0.40, 100_000), (0.46, 75_000)])
def test_without_noise_the_sequence_stops_where_the_published_plateau_starts(disagreement: float, step: int) -> None:
    tests = fixed_sequence(series_of_items(CARD_STEPS, card(disagreement, np.random.default_rng(0))), QUIET)
    stopped = next((CARD_STEPS[test.start] for test in tests if test.p > 0.05), 130_000)
    assert stopped == step


@pytest.mark.parametrize(("disagreement", "upper"), [(0.08, 0.0091), (0.12, 0.0102), (0.20, 0.0118)])
def test_the_gain_from_100k_has_the_worked_upper_bound(disagreement: float, upper: float) -> None:
    series = series_of_items(CARD_STEPS, card(disagreement, np.random.default_rng(0)))
    assert gain_of(series, pair(series, 3), QUIET).upper() == pytest.approx(upper, abs=6e-5)


def test_the_sequence_starts_at_the_lowest_and_stops_at_the_first_that_is_not_significant() -> None:
    tests = fixed_sequence(series_of_items([1, 2, 3, 4, 5], real_scores([0.3, 0.0, 0.6, 0.2, 0.6])), QUIET)
    assert [test.start for test in tests] == [1, 2]
    assert tests[0].p < 0.05 < tests[1].p


def test_gains_equal_the_paired_test_of_the_items() -> None:
    """But for what so few docs may not have shown, which widens them a little."""
    rows = real_scores([0.0, 0.1, 0.3])
    series = series_of_items([1, 2, 3], rows)
    theirs = scipy_stats.ttest_rel(rows[2], rows[1], alternative="greater")
    ours = gain_of(series, pair(series, 1), QUIET)
    assert ours.value / ours.stderr == pytest.approx(theirs.statistic, rel=0.01)
    assert ours.value / ours.stderr < theirs.statistic


def test_clusters_are_summed_as_in_a_duel() -> None:
    rows = real_scores([0.0, 0.1])
    names = [f"passage {i // 8}" for i in range(400)]
    series = series_of_items([1, 2], rows, names)
    by_hand = paired_difference(mean(rows[0]), mean(rows[1]), names)
    assert series.contrast([-1, 1]).stderr == pytest.approx(by_hand.stderr, rel=0.03)
    assert (series.n_clusters, series.degrees) == (50, 49)
    assert series_of_items([1, 2], rows, np.array(names)).contrast([-1, 1]) == series.contrast([-1, 1])


def test_docs_that_never_differ_have_an_error_all_the_same() -> None:
    series = series_of_items([1, 2, 3], [np.full(12, 0.2)] * 3)
    assert series.contrast([-1, 0, 1]).stderr == pytest.approx(math.sqrt(unseen_variance(np.zeros(12), 1.0)))
    bleu = [Estimate(30.0, np.zeros(12))] * 2
    wide = series_of_estimates([1, 2], bleu, scale=100.0)
    assert wide.contrast([-1, 1]).stderr == pytest.approx(math.sqrt(unseen_variance(np.zeros(12), 100.0)))


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    series = series_of_items([1, 2, 3], real_scores([2.0, 1.5, 1.0]), higher_is_better=False)
    assert gain_of(series, pair(series, 0), QUIET).value == pytest.approx(1.0)
    errors = series_of_items([1, 2], [np.ones(50), np.zeros(50)], higher_is_better=False)
    assert errors.right is not None
    assert errors.right.all()


def test_a_failed_doc_is_left_out_at_every_checkpoint() -> None:
    rows = real_scores([0.0, 0.1], n=20)
    rows[1][3] = math.nan
    series = series_of_items([1, 2], rows, [f"c{i}" for i in range(20)])
    assert series.n == 19
    assert series.values[0] == pytest.approx(np.delete(rows[0], 3).mean())


def test_unpaired_checkpoints_have_wider_gains() -> None:
    rows = real_scores([0.0, 0.1])
    paired, alone = (series_of_items([1, 2], rows, paired=p).contrast([-1, 1]) for p in (True, False))
    theirs = scipy_stats.ttest_ind(rows[1], rows[0])
    assert alone.stderr == pytest.approx(abs(0.1 / theirs.statistic), rel=1e-2)
    assert (paired.stderr or 0) < (alone.stderr or 0)
    assert series_of_items([1, 2], [rows[0], rows[1][:99]], paired=False).n == 99


def test_a_series_of_ratios_is_paired_by_influence() -> None:
    rng = np.random.default_rng(0)
    size = rng.integers(5, 50, 100)
    nats = [size * rng.gamma(4, 0.25 * level, 100) for level in (1.2, 1.0)]
    estimates = [ratio(x, size) for x in nats]
    series = series_of_estimates([1, 2], estimates, higher_is_better=False)
    by_hand = paired_difference(estimates[1], estimates[0])
    assert series.contrast([-1, 1]).value == pytest.approx(by_hand.value)
    assert series.contrast([-1, 1]).stderr == pytest.approx(by_hand.stderr, rel=0.03)


def test_a_suite_is_the_mean_of_its_tasks_with_their_errors_added() -> None:
    one, two = real_scores([0.0, 0.1], n=100), real_scores([0.5, 0.9], n=300, seed=1)
    members = [series_of_items([1, 2], rows) for rows in (one, two)]
    suite = series_of_tasks(members)
    assert suite.values == pytest.approx([0.25, 0.5])
    gains = [member.contrast([-1, 1]).stderr or 0 for member in members]
    assert suite.contrast([-1, 1]).stderr == pytest.approx(math.hypot(*gains) / 2)
    assert (suite.n, suite.paired, suite.right) == (400, True, None)
    assert 99 <= suite.degrees <= 398
    scaled = series_of_tasks(members, [1.0, 3.0], ranges=[(0.0, 1.0), (0.5, 1.0)])
    assert scaled.values == pytest.approx([0.0, (0.1 + 3 * 0.8) / 4])
    with pytest.raises(ValueError, match="the same checkpoints"):
        series_of_tasks([members[0], series_of_items([1, 3], one)])


@pytest.mark.parametrize(
    ("steps", "rows", "says"),
    [
        ([1, 1], [[1, 0], [1, 0]], "increase strictly"),
        ([2, 1], [[1, 0], [1, 0]], "increase strictly"),
        ([1], [[1, 0], [1, 0]], "1 steps for 2"),
        ([], [], "0 steps for 0"),
        ([1, 2], [[1, 0], [1, 0, 1]], "same items"),
        ([1, 2], [[math.nan], [1]], "no item has a score"),
    ],
)
def test_series_that_do_not_fit_are_refused(steps: list[int], rows: list, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        series_of_items(steps, rows)


def test_the_newest_part_is_the_last_fifth_of_the_steps_or_what_was_asked_for() -> None:
    series = binary([0.5] * 10)
    assert series.steps[last_part(series)] == 8000
    assert series.steps[last_part(series, 5500)] == 5000
    assert last_part(series, 10) == 0
    doubling = series_of_items([1000, 2000, 4000], real_scores([0.1, 0.2, 0.3]))
    assert last_part(doubling) == 1


def test_a_jump_at_the_end_is_found_as_what_it_is() -> None:
    series = binary([0.5] * 11 + [0.57])
    found = rise_lately(series, checkpoint_noise(series), Family(), last_part(series))
    assert (found.kind, found.start) == ("last", 8)
    assert found.p < 0.05
    assert found.gain.value == pytest.approx(float(series.values[-1] - series.values[8:11].mean()))


def test_a_steady_rise_is_found_as_a_trend() -> None:
    series = binary([0.3 + 0.02 * i for i in range(20)], n=5000)
    found = rise_lately(series, checkpoint_noise(series), Family(), last_part(series))
    late = slice(9, 20)
    slope = np.polyfit(np.log2(series.steps[late]), series.values[late], 1)[0]
    assert found.kind == "trend"
    assert found.gain.value == pytest.approx(slope)
    assert found.p < 0.05


def test_one_loss_spike_makes_no_trend() -> None:
    """Left out, nothing rises: the slope that a dip at the start of the late half makes is no claim."""
    values = [0.5] * 20
    values[10] = 0.2
    series = binary(values)
    noise = checkpoint_noise(series)
    assert rise_lately(series, noise, Family(), last_part(series)).p > 0.05
    weights = log_steps(series.steps[9:]) - log_steps(series.steps[9:]).mean()
    slope = np.r_[np.zeros(9), weights]
    assert gain_of(series, slope, QUIET).p_above() < 0.001, "with the dip in it there would be one"


def test_a_collapse_is_found_however_long_the_run_before_it() -> None:
    for before in (3, 11, 40):
        series = binary([0.5] * before + [0.3])
        found = fall(series, checkpoint_noise(series), Family())
        assert found.p < 0.001, before
        assert found.gain.value < -0.15


def test_a_collapse_stays_one_when_more_checkpoints_share_it() -> None:
    for after in (1, 2, 4):
        series = binary([0.5] * 12 + [0.3] * after)
        assert fall(series, checkpoint_noise(series), Family()).p < 0.001, after


def test_tasks_and_looks_make_claims_rarer() -> None:
    series = binary([0.5] * 7 + [0.57])
    noise = checkpoint_noise(series)
    one, many = (fall(binary([0.5] * 7 + [0.45]), noise, Family(tasks=tasks)) for tasks in (1, 30))
    assert many.p == pytest.approx(min(1.0, 30 * one.p))
    lately = rise_lately(series, noise, Family(looks=1), 5)
    assert lately.p < rise_lately(series, noise, Family(), 5).p
    assert rise_ever(series, noise, Family(looks=1), lately).p <= lately.p


def test_drops_between_neighbours_have_their_share_for_good() -> None:
    series = series_of_items([1, 2, 3, 4], real_scores([0.0, 0.5, 0.1, 0.6]))
    (found,) = drops(series, QUIET, Family())
    assert (found.start, found.end) == (1, 2)
    assert found.gain.value == pytest.approx(-0.4)
    later = series_of_items([1, 2, 3, 4, 5], real_scores([0.0, 0.5, 0.1, 0.6, 0.6]))
    assert [test.start for test in drops(later, QUIET, Family())] == [1]
    assert drops(series, QUIET, Family(tasks=10**30)) == ()


def parallel(tasks: int, correlation: float, n: int = 300, seed: int = 0, steps: int = 2) -> list[list[np.ndarray]]:
    """Item scores of tasks whose docs are the same questions: one list of checkpoints per task."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=n)
    mixed = math.sqrt(correlation), math.sqrt(1 - correlation)
    return [[mixed[0] * ease * (1 + t) + mixed[1] * rng.normal(size=n) for t in range(steps)] for _ in range(tasks)]


def test_the_same_questions_in_several_languages_are_one_cluster_across_tasks() -> None:
    names = [f"question {i}" for i in range(300)]
    tasks = parallel(5, 0.6)
    joint = series_of_tasks([series_of_items([1, 2], rows, names) for rows in tasks])
    as_one = series_of_items([1, 2], [np.mean([rows[t] for rows in tasks], axis=0) for t in range(2)])
    assert joint.contrast([-1, 1]).stderr == pytest.approx(as_one.contrast([-1, 1]).stderr, rel=0.02)
    assert (joint.n, joint.n_clusters, joint.degrees) == (1500, 300, 299)
    alone = series_of_tasks([series_of_items([1, 2], rows) for rows in tasks])
    assert (joint.contrast([-1, 1]).stderr or 0) > 1.5 * (alone.contrast([-1, 1]).stderr or 9)


def test_shared_passages_are_one_cluster_in_their_task_and_across_tasks() -> None:
    names = [f"passage {i // 3}" for i in range(300)]
    tasks = parallel(2, 0.6)
    joint = series_of_tasks([series_of_items([1, 2], rows, names) for rows in tasks])
    flat = [np.concatenate([rows[t] for rows in tasks]) for t in range(2)]
    as_one = series_of_items([1, 2], flat, [*names, *names])
    assert joint.contrast([-1, 1]).stderr == pytest.approx(as_one.contrast([-1, 1]).stderr, rel=0.02)
    assert joint.n_clusters == 100


def test_docs_without_a_name_are_shared_with_nothing() -> None:
    tasks = parallel(2, 0.6)
    some = [None if i % 2 else f"q{i}" for i in range(300)]
    joint = series_of_tasks([series_of_items([1, 2], rows, some) for rows in tasks])
    assert joint.n_clusters == 450

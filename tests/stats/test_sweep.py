"""Series of checkpoints: the fixed sequence, trend, noise and drops."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats.difference import paired_difference
from benchbench.stats.influence import mean, ratio
from benchbench.stats.series import Noise, series_of_estimates, series_of_items, series_of_tasks
from benchbench.stats.sweep import checkpoint_noise, drops, fixed_sequence, losses, plateau_start, trend
from tests.simulate.worlds import CARD_STEPS, Curve, card


def real_scores(values: list[float], n: int = 400, seed: int = 0) -> list[np.ndarray]:
    """Item scores with these means exactly, correlated between checkpoints."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=n)
    rows = [ease + rng.normal(0, 0.5, n) for _ in values]
    return [row - row.mean() + value for row, value in zip(rows, values, strict=True)]


def test_the_published_curve_has_the_worked_z_and_stops_at_100k() -> None:
    series = series_of_items(CARD_STEPS, card(0.2, np.random.default_rng(0)))
    tests = fixed_sequence(series)
    flips = [series.flips(test.start, 4) for test in tests]
    assert [(won - lost) / math.sqrt(won + lost) for won, lost in flips] == pytest.approx(
        [10.76, 5.58, 2.43, 1.00], abs=6e-3
    )
    z = [test.difference.value / (test.difference.stderr or math.nan) for test in tests]
    assert z == pytest.approx([10.82, 5.59, 2.43, 1.00], abs=6e-3), "the difference itself narrows its error a little"
    assert tests[-1].p == pytest.approx(0.158, abs=5e-4)
    assert CARD_STEPS[plateau_start(tests, 4)] == 100_000


@pytest.mark.parametrize(("disagreement", "step"), [(0.07, 130_000), (0.08, 100_000), (0.40, 100_000), (0.46, 75_000)])
def test_the_published_plateau_holds_for_disagreement_from_7_45_to_43_7_percent(disagreement: float, step: int) -> None:
    tests = fixed_sequence(series_of_items(CARD_STEPS, card(disagreement, np.random.default_rng(0))))
    assert CARD_STEPS[plateau_start(tests, 4)] == step


@pytest.mark.parametrize(("disagreement", "upper"), [(0.08, 0.0091), (0.12, 0.0102), (0.20, 0.0118)])
def test_the_gain_from_100k_has_the_worked_upper_bound(disagreement: float, upper: float) -> None:
    series = series_of_items(CARD_STEPS, card(disagreement, np.random.default_rng(0)))
    assert series.gain(3, 4).upper() == pytest.approx(upper, abs=6e-5)


def test_the_sequence_stops_at_the_first_test_that_is_not_significant() -> None:
    rows = real_scores([0.0, 0.5, 0.2, 0.5])
    tests = fixed_sequence(series_of_items([1, 2, 3, 4], rows))
    assert [test.start for test in tests] == [0, 1]
    assert plateau_start(tests, 3) == 1


def test_gains_equal_the_paired_test_of_the_items() -> None:
    rows = real_scores([0.0, 0.1, 0.3])
    series = series_of_items([1, 2, 3], rows)
    theirs = scipy_stats.ttest_rel(rows[2], rows[0], alternative="greater")
    assert series.gain(0, 2).p_above() == pytest.approx(theirs.pvalue, rel=1e-6)
    assert series.p_gain(0, 2) == pytest.approx(theirs.pvalue, rel=1e-6)


def test_clusters_are_summed_as_in_a_duel() -> None:
    rows = real_scores([0.0, 0.1])
    names = [f"passage {i // 8}" for i in range(400)]
    series = series_of_items([1, 2], rows, names)
    by_hand = paired_difference(mean(rows[0]), mean(rows[1]), names)
    assert series.gain(0, 1).stderr == pytest.approx(by_hand.stderr, rel=1e-9)
    assert (series.n_clusters, series.degrees) == (50, 49)
    assert series_of_items([1, 2], rows, np.array(names)).gain(0, 1) == series.gain(0, 1)


def test_few_flips_are_tested_exactly() -> None:
    first = np.zeros(200)
    second = first.copy()
    second[:5] = 1
    series = series_of_items([1, 2], [first, second])
    assert series.flips(0, 1) == (5, 0)
    assert series.p_gain(0, 1) == 1 / 32
    assert series.p_gain(1, 0) == 1.0


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    rows = real_scores([2.0, 1.5, 1.0])
    series = series_of_items([1, 2, 3], rows, higher_is_better=False)
    assert series.gain(0, 2).value == pytest.approx(1.0)
    assert fixed_sequence(series)[-1].start == 1
    errors = series_of_items([1, 2], [np.ones(50), np.zeros(50)], higher_is_better=False)
    assert errors.flips(0, 1) == (50, 0)


def test_a_failed_doc_is_left_out_at_every_checkpoint() -> None:
    rows = real_scores([0.0, 0.1], n=20)
    rows[1][3] = math.nan
    series = series_of_items([1, 2], rows, [f"c{i}" for i in range(20)])
    assert series.n == 19
    assert series.values[0] == pytest.approx(np.delete(rows[0], 3).mean())


def test_unpaired_checkpoints_have_wider_gains() -> None:
    rows = real_scores([0.0, 0.1])
    paired, alone = (series_of_items([1, 2], rows, paired=p).gain(0, 1) for p in (True, False))
    theirs = scipy_stats.ttest_ind(rows[1], rows[0])
    assert alone.stderr == pytest.approx(abs(0.1 / theirs.statistic), rel=1e-3)
    assert (paired.stderr or 0) < (alone.stderr or 0)
    assert series_of_items([1, 2], [rows[0], rows[1][:99]], paired=False).n == 99


def test_a_series_of_ratios_is_paired_by_influence() -> None:
    rng = np.random.default_rng(0)
    size = rng.integers(5, 50, 100)
    nats = [size * rng.gamma(4, 0.25 * level, 100) for level in (1.2, 1.0)]
    estimates = [ratio(x, size) for x in nats]
    series = series_of_estimates([1, 2], estimates, higher_is_better=False)
    by_hand = paired_difference(estimates[1], estimates[0])
    assert series.gain(0, 1).value == pytest.approx(by_hand.value)
    assert series.gain(0, 1).stderr == pytest.approx(by_hand.stderr)


def test_a_suite_is_the_mean_of_its_tasks_with_their_errors_added() -> None:
    one, two = real_scores([0.0, 0.1], n=100), real_scores([0.5, 0.9], n=300, seed=1)
    members = [series_of_items([1, 2], rows) for rows in (one, two)]
    suite = series_of_tasks(members)
    assert suite.values == pytest.approx([0.25, 0.5])
    gains = [member.gain(0, 1).stderr or 0 for member in members]
    assert suite.gain(0, 1).stderr == pytest.approx(math.hypot(*gains) / 2)
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


def test_the_trend_is_the_least_squares_slope_per_doubling() -> None:
    steps, values = [1000, 2000, 4000, 9000], [0.1, 0.22, 0.29, 0.4]
    found = trend(series_of_items(steps, real_scores(values)))
    assert found is not None
    assert found.value == pytest.approx(np.polyfit(np.log2(steps), values, 1)[0])
    later = trend(series_of_items(steps, real_scores(values)), 1)
    assert later is not None
    assert later.value == pytest.approx(np.polyfit(np.log2(steps[1:]), values[1:], 1)[0])
    assert trend(series_of_items(steps, real_scores(values)), 2) is None


def test_the_trend_s_error_is_that_of_each_item_s_own_slope() -> None:
    rows = real_scores([0.1, 0.2, 0.25])
    found = trend(series_of_items([100, 200, 400], rows))
    slopes = np.polyfit([0, 1, 2], np.stack(rows), 1)[0]
    assert found is not None
    assert found.stderr == pytest.approx(slopes.std(ddof=1) / 20, rel=1e-6)
    assert trend(series_of_items([0, 200, 400], rows)) is not None


def test_known_noise_widens_the_trend_as_it_does_each_checkpoint() -> None:
    series = series_of_items([100, 200, 400], real_scores([0.1, 0.2, 0.25]))
    alone, noisy = trend(series), trend(series, noise=Noise(0.1, 50, 52))
    assert alone is not None
    assert noisy is not None
    assert noisy.stderr == pytest.approx(math.sqrt((alone.stderr or 0) ** 2 + 0.1**2 * (0.25 + 0.25)))


def test_noise_needs_four_late_checkpoints() -> None:
    rows = real_scores([0.1] * 6)
    assert checkpoint_noise(series_of_items([1, 2, 3, 4, 5, 6], rows)) is not None
    assert checkpoint_noise(series_of_items([1, 2, 5, 6, 11, 12], rows)) is None
    assert checkpoint_noise(series_of_items(CARD_STEPS, card(0.2, np.random.default_rng(0)))) is None


def test_noise_is_found_without_what_the_items_add() -> None:
    rng = np.random.default_rng(0)
    squares = {}
    for tau in (0.0, 0.02):
        curve = Curve((0.5,) * 8, 2000, tau=tau)
        found = [checkpoint_noise(series_of_items(range(8, 16), curve.draw(rng))) for _ in range(150)]
        squares[tau] = float(np.mean([noise.tau**2 for noise in found if noise is not None]))
    assert math.sqrt(squares[0.02]) == pytest.approx(0.02, rel=0.1)
    assert math.sqrt(squares[0.0]) < 0.005


def test_noise_on_a_straight_line_of_steps_is_none() -> None:
    values = list(np.log(np.arange(4, 9)))
    rows = [np.full(50, value) for value in values]
    found = checkpoint_noise(series_of_items(range(4, 9), rows))
    assert found is not None
    assert found.tau == 0
    assert (found.degrees, found.checkpoints) == (3, 5)


def test_known_noise_makes_a_gain_less_sure() -> None:
    series = series_of_items([1, 2], real_scores([0.0, 0.2]))
    alone = series.p_gain(0, 1)
    assert series.p_gain(0, 1, Noise(0.1, 5, 7)) > alone
    assert series.p_gain(0, 1, Noise(0.0, 5, 7)) == alone


def test_drops_between_neighbours_are_found_and_holm_adjusted() -> None:
    series = series_of_items([1, 2, 3, 4], real_scores([0.0, 0.5, 0.3, 0.6]))
    (found,) = drops(series)
    assert (found.start, found.end) == (1, 2)
    raw = 2 * series.p_gain(2, 1)
    assert raw <= found.p <= 3 * raw
    assert losses(series) == ()


def test_the_last_checkpoint_may_be_worse_than_earlier_ones() -> None:
    found = losses(series_of_items([1, 2, 3, 4], real_scores([0.0, 0.5, 0.6, 0.2])))
    assert [test.start for test in found] == [2, 1]
    assert found[0].difference.value == pytest.approx(-0.4)

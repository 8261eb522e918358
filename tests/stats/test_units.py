"""Units with their pulls and weights: errors against textbook ones, and weights read from pulls."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchbench.stats.influence import ratio
from benchbench.stats.intervals import cluster_index, standard_error
from benchbench.stats.units import (
    NEGLIGIBLE,
    Units,
    alike,
    default_scale,
    degrees_of_variance,
    freed,
    gather,
    read_weights,
    skewness,
    spread,
    units_of_estimates,
    units_of_means,
    without_rounding,
)

ONE = np.array([1.0])


def of_gaps(gaps: np.ndarray, clusters: list | None = None, scale: float = 1.0) -> Units:
    return units_of_means(gaps[None, :], cluster_index(clusters, gaps.size), scale * ONE, ONE)


def test_the_variance_is_the_textbook_one_alone_and_in_clusters() -> None:
    gaps = np.random.default_rng(0).normal(size=120)
    names = [i // 3 for i in range(100)] + [f"alone {i}" for i in range(20)]
    for clusters in (None, names):
        units = of_gaps(gaps, clusters)
        error = standard_error(gaps - gaps.mean(), clusters)
        assert math.sqrt(spread(units).variance[0]) == pytest.approx(error, rel=1e-12)
        assert units.sums.mean() == pytest.approx(gaps.mean())
    assert of_gaps(gaps, names).weights.mean() == pytest.approx(1.0)


def test_units_of_equal_weight_are_worth_their_number_and_one_of_half_the_docs_is_worth_two() -> None:
    gaps = np.ones(60)
    assert of_gaps(gaps).worth[0] == pytest.approx(60)
    half = of_gaps(gaps, [max(0, i - 29) for i in range(60)])
    assert half.worth[0] == pytest.approx(1 / (0.5**2 + 30 * (1 / 60) ** 2))
    assert half.are_few[0]
    assert not of_gaps(np.ones(40)).are_few[0]


def test_freed_pulls_are_the_jackknife_of_a_ratio() -> None:
    rng = np.random.default_rng(1)
    length, nats = np.exp(rng.normal(0, 1.5, 12)), rng.normal(1, 0.3, 12)
    found = ratio(length * nats, length)
    weights = length / length.mean()
    variance = np.square(freed(found.influence[None, :], weights[None, :])).sum() / (12 * 11)
    left_out = np.array([np.delete(length * nats, i).sum() / np.delete(length, i).sum() for i in range(12)])
    assert variance == pytest.approx(11 / 12 * np.square(left_out - found.value).sum(), rel=1e-9)


def test_equal_weights_leave_pulls_and_degrees_alone() -> None:
    units = of_gaps(np.random.default_rng(2).normal(size=50))
    found = spread(units)
    assert freed(units.pulls, units.weights) == pytest.approx(units.pulls)
    assert found.degrees[0] == pytest.approx(49)
    assert found.extra[0] < 0.1 * found.variance[0]


def test_skewness_is_scipy_s_widened_for_few() -> None:
    x = np.random.default_rng(3).exponential(size=30)
    e = x - x.mean()
    found = skewness(np.array([e @ e]), np.array([e**2 @ e]), np.zeros(1), 30)
    assert found[0] == pytest.approx(scipy_stats.skew(x, bias=False) * 1.1 / math.sqrt(30))
    assert skewness(ONE, ONE, np.zeros(1), 2)[0] == 0


def test_a_skewness_of_next_to_nothing_counts_for_nothing() -> None:
    dust = 1e-9 * np.random.default_rng(4).exponential(size=10)
    assert abs(spread(of_gaps(0.1 + dust)).skewness[0]) < 1e-6


def test_where_no_unit_differs_one_more_on_each_side_may() -> None:
    for n in (5, 39, 40, 200):
        found = spread(of_gaps(np.zeros(n)))
        assert found.variance[0] == 0
        assert found.extra[0] == pytest.approx(2 / (n + 2) ** 2)
        assert spread(of_gaps(np.full(n, 1e-4))).extra[0] == pytest.approx(2 / (n + 2) ** 2), "all moved alike"


def test_units_that_do_not_differ_speak_for_rare_large_differences() -> None:
    gaps = np.zeros(12)
    gaps[0] = 0.01
    typical = math.sqrt((0.01**2 + 11 / 12) / (1 + 11 / 12))
    assert spread(of_gaps(gaps)).extra[0] == pytest.approx(2 * (typical / 14) ** 2)
    assert of_gaps(gaps).still[0] == pytest.approx(11 / 12)
    assert of_gaps(gaps + 0.2).still[0] == pytest.approx(10 / 11), "of the eleven others, those that differ as it does"
    everywhere = np.random.default_rng(5).normal(0, 0.01, 12)
    assert spread(of_gaps(everywhere)).extra[0] < 0.25 * spread(of_gaps(everywhere)).variance[0]


def test_of_many_units_few_that_differ_count_two_more() -> None:
    gaps = np.zeros(400)
    gaps[:16] = [1, -1] * 8
    found = spread(of_gaps(gaps))
    assert found.alike[0] == pytest.approx(16, rel=1e-3)
    assert found.extra[0] == pytest.approx(found.variance[0] * (2 / 16 - 6 / 400), rel=1e-3)
    normal = np.random.default_rng(6).normal(size=4000)
    assert spread(of_gaps(normal)).extra[0] < 1e-3 * spread(of_gaps(normal)).variance[0]


def test_kurtosis_is_told_by_how_many_units_are_alike() -> None:
    x = np.random.default_rng(7).normal(size=(1, 100_000))
    equal = alike(np.square(x).sum(axis=1), (x**4).sum(axis=1), x.size)
    assert equal[0] / x.size == pytest.approx(1 / 3, rel=0.02)
    assert degrees_of_variance(equal, x.size)[0] == pytest.approx(x.size, rel=0.05)
    assert degrees_of_variance(np.array([4.0]), 1000)[0] == pytest.approx(8, rel=0.01), "few that differ: twice as many"


@pytest.mark.parametrize(("spread_of_lengths", "least", "most"), [(0.0, 85, 100), (1.0, 20, 50), (1.8, 5, 25)])
def test_weights_read_from_pulls_are_worth_about_what_the_lengths_are(
    spread_of_lengths: float, least: float, most: float
) -> None:
    rng = np.random.default_rng(8)
    worth = []
    for _ in range(50):
        length = np.exp(spread_of_lengths * rng.normal(size=100))
        hard = rng.normal(size=100)
        models = [ratio(length * (hard + 0.2 * rng.normal(size=100)), length) for _ in range(2)]
        read = read_weights(*(model.influence[None, :] for model in models))
        worth.append(read.sum() ** 2 / np.square(read).sum())
    assert least < float(np.median(worth)) < most


def test_pulls_of_nothing_give_equal_weights() -> None:
    assert read_weights(np.zeros((1, 6)), np.zeros((1, 6))) == pytest.approx(np.ones((1, 6)))


def test_given_weights_are_taken_as_they_are() -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(2, 1, 9))
    units = units_of_estimates((a, b), ONE, None, ONE, np.arange(1, 10))
    assert units.weights[0] == pytest.approx(np.arange(1, 10) / 5)
    assert units.known
    assert not units_of_estimates((a, b), ONE, None, ONE).known


def test_rounding_is_no_difference() -> None:
    assert without_rounding(np.array([1e-13, 1e-3, -3e-13]), 1.0).tolist() == [0, 1e-3, 0]
    gaps = np.full(8, NEGLIGIBLE / 2)
    gaps[::2] = 0
    assert of_gaps(gaps).still[0] == 1.0


def test_the_range_of_a_metric_that_is_not_known() -> None:
    assert default_scale(np.array([0.0, 0.2]), np.array([1.0])) == 1.0
    assert default_scale(np.array([0.3, 7.0])) == 7.0
    assert default_scale(np.array([-3.0, 0.5])) == 3.0


def test_docs_of_a_cluster_are_summed() -> None:
    found = gather(np.array([[1.0, 2.0, 3.0, 4.0]]), cluster_index(["a", "b", "a", None], 4))
    assert found.tolist() == [[4 * 3 / 4, 2 * 3 / 4, 4 * 3 / 4]]

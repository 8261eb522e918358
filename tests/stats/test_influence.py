"""Estimates and their influence values, against worked numbers and textbook formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchbench.stats.influence import jackknife, jackknife_sums, mean, ratio
from benchbench.stats.intervals import standard_error

vectors = arrays(np.float64, st.integers(2, 30), elements=st.floats(-100, 100, width=32))


def test_a_ratio_of_sums_has_the_worked_value_and_error() -> None:
    found = ratio([10, 20, 30], [5, 10, 20])
    assert found.value == pytest.approx(1.714286, abs=1e-6)
    assert standard_error(found.influence) == pytest.approx(0.187044, abs=1e-6)


def test_a_hundred_nats_over_fifty_bytes_are_2_885_bits_per_byte() -> None:
    assert ratio([100 / math.log(2)], [50]).value == pytest.approx(2.885390, abs=1e-6)


@given(vectors)
def test_influence_values_of_a_mean_sum_to_zero(x: np.ndarray) -> None:
    found = mean(x)
    assert found.value == pytest.approx(float(np.mean(x)), abs=1e-9)
    assert float(found.influence.sum()) == pytest.approx(0, abs=1e-7)


@given(vectors)
def test_the_jackknife_of_a_mean_is_the_mean_s_own_influence(x: np.ndarray) -> None:
    left_out = [np.delete(x, i).mean() for i in range(x.size)]
    found = jackknife(float(x.mean()), left_out)
    assert found.influence == pytest.approx(mean(x).influence, abs=1e-8)


def test_the_jackknife_error_equals_efron_s_formula() -> None:
    rng = np.random.default_rng(3)
    x = rng.gamma(2.0, size=40)
    left_out = np.array([np.delete(x, i).var() for i in range(x.size)])
    by_hand = math.sqrt((x.size - 1) / x.size * float(((left_out - left_out.mean()) ** 2).sum()))
    assert standard_error(jackknife(float(x.var()), left_out).influence) == pytest.approx(by_hand, rel=1e-12)


def test_jackknife_of_summed_statistics_leaves_each_item_out_once() -> None:
    table = np.array([[1, 2], [1, 2], [3, 4], [0, 5]], dtype=float)

    def score(sums: list[float]) -> float:
        return sums[0] / sums[1]

    found = jackknife_sums(table, score)  # type: ignore[arg-type]
    left_out = [np.delete(table, i, axis=0).sum(axis=0) for i in range(4)]
    assert found.value == pytest.approx(5 / 13)
    assert found.influence == pytest.approx(jackknife(5 / 13, [a / b for a, b in left_out]).influence)


def test_one_item_has_no_influence_to_spread() -> None:
    assert jackknife_sums([[1.0, 2.0]], lambda s: s[0]).influence.tolist() == [0.0]


@pytest.mark.parametrize("bad", [[], [[1.0]]])
def test_a_mean_refuses_what_is_not_a_vector(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="non-empty vector"):
        mean(bad)


def test_a_ratio_refuses_denominators_that_sum_to_zero() -> None:
    with pytest.raises(ValueError, match="sum to 0"):
        ratio([1, 2], [0, 0])


@given(vectors, st.floats(0.1, 10))
def test_a_ratio_with_equal_denominators_is_a_mean(x: np.ndarray, d: float) -> None:
    found = ratio(x * d, np.full(x.size, d))
    assert found.value == pytest.approx(float(x.mean()), abs=1e-6)
    assert found.influence == pytest.approx(mean(x).influence, abs=1e-6)

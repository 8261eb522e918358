"""Student's t with its skewness removed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchbench.stats.influence import corrected, ends, surely_above, surely_off, tail, uncorrected

skewnesses = st.floats(-1.2, 1.2)
ts = st.floats(-6, 6)


def test_without_skewness_t_stays_as_it_is() -> None:
    assert corrected(1.7, 0.0) == 1.7
    assert ends(2.0, 0.0) == (-2.0, 2.0)
    assert surely_off(-1.7, 0.0) == 1.7


def test_a_worked_transformation() -> None:
    """t = 2 and a = 0.3: ((1 + 0.2)³ − 1) / 0.3 + 0.05."""
    assert corrected(2.0, 0.3) == pytest.approx((1.2**3 - 1) / 0.3 + 0.05, rel=1e-12)


@given(ts, skewnesses)
def test_the_transformation_is_undone(t: float, a: float) -> None:
    assert uncorrected(float(corrected(t, a)), a) == pytest.approx(t, abs=1e-6)


@given(ts, skewnesses)
def test_values_turned_around_have_the_transformation_turned_around(t: float, a: float) -> None:
    assert corrected(-t, -a) == pytest.approx(-corrected(t, a))
    assert surely_off(-t, -a) == pytest.approx(surely_off(t, a))


@given(ts, skewnesses, st.floats(0.5, 4))
def test_what_lies_within_the_ends_is_rejected_by_neither_test_alone(t: float, a: float, quantile: float) -> None:
    low, high = ends(quantile, a)
    if abs(t - low) > 1e-9 and abs(t - high) > 1e-9:
        assert (surely_off(t, a) > quantile) == (t < low or t > high)
    assert low < 0 < high


def test_right_skew_makes_low_values_less_surprising_and_both_tests_are_needed() -> None:
    assert corrected(-2.5, 0.3) > -2.5
    assert surely_above(2.5, 0.3) == 2.5, "the plain test grants less here"
    assert surely_off(-2.5, 0.3) == pytest.approx(-corrected(-2.5, 0.3))


def test_where_the_two_disagree_about_the_direction_nothing_is_granted() -> None:
    assert corrected(0.05, -0.9) < 0
    assert surely_off(0.05, -0.9) <= 0


def test_the_tail_is_scipy_s() -> None:
    assert tail(np.array([2.0, -1.0]), 5.0) == pytest.approx(scipy_stats.t.sf([2.0, -1.0], 5))
    assert tail(1.5, np.inf) == pytest.approx(scipy_stats.norm.sf(1.5))

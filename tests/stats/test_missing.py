"""What failed docs could have done."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchbench.stats.difference import reach_of_difference

GONE = math.nan


def test_a_worked_difference() -> None:
    """On the two docs that both have: +½. The third had 1 for a, the fourth 0 for b; the fifth failed on both sides."""
    found = reach_of_difference([0, 1, 1, GONE, GONE], [1, 1, GONE, 0, GONE], (0.0, 1.0))
    assert found.value == 0.5
    assert (found.low, found.high) == ((1 + 0 - 1 - 1) / 4, (1 + 0 + 0 + 0) / 4)
    assert found.missing == 2


def test_docs_that_failed_because_they_were_bad_may_have_made_the_difference() -> None:
    good, bad = np.ones(16), np.zeros(8)
    found = reach_of_difference(np.concatenate([good, bad]), np.concatenate([good, np.full(8, GONE)]), (0.0, 1.0))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high > 0, "b may be better on the eight"
    same = reach_of_difference(good, good, (0.0, 1.0))
    assert (same.low, same.high) == (0.0, 0.0)


def test_few_failures_leave_a_clear_difference_its_sign() -> None:
    a, b = np.zeros(100), np.ones(100)
    b[:3] = GONE
    found = reach_of_difference(a, b, (0.0, 1.0))
    assert found.low == pytest.approx(0.97)
    assert found.high >= found.value > found.low


@given(
    arrays(np.float64, 12, elements=st.floats(0, 1)),
    arrays(np.float64, 12, elements=st.floats(0, 1)),
    st.sets(st.integers(0, 10)),
    st.sets(st.integers(0, 10)),
)
def test_whatever_the_failed_docs_had_the_difference_lies_in_reach(
    a: np.ndarray, b: np.ndarray, gone_a: set[int], gone_b: set[int]
) -> None:
    x, y = a.copy(), b.copy()
    x[list(gone_a)], y[list(gone_b)] = GONE, GONE
    found, turned = reach_of_difference(x, y, (0.0, 1.0)), reach_of_difference(y, x, (0.0, 1.0))
    kept = ~(np.isnan(x) & np.isnan(y))
    assert found.low - 1e-12 <= float((b - a)[kept].mean()) <= found.high + 1e-12
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: reach_of_difference([GONE], [GONE], (0, 1)), "no item has a score"),
        (lambda: reach_of_difference([0.5], [2.0], (0, 1)), "outside the bounds"),
        (lambda: reach_of_difference([0.5], [0.5], (1, 0)), "bounds rise"),
        (lambda: reach_of_difference([0.5], [0.5, 0.1], (0, 1)), "same items"),
        (lambda: reach_of_difference([0.5, GONE], [GONE, 0.5], (0, 1)), "both sides"),
    ],
)
def test_what_cannot_be_bounded_is_refused(call: object, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()  # type: ignore[operator]

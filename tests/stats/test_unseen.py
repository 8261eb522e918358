"""What was not seen has a variance, too."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.stats.difference import matched_pairs
from benchbench.stats.influence import unseen_variance


def test_no_doc_that_differs_is_worth_what_bonett_and_price_give_it() -> None:
    error = matched_pairs(0, 0, 8).stderr
    assert error is not None
    assert unseen_variance(np.zeros(8), 1.0) == pytest.approx(error**2, rel=1e-12)


def test_a_bound_of_two_standard_errors_is_near_the_rule_of_three() -> None:
    for n in (8, 30, 1000):
        assert 1.96 * math.sqrt(unseen_variance(np.zeros(n), 1.0)) == pytest.approx(3 / n, rel=0.3)


def test_where_docs_differ_one_more_of_their_size_is_added_on_each_side() -> None:
    seen = np.array([0.0, 0.0, 0.3, -0.3, 0.0])
    assert unseen_variance(seen, 1.0) == pytest.approx(2 * (0.3 / 7) ** 2)


def test_rounding_is_no_difference() -> None:
    assert unseen_variance(np.array([1e-16, 0.0, -1e-15]), 1.0) == unseen_variance(np.zeros(3), 1.0)

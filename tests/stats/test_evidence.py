"""What all tests of a difference grant together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchbench.stats.difference import Difference
from benchbench.stats.evidence import Evidence, equivalence_p, mcnemar, of_difference, of_pairs, of_units
from benchbench.stats.intervals import cluster_index
from benchbench.stats.units import units_of_means

ONE = np.array([1.0])


def of_gaps(gaps: np.ndarray, clusters: list | None = None, delta: float | None = None) -> Evidence:
    which = cluster_index(clusters, gaps.size)
    return of_units(units_of_means(gaps[None, :], which, ONE, ONE), delta=delta, seed=1)


def agrees(found: Evidence) -> bool:
    """The interval excludes 0 where p is below 5 %, and holds the difference."""
    assert found.interval is not None
    assert found.p is not None
    low, high = found.interval
    return (low > 0 or high < 0) == (found.p < 0.05) and low <= found.difference.value <= high


def test_mcnemar_and_its_interval_agree_for_all_small_counts() -> None:
    splits = [(wins, pairs - wins) for pairs in range(41) for wins in range(pairs + 1)]
    assert len(splits) == 41 * 42 / 2
    for wins, losses in splits:
        pairs = wins + losses
        for n in {max(pairs, 1), pairs + 3, 10 * pairs + 1, 20_000}:
            found = of_pairs(wins, losses, n, delta=None)
            assert agrees(found), (wins, losses, n)
            assert found.p == mcnemar(wins, losses)


shifts = st.floats(-1, 1)
few = st.integers(2, 45).flatmap(lambda n: arrays(np.float64, n, elements=st.floats(-1, 1, width=32)))
flags = st.integers(2, 45).flatmap(lambda n: arrays(np.float64, n, elements=st.sampled_from([-1.0, 0.0, 1.0])))


@given(few | flags, shifts, st.integers(1, 4))
@settings(max_examples=100)
def test_p_and_interval_agree_whatever_the_docs(gaps: np.ndarray, shift: float, size: int) -> None:
    names = None if size == 1 else [int(math.sqrt(size * i)) for i in range(gaps.size)]
    assume(names is None or len(set(names)) > 1)
    assert agrees(of_gaps(gaps + shift, names))


@given(few)
@settings(max_examples=60)
def test_a_difference_turned_around_has_its_evidence_turned_around(gaps: np.ndarray) -> None:
    there, back = of_gaps(gaps, delta=0.3), of_gaps(-gaps, delta=0.3)
    assert there.p == pytest.approx(back.p)
    assert there.equivalence_p == pytest.approx(back.equivalence_p)
    assert there.interval == pytest.approx([-end for end in (back.interval or ())][::-1])
    assert there.detectable == pytest.approx(back.detectable) or there.detectable is back.detectable is None


def test_skewed_docs_need_more_than_student_s_t() -> None:
    """Many gain a little; the few that would lose much were hardly seen."""
    gaps = np.concatenate([np.full(36, 0.02), [0.03, 0.025, 0.015, 0.01, -0.15, -0.2, -0.1, 0.0]])
    gaps += 0.012
    found = of_gaps(gaps)
    plain = Difference(found.difference.value, found.difference.value, found.difference.stderr, gaps.size - 1)
    assert (plain.p_two_sided() or 0) < 0.05 < (found.p or 0)
    assert found.interval is not None
    assert found.interval.low < 0


def test_one_cluster_that_has_half_of_the_docs_does_not_decide_alone() -> None:
    gaps, names = np.zeros(200), [max(0, i - 99) for i in range(200)]
    gaps[:100] = 1.0
    gaps[100::2], gaps[101::2] = 0.3, -0.3
    assert (of_gaps(gaps, names).p or 0) > 0.3
    assert (of_gaps(gaps).p or 1) < 1e-6


def test_equal_docs_are_equivalent_only_where_there_are_many() -> None:
    for n, proven in ((8, False), (200, False), (20_000, True)):
        found = of_gaps(np.zeros(n), delta=0.005)
        assert ((found.equivalence_p or 0) < 0.05) == proven
        assert found.interval is not None
        assert found.interval.high - found.interval.low == pytest.approx(2 * 3 / n, rel=0.25)


def test_equivalence_leaves_room_for_one_more_doc() -> None:
    exact = Difference(0.0, 0.0, 0.001, 99)
    assert equivalence_p([exact], 0.01, 0.005) == exact.equivalence_p(0.005)
    assert equivalence_p([exact], 0.01, 0.02) == 1.0
    assert equivalence_p([exact], None, 0.0) is None
    with pytest.raises(ValueError, match="must be positive"):
        equivalence_p([exact], 0.0, 0.0)


def test_nearly_equal_docs_may_hide_one_that_differs_by_the_whole_range() -> None:
    gaps = 1e-5 * np.random.default_rng(0).normal(size=8)
    assert of_gaps(gaps).one_more > 1 / 3 / 10
    many = 1e-5 * np.random.default_rng(0).normal(size=5000)
    assert of_gaps(many).one_more < 0.02 / 5000


def test_a_single_unit_says_nothing_and_why() -> None:
    found = of_gaps(np.array([0.3]), delta=0.1)
    assert (found.p, found.interval, found.equivalence_p, found.detectable) == (None, None, None, None)
    assert "fewer than two independent" in (found.reason or "")
    without = of_difference(Difference(0.1, 0.1, None, 0), 0.0, delta=0.1)
    assert (without.p, without.reason) == (None, "no standard error: a task has fewer than two independent docs")


def test_no_interval_goes_beyond_the_range() -> None:
    assert of_gaps(np.array([0.9, -0.9])).interval == (-1.0, 1.0)
    assert of_pairs(9, 0, 10, delta=None).interval == (pytest.approx(0.4, abs=0.1), 1.0)


def test_five_units_can_show_nothing_and_six_something() -> None:
    rng = np.random.default_rng(1)
    assert of_gaps(0.1 * rng.normal(size=5)).detectable is None
    assert of_gaps(0.1 * rng.normal(size=6)).detectable is not None
    assert of_gaps(5 * rng.normal(size=6)).detectable is None, "beyond the metric's range"


def test_of_normal_differences_the_detectable_is_that_of_the_t_test() -> None:
    gaps = np.random.default_rng(2).normal(0, 0.1, 4000)
    found = of_gaps(gaps)
    assert found.detectable == pytest.approx(2.8016 * 0.1 / math.sqrt(4000), rel=0.03)

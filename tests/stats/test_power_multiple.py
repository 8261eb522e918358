"""Smallest detectable differences, and adjusted p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchbench.stats.evidence import mcnemar
from benchbench.stats.testing import benjamini_hochberg, detectable, detectable_pairs, holm, pairs_power, t_sum

LADDER = [0.01, 0.02, 0.03, 0.04, 0.05]


def test_eighty_percent_power_is_2_8016_standard_errors() -> None:
    assert t_sum(math.inf) == pytest.approx(2.8016, abs=5e-5)


def test_a_one_sided_test_needs_2_4865_standard_errors() -> None:
    assert detectable(1.0, two_sided=False) == pytest.approx(2.4865, abs=5e-5)


@pytest.mark.parametrize("degrees", [2, 9, 39])
@pytest.mark.parametrize("two_sided", [True, False])
def test_few_degrees_of_freedom_ask_for_more_as_in_statsmodels(degrees: int, two_sided: bool) -> None:
    module = pytest.importorskip("statsmodels.stats.power")
    n = degrees + 1
    theirs = module.TTestPower().solve_power(
        nobs=n, alpha=0.05, power=0.8, alternative="two-sided" if two_sided else "larger"
    )
    ours = detectable(1 / math.sqrt(n), degrees=degrees, two_sided=two_sided)
    assert ours == pytest.approx(theirs, rel=1e-4), "statsmodels adds the other tail, of next to nothing"


def test_other_levels_and_powers_are_those_asked_for() -> None:
    assert t_sum(math.inf, 0.01, 0.9) == pytest.approx(scipy_stats.norm.ppf(0.995) + scipy_stats.norm.ppf(0.9))
    assert t_sum(1e9) == pytest.approx(t_sum(math.inf))
    assert t_sum(9e4) == pytest.approx(t_sum(math.inf), rel=1e-4)


def by_enumeration(difference: float, differing: float, n: int) -> float:
    up, down = (differing + difference) / 2, (differing - difference) / 2
    chances = scipy_stats.multinomial(n, [up, down, 1 - differing])
    return sum(
        float(chances.pmf([wins, losses, n - wins - losses]))
        for wins in range(n + 1)
        for losses in range(n - wins + 1)
        if mcnemar(wins, losses) < 0.05
    )


def test_the_power_of_mcnemar_s_test_equals_its_enumeration() -> None:
    for difference, differing in ((0.3, 0.4), (0.1, 0.4), (0.0, 0.2), (0.5, 0.5)):
        assert pairs_power(difference, differing, 20) == pytest.approx(by_enumeration(difference, differing, 20))


@pytest.mark.parametrize(("n", "differing"), [(6, 0), (10, 2), (30, 1), (50, 10), (200, 40), (2000, 300)])
def test_the_detectable_difference_of_pairs_is_found_in_four_of_five(n: int, differing: int) -> None:
    found = detectable_pairs(differing, n)
    assert found is not None
    assert pairs_power(found, max(found, differing / n), n) == pytest.approx(0.8, abs=1e-4)


def test_of_many_pairs_that_differ_one_more_than_the_normal_error_is_asked_for() -> None:
    found = detectable_pairs(4000, 10_000)
    assert found == pytest.approx(detectable(math.sqrt(0.4 / 10_000)) + 1e-4)
    assert pairs_power(found, 0.4, 10_000) == pytest.approx(0.8, abs=0.005)


def test_five_docs_can_show_no_difference() -> None:
    assert detectable_pairs(0, 5) is None
    assert detectable_pairs(5, 5) is None
    assert detectable_pairs(0, 6) == pytest.approx(0.8 ** (1 / 6), rel=1e-4), "six of six in one direction"


@pytest.mark.parametrize(
    ("n", "disagreement", "expected", "digits"),
    [
        (10042, 0.05, 0.0063, 4),
        (10042, 0.10, 0.0088, 4),
        (10042, 0.20, 0.0125, 4),
        (10042, 0.30, 0.0153, 4),
        (164, 0.20, 0.098, 3),
        (1319, 0.20, 0.0345, 4),
        (14042, 0.20, 0.0106, 4),
    ],
)
def test_benchmarks_could_show_the_worked_differences(
    n: int, disagreement: float, expected: float, digits: int
) -> None:
    assert round(detectable(math.sqrt(disagreement / n)), digits) == expected


def test_the_worked_ladder_of_p_values() -> None:
    assert benjamini_hochberg(LADDER) == pytest.approx([0.05] * 5)
    assert holm(LADDER) == pytest.approx([0.05, 0.08, 0.09, 0.09, 0.09])
    assert benjamini_hochberg(LADDER, any_dependence=True) == pytest.approx([0.1142] * 5, abs=5e-5)


def test_holm_equals_statsmodels() -> None:
    module = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for size in (1, 2, 5, 30):
        p = np.round(rng.random(size) ** 2, 2)
        assert holm(p) == pytest.approx(module.multipletests(p, method="holm")[1], abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@settings(max_examples=40)
def test_benjamini_hochberg_equals_scipy(p: list[float]) -> None:
    assert benjamini_hochberg(p) == pytest.approx(scipy_stats.false_discovery_control(p), abs=1e-12)
    assert benjamini_hochberg(p, any_dependence=True) == pytest.approx(
        scipy_stats.false_discovery_control(p, method="by"), abs=1e-12
    )


def test_no_p_values_are_no_p_values() -> None:
    assert holm([]).size == benjamini_hochberg(np.array([])).size == 0


@pytest.mark.parametrize("bad", [[1.1], [-0.1], [math.nan], [[0.5]]])
def test_what_is_no_probability_is_refused(bad: list) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        holm(bad)

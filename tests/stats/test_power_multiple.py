"""Smallest detectable differences, and adjusted p-values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchbench.stats.multiple import benjamini_hochberg, holm
from benchbench.stats.power import detectable, items_needed, z_sum

LADDER = [0.01, 0.02, 0.03, 0.04, 0.05]


def test_eighty_percent_power_is_2_8016_standard_errors() -> None:
    assert z_sum() == pytest.approx(2.8016, abs=5e-5)


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


def test_the_worked_numbers_of_items() -> None:
    assert items_needed(0.03, 1 / 9) == pytest.approx(969.0, abs=0.05)
    assert items_needed(0.03, 1 / 9, resampling=(1 / 6, 1 / 6)) == pytest.approx(3876.0, abs=0.2)
    assert items_needed(0.03, 1 / 9, resampling=(1 / 60, 1 / 60)) == pytest.approx(1259.7, abs=0.05)
    assert items_needed(0.0012, 0.2) == pytest.approx(1.09e6, rel=5e-3)


def test_items_needed_and_detectable_are_inverses() -> None:
    n = items_needed(0.02, 0.15)
    assert detectable(math.sqrt(0.15 / n)) == pytest.approx(0.02)


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

"""McNemar's test, sign flips and the paired difference, against worked numbers, scipy and statsmodels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchbench.stats.difference import (
    Difference,
    matched_pairs,
    paired_difference,
    satterthwaite,
    sum_of_differences,
)
from benchbench.stats.evidence import Flips, flipped_p, mcnemar, mcnemar_above, sign_flip
from benchbench.stats.influence import mean, ratio
from benchbench.stats.testing import margin

A = np.array([1] * 40 + [0] * 15 + [1] * 5 + [0] * 40, dtype=float)
B = np.array([1] * 40 + [1] * 15 + [0] * 5 + [0] * 40, dtype=float)
"""100 items: both right 40, only b right 15, only a right 5, neither 40."""

counts = st.integers(0, 400)


def test_the_worked_pairs_have_the_worked_p_values() -> None:
    assert mcnemar(15, 5) == pytest.approx(0.041389, abs=5e-7)


def test_the_worked_pairs_have_the_worked_errors_and_interval() -> None:
    found = paired_difference(mean(A), mean(B))
    assert found.stderr == pytest.approx(0.043809, abs=5e-7)
    assert found.value / (found.stderr or 0) == pytest.approx(2.28266, abs=5e-6)
    assert found.p_two_sided() == pytest.approx(0.024590, abs=5e-7)
    low, high = matched_pairs(15, 5, 100).interval() or (0, 0)
    assert (low, high) == pytest.approx((0.00994, 0.18614), abs=5e-6)


def test_mcnemar_equals_statsmodels() -> None:
    module = pytest.importorskip("statsmodels.stats.contingency_tables")
    table = [[40, 15], [5, 40]]
    assert mcnemar(15, 5) == pytest.approx(module.mcnemar(table, exact=True).pvalue, rel=1e-12)
    plain = module.mcnemar(table, exact=False, correction=False)
    assert (plain.statistic, plain.pvalue) == pytest.approx((5.0, 0.025347), abs=5e-7)
    corrected = module.mcnemar(table, exact=False, correction=True)
    assert (corrected.statistic, corrected.pvalue) == pytest.approx((4.05, 0.044171), abs=5e-7)


@given(counts, counts)
def test_mcnemar_equals_scipy_s_binomial_test_and_is_symmetric(wins: int, losses: int) -> None:
    theirs = scipy_stats.binomtest(wins, wins + losses, 0.5) if wins + losses else None
    assert mcnemar(wins, losses) == pytest.approx(1.0 if theirs is None else theirs.pvalue, rel=1e-9, abs=1e-300)
    assert mcnemar(wins, losses) == mcnemar(losses, wins)
    above = scipy_stats.binomtest(wins, wins + losses, 0.5, "greater").pvalue if wins + losses else 1.0
    assert mcnemar_above(wins, losses) == pytest.approx(above, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    "call", [lambda: mcnemar(-1, 2), lambda: matched_pairs(3, 3, 5), lambda: matched_pairs(0, 0, 0)]
)
def test_impossible_counts_are_refused(call: object) -> None:
    with pytest.raises(ValueError, match="wins and"):
        call()  # type: ignore[operator]


def test_few_values_get_every_sign_pattern() -> None:
    assert sign_flip([1.0, 2.0, 3.0], seed=0) == 2 / 8
    assert sign_flip([1.0, -1.0], seed=0) == 1.0
    assert sign_flip([0.0, 0.0, 0.0], seed=0) == 1.0
    x = np.random.default_rng(2).normal(0.4, 1, 10)
    theirs = scipy_stats.permutation_test((x,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(x, seed=0) == pytest.approx(theirs.pvalue)


def test_more_values_get_random_patterns_and_never_p_zero() -> None:
    x = np.random.default_rng(3).normal(0.3, 1, 30)
    p = sign_flip(x, seed=1)
    assert p == sign_flip(x, seed=1)
    assert p == pytest.approx(scipy_stats.ttest_1samp(x, 0).pvalue, abs=0.02)
    assert sign_flip(np.full(30, 5.0), seed=1, draws=999) == 1 / 1000


def test_many_rows_of_values_get_the_same_p_as_each_alone() -> None:
    rows = np.random.default_rng(8).normal(0.2, 1, (6, 17))
    rows[3] = 0
    assert flipped_p(rows, seed=4) == pytest.approx([sign_flip(row, seed=4) for row in rows])


def test_one_sided_sign_flips_equal_scipy_s() -> None:
    x = np.random.default_rng(9).normal(0.3, 1, 11)
    theirs = scipy_stats.permutation_test(
        (x - 0.1,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative="greater"
    )
    flips = Flips.of(x, np.ones(11), seed=0)
    assert flips.p_above(0.1) == pytest.approx(theirs.pvalue)
    assert (-flips).p_above(-0.1) == pytest.approx(1 - theirs.pvalue + 2.0**-11)


@pytest.mark.parametrize("units", [8, 12, 25])
def test_the_interval_of_sign_flips_holds_the_means_that_they_do_not_reject(units: int) -> None:
    """Against trying means one by one, also with unequal weights."""
    rng = np.random.default_rng(units)
    weights = np.exp(rng.normal(size=units))
    weights /= weights.mean()
    sums = 0.3 * weights + rng.normal(size=units) * weights
    low, high = Flips.of(sums, weights, seed=2).interval(0.95)
    for mean_, kept in ((low - 1e-6, False), (low + 1e-6, True), (high - 1e-6, True), (high + 1e-6, False)):
        assert (sign_flip(sums - mean_ * weights, seed=2) >= 0.05) is kept
    assert low < sums.sum() / units < high


def test_five_values_have_too_few_sign_patterns_for_an_interval() -> None:
    assert Flips.of(np.arange(1.0, 6.0), np.ones(5), seed=0).interval(0.95) == (-math.inf, math.inf)
    assert Flips.of(np.arange(1.0, 7.0), np.ones(6), seed=0).interval(0.95) == (1.0, 6.0)


def test_sign_flips_are_exact_however_unequal_the_docs_are() -> None:
    """Equal models; docs of lognormal length: Student's t calls a fifth of them different."""
    rng, rejected = np.random.default_rng(10), 0
    for _ in range(400):
        length = np.exp(1.8 * rng.normal(size=10))
        rejected += sign_flip(length * rng.normal(size=10), seed=0) < 0.05
    assert rejected / 400 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_a_paired_difference_equals_scipy_s_paired_t_test() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=60)
    y = x + rng.normal(0.2, 0.5, 60)
    found, theirs = paired_difference(mean(x), mean(y)), scipy_stats.ttest_rel(y, x)
    assert found.p_two_sided() == pytest.approx(theirs.pvalue, rel=1e-9)
    assert list(found.interval() or ()) == pytest.approx(list(theirs.confidence_interval()), rel=1e-9)
    assert found.p_above() == pytest.approx(scipy_stats.ttest_rel(y, x, alternative="greater").pvalue, rel=1e-9)


def test_degrees_of_a_sum_of_variances_are_those_of_welch_s_test() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=30), rng.normal(0.3, 2, 50)
    variances = [x.var(ddof=1) / x.size, y.var(ddof=1) / y.size]
    theirs = scipy_stats.ttest_ind(y, x, equal_var=False)
    assert satterthwaite(variances, [x.size - 1, y.size - 1]) == pytest.approx(theirs.df, rel=1e-9)


def test_a_clustered_difference_equals_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(6)
    groups = rng.integers(0, 50, 300)
    x, y = rng.normal(size=300), rng.normal(0.1, 1, 300) + rng.normal(size=50)[groups] / 2
    fit = sm.OLS(y - x, np.ones(300)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True, "df_correction": True}, use_t=True
    )
    found = paired_difference(mean(x), mean(y), groups.tolist())
    assert found.stderr == pytest.approx(float(fit.bse[0]), rel=1e-9)
    assert found.p_two_sided() == pytest.approx(float(fit.pvalues[0]), rel=1e-9)


def test_perplexities_are_compared_on_the_log_scale() -> None:
    nats = [np.array([10.0, 20, 30]), np.array([9.0, 21, 27])]
    sizes = [5, 10, 20]
    one, two = (ratio(x, sizes) for x in nats)
    found = paired_difference(one, two)
    assert found.value == pytest.approx((57 - 60) / 35)
    assert found.stderr == pytest.approx(float(np.std(two.influence - one.influence, ddof=1)) / math.sqrt(3))


def test_a_margin_is_a_share_of_the_range_wherever_that_begins() -> None:
    assert margin((1.0, 5.0), 3.0) == pytest.approx(4 * margin((0.0, 1.0), 0.5))


def test_equivalence_is_the_90_percent_interval_inside_the_margin() -> None:
    found = matched_pairs(100, 95, 10_000)
    low, high = found.interval(0.9) or (0, 0)
    edge = max(-low, high)
    assert (found.equivalence_p(edge) or 1) == pytest.approx(0.05, abs=1e-9)
    assert (found.equivalence_p(edge * 1.01) or 1) < 0.05 < (found.equivalence_p(edge * 0.99) or 0)
    with pytest.raises(ValueError, match="must be positive"):
        found.equivalence_p(0)


def test_equivalence_equals_statsmodels() -> None:
    module = pytest.importorskip("statsmodels.stats.weightstats")
    rng = np.random.default_rng(7)
    x = rng.normal(size=80)
    y = x + rng.normal(0.05, 0.4, 80)
    theirs = module.ttost_paired(y, x, -0.2, 0.2)[0]
    assert paired_difference(mean(x), mean(y)).equivalence_p(0.2) == pytest.approx(float(theirs), rel=1e-9)


def test_the_difference_turned_around_has_the_same_p() -> None:
    found = matched_pairs(30, 12, 100)
    turned = matched_pairs(12, 30, 100)
    assert -found == turned
    assert found.p_two_sided() == turned.p_two_sided()
    assert found.equivalence_p(0.3) == turned.equivalence_p(0.3)


def test_extra_variance_and_skewness_widen_the_interval_and_raise_p() -> None:
    plain = Difference(0.02, 0.02, 0.008, 30)
    wide, skewed = (Difference(0.02, 0.02, 0.008, 30, **more) for more in ({"extra": 6e-5}, {"skewness": -0.3}))
    assert wide.error == pytest.approx(math.sqrt(0.008**2 + 6e-5))
    for found in (wide, skewed):
        assert (found.p_two_sided() or 0) > (plain.p_two_sided() or 1)
        assert (found.interval() or (0, 0))[0] < (plain.interval() or (0, 0))[0]
        assert (found.interval() or (1, 1))[0] < 0 < (plain.interval() or (0, 0))[0]
    assert (-skewed).p_two_sided() == skewed.p_two_sided()


def test_the_sum_of_differences_adds_variances_and_third_moments() -> None:
    parts = [Difference(0.1, 0.09, 0.03, 20, 1e-4, 0.2), Difference(-0.2, -0.2, 0.04, math.inf, 0.0, -0.1)]
    found = sum_of_differences(parts, [0.5, 2.0])
    assert (found.value, found.centre) == pytest.approx((0.05 - 0.4, 0.045 - 0.4))
    assert found.stderr == pytest.approx(math.hypot(0.015, 0.08))
    assert found.extra == pytest.approx(0.25e-4)
    assert found.degrees == pytest.approx((0.015**2 + 0.08**2 + 0.25e-4) ** 2 / ((0.015**2 + 0.25e-4) ** 2 / 20))
    assert found.skewness == pytest.approx((0.015**3 * 0.2 - 0.08**3 * 0.1) / math.hypot(0.015, 0.08) ** 3)
    assert sum_of_differences([*parts, Difference(0.1, 0.1, None, 0)], [1, 1, 1]).stderr is None


def test_no_error_means_no_interval_and_no_p() -> None:
    found = paired_difference(mean([1.0]), mean([0.0]))
    assert (found.stderr, found.interval(), found.p_two_sided(), found.equivalence_p(1)) == (None, None, None, None)
    assert satterthwaite([0.0, 0.0], [1, 1]) == math.inf


def test_different_items_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="same items"):
        paired_difference(mean([1.0, 2.0]), mean([1.0, 2.0, 3.0]))

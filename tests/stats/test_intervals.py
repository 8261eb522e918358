"""Standard errors and intervals: worked numbers, and statsmodels and scipy where they compute the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from benchbench.stats.influence import mean
from benchbench.stats.intervals import (
    Interval,
    cluster_sums,
    exponential,
    standard_error,
    t_quantile,
    uncertainty,
    wilson,
)

SCORES = [1, 1, 1, 0, 0, 0, 1, 0]
CLUSTERS = [0, 0, 0, 1, 1, 1, 2, 2]


def se_of_proportion(successes: int, n: int) -> float:
    found = standard_error(mean([1] * successes + [0] * (n - successes)).influence)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("successes", "n", "expected", "digits"),
    [
        (5021, 10042, 0.0049898, 7),
        (82, 164, 0.0392, 4),
        (660, 1319, 0.01377, 5),
        (7021, 14042, 0.00422, 5),
        (450, 900, 0.01668, 5),
    ],
)
def test_the_error_of_a_proportion_uses_n_minus_one(successes: int, n: int, expected: float, digits: int) -> None:
    assert round(se_of_proportion(successes, n), digits) == expected


def test_half_right_of_10042_is_not_the_population_formula() -> None:
    assert se_of_proportion(5021, 10042) != pytest.approx(0.0049895, abs=1e-7)


def test_clusters_widen_the_error_as_worked_by_hand() -> None:
    psi = mean(SCORES).influence
    assert standard_error(psi) == pytest.approx(0.18898, abs=5e-6)
    clustered = standard_error(psi, CLUSTERS)
    assert clustered == pytest.approx(0.32476, abs=5e-6)
    assert clustered is not None
    assert clustered * math.sqrt(2 / 3) == pytest.approx(0.26517, abs=5e-6)


def test_clustered_errors_equal_statsmodels() -> None:
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 100)
    x = rng.normal(size=100) + groups / 5
    fit = sm.OLS(x, np.ones(100)).fit(
        cov_type="cluster", cov_kwds={"groups": groups, "use_correction": True, "df_correction": True}, use_t=True
    )
    found = uncertainty(mean(x), groups.tolist())
    assert found.stderr == pytest.approx(float(fit.bse[0]), rel=1e-9)
    assert found.interval is not None
    assert list(found.interval) == pytest.approx(fit.conf_int()[0].tolist(), rel=1e-9)
    assert (found.n_clusters, found.degrees) == (len(set(groups.tolist())), found.n_clusters - 1)


def test_without_clusters_the_interval_is_student_s() -> None:
    x = np.random.default_rng(1).normal(size=25)
    low, high = scipy_stats.t.interval(0.95, 24, loc=x.mean(), scale=scipy_stats.sem(x))
    assert uncertainty(mean(x)).interval == pytest.approx((low, high))


def test_items_without_a_cluster_are_clusters_of_their_own() -> None:
    psi = mean(SCORES).influence
    assert standard_error(psi, [None] * 8) == standard_error(psi, list("abcdefgh")) == standard_error(psi)
    assert uncertainty(mean(SCORES), [None] * 8).n_clusters is None
    assert cluster_sums([1, 2, 4], ["a", None, "a"]).tolist() == [5, 2]


@pytest.mark.parametrize(("scores", "clusters", "reason"), [([1.0], None, "one item"), ([1, 0], ["a", "a"], "cluster")])
def test_an_undefined_error_is_none_with_a_reason(scores: list[float], clusters: list[str] | None, reason: str) -> None:
    found = uncertainty(mean(scores), clusters)
    assert found.stderr is None
    assert found.interval is None
    assert found.reason is not None
    assert reason in found.reason


def test_cluster_names_must_match_the_items() -> None:
    with pytest.raises(ValueError, match="3 items, but 1 cluster"):
        cluster_sums([1, 2, 3], ["a"])


@pytest.mark.parametrize(
    ("successes", "n", "low", "high", "digits"),
    [
        (8, 10, 0.4902, 0.9433, 4),
        (137, 164, 0.7711, 0.8843, 4),
        (10, 10, 0.7225, 1, 4),
        (0, 30, 0, 0.1135, 4),
        (5025, 10042, 0.49062, 0.51018, 5),
    ],
)
def test_wilson_intervals_have_the_worked_ends(successes: int, n: int, low: float, high: float, digits: int) -> None:
    found = wilson(successes, n)
    assert (round(found.low, digits), round(found.high, digits)) == (low, high)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy_and_holds_the_proportion(case: tuple[int, int]) -> None:
    k, n = case
    found = wilson(k, n)
    theirs = scipy_stats.binomtest(k, n).proportion_ci(method="wilson")
    assert found == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    assert 0 <= found.low <= k / n <= found.high <= 1


@pytest.mark.parametrize(("k", "n"), [(3, 2), (-1, 2), (0, 0)])
def test_wilson_refuses_impossible_counts(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes of"):
        wilson(k, n)


def test_quantiles_reach_the_normal_one() -> None:
    assert t_quantile(math.inf) == pytest.approx(1.959964, abs=1e-6)
    assert t_quantile(3) == pytest.approx(3.182446, abs=1e-6)


def test_exp_maps_the_interval_and_scales_the_error() -> None:
    known = uncertainty(mean([1.0, 2.0, 3.0]))
    value, found = exponential(2.0, known)
    assert known.stderr is not None
    assert known.interval is not None
    assert found.stderr == pytest.approx(math.exp(2) * known.stderr)
    assert found.interval == Interval(math.exp(known.interval.low), math.exp(known.interval.high))
    assert found.interval.low > 0
    assert value == math.exp(2)


def test_exp_of_too_much_is_infinite_and_no_error() -> None:
    assert exponential(1e4, uncertainty(mean([1.0])))[0] == math.inf

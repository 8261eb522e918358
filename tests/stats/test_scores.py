"""Intervals of one score: shares of right answers, scores with bounds, few clusters, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.estimates import corpus_uncertainty, mean_uncertainty, ratio_uncertainty
from benchbench.scoring.generation import CorpusScore
from benchbench.stats.groups import group_mean
from benchbench.stats.influence import Estimate, mean, ratio
from benchbench.stats.intervals import LEAST, Uncertainty, proportion, spread, standard_error, wilson
from benchbench.stats.scores import bounded, median_interval, positive, score_uncertainty

SHARE = (0.0, 1.0)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 20, 50, 100])
def test_a_share_of_right_answers_is_held_in_93_of_100_cases_whatever_it_is(n: int) -> None:
    ends = [proportion(k, n) for k in range(n + 1)]
    held = {
        p: sum(stats.binom.pmf(k, n, p) for k, (low, high) in enumerate(ends) if low <= p <= high)
        for p in np.linspace(0.001, 0.999, 500)
    }
    worst = min(held, key=held.__getitem__)
    assert held[worst] >= LEAST - 1e-9, worst


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_it_holds_wilson_s_interval_and_is_the_same_from_either_end(counts: tuple[int, int]) -> None:
    k, n = counts
    found, usual, other = proportion(k, n), wilson(k, n), proportion(n - k, n)
    assert found.low <= usual.low + 1e-9
    assert found.high >= usual.high - 1e-9
    assert (found.low, found.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)


def test_far_from_the_ends_it_is_wilson_s() -> None:
    for k, n in ((137, 164), (5025, 10042), (50, 100), (0, 30)):
        assert proportion(k, n) == pytest.approx(wilson(k, n), abs=1e-7)


def test_docs_of_their_own_scatter_as_the_textbook_says() -> None:
    x = np.random.default_rng(1).normal(size=30)
    known = spread(x - x.mean())
    assert known is not None
    assert math.sqrt(known.variance) == pytest.approx(standard_error(x - x.mean()))
    assert (known.clusters, known.units, known.docs) == (30, pytest.approx(30), pytest.approx(30))
    assert not known.is_clustered


def test_equal_clusters_scatter_as_their_means() -> None:
    x = np.random.default_rng(2).normal(size=40)
    names = np.repeat(range(8), 5).tolist()
    known = spread(x - x.mean(), names)
    assert known is not None
    assert known.variance == pytest.approx(x.reshape(8, 5).mean(axis=1).var(ddof=1) / 8)
    assert (known.clusters, known.units) == (8, pytest.approx(8))
    assert known.degrees <= 7


def test_unequal_clusters_count_as_fewer_equal_ones() -> None:
    known = spread(np.zeros(20), ["a"] * 9 + list(range(11)))
    assert known is not None
    assert known.units == pytest.approx(20**2 / (81 + 11))
    assert known.warning() == "few clusters: 12, as good as 4.3 equal ones"


def test_a_score_between_bounds_that_scatters_like_right_and_wrong_has_their_interval() -> None:
    x = np.array([1.0] * 60 + [0.0] * 40)
    known = spread(x - x.mean())
    assert known is not None
    assert bounded(0.6, known) == pytest.approx(wilson(60, 100), abs=2e-3)
    percent = spread(100 * (x - x.mean()))
    assert percent is not None
    assert bounded(60.0, percent, 0.0, 100.0) == pytest.approx([100 * end for end in wilson(60, 100)], abs=0.2)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.booleans())
@example(x=[0.0, 2.2250738585072014e-308], share=False)
@example(x=[1e-12, 1e-12, 1e-12], share=False)
def test_a_mean_between_bounds_always_has_an_interval_with_width_that_holds_it(x: list[float], share: bool) -> None:
    names = [i // 2 for i in range(len(x))] if share and len(x) >= 8 else [None] * len(x)
    known, _ = mean_uncertainty(x, names, SHARE)
    assert known.interval is not None
    value = mean(x).value
    assert 0 <= known.interval.low < known.interval.high <= 1
    assert known.interval.low - 1e-9 <= value <= known.interval.high + 1e-9


@pytest.mark.parametrize("x", [[1.0] * 5, [0.0] * 5, [0.7] * 5])
def test_a_handful_of_equal_scores_is_not_certain(x: list[float]) -> None:
    known, _ = mean_uncertainty(x, [None] * 5, SHARE)
    assert known.interval is not None
    assert known.interval.high - known.interval.low > 0.4, "as wide as of five right or wrong answers"


def test_twenty_thousand_equal_scores_are_nearly_certain() -> None:
    known, _ = mean_uncertainty([0.7] * 20_000, [None] * 20_000, SHARE)
    assert known.interval is not None
    assert known.interval.high - known.interval.low < 0.02


def test_one_cluster_with_half_of_the_docs_has_no_interval() -> None:
    known, _ = mean_uncertainty([1.0, 0.0] * 10, ["long"] * 10 + list(range(10)), SHARE)
    assert known.interval is None
    assert known.stderr is not None
    assert known.reason == "no interval: one cluster holds 50% of the docs"


def test_one_text_with_nearly_all_bytes_has_no_interval() -> None:
    size = [10_000, 100, 100, 100]
    known = ratio_uncertainty(ratio([9000.0, 90, 95, 85], size), [None] * 4, size)
    assert known.interval is None
    assert known.reason == "no interval: one doc holds 97% of the text"


def test_unequal_texts_are_told() -> None:
    size = np.exp(np.random.default_rng(3).normal(7, 1.3, 40))
    found = ratio(size * np.random.default_rng(4).gamma(6, 1 / 6, 40), size)
    known = ratio_uncertainty(found, [None] * 40, size)
    assert known.interval is not None
    assert str(known.reason).startswith("few docs hold the text: 40, as good as ")
    assert found.value / known.interval.low == pytest.approx(known.interval.high / found.value), "on the log scale"


def test_bleu_of_few_matches_has_no_interval() -> None:
    pulls = np.random.default_rng(5).normal(size=50)
    found = CorpusScore(Estimate(1.2, pulls - pulls.mean()), "BLEU|…", (30,) * 50, 4)
    assert corpus_uncertainty("bleu", found, [None] * 50).reason == "no interval: only 4 matching four-grams"
    enough = found._replace(matches=400)
    interval = corpus_uncertainty("bleu", enough, [None] * 50).interval
    assert interval is not None
    assert 0 < interval.low < 1.2 < interval.high


def test_a_choice_of_two_docs_has_no_interval() -> None:
    gold, guess = [0] * 48 + [1, 1], [0] * 49 + [1]
    for metric, says in (
        ("macro_f1", "no interval: choice 1 is right or predicted for only 2 docs"),
        ("matthews_corrcoef", "no interval: choice 1 is right, or predicted, for only 1 doc"),
    ):
        known = agreement_uncertainty(metric, agreement(metric, gold, guess), gold, guess)
        assert (known.interval, known.reason) == (None, says)


def test_f1_of_one_choice_has_the_interval_of_its_share() -> None:
    """F1 is 2J/(1 + J), and J a share of right answers: 30 of 50 here."""
    gold, guess = [1] * 40 + [0] * 60, [1] * 30 + [0] * 10 + [1] * 10 + [0] * 50
    known = agreement_uncertainty("f1", agreement("f1", gold, guess), gold, guess)
    ends = [2 * end / (1 + end) for end in proportion(30, 50)]
    assert known.interval == pytest.approx(ends)


def test_scores_above_0_end_at_0() -> None:
    found = mean([0.1, 0.2, 3.0])
    known = score_uncertainty(found, [None] * 3, positive)
    assert known.interval is not None
    assert 0 < known.interval.low < found.value < known.interval.high


def test_a_median_lies_between_two_docs() -> None:
    """Of 20 docs the sixth and the fifteenth: 95.9 % by the sign test; scipy's own quantile test agrees."""
    x = np.random.default_rng(6).exponential(size=20)
    interval, reason = median_interval(x)
    assert interval is not None
    assert reason is None
    expected = stats.quantile_test(x, q=0, p=0.5).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert median_interval([1.0, 2.0, 3.0])[1] == "no interval: too few docs for that of a median"


def has_width_or_a_reason(known: Uncertainty) -> bool:
    if known.interval is None:
        return bool(known.reason)
    return math.isfinite(known.interval.low) and known.interval.low < known.interval.high


SIZED = st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 10**6)), min_size=2, max_size=30)


@given(SIZED)
@example([(0.0, 1), (2.88e-92, 1)])
def test_a_ratio_has_an_interval_with_width_or_a_reason(x: list[tuple[float, int]]) -> None:
    size = [bytes_ for _, bytes_ in x]
    assert has_width_or_a_reason(ratio_uncertainty(ratio([nats for nats, _ in x], size), [None] * len(x), size))


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=40),
    st.sampled_from(["macro_f1", "matthews_corrcoef"]),
    st.integers(1, 4),
)
def test_agreement_has_an_interval_with_width_or_a_reason(x: list[tuple[int, int]], metric: str, together: int) -> None:
    gold, guess = [a for a, _ in x], [b for _, b in x]
    names = [i // together for i in range(len(x))]
    assert has_width_or_a_reason(agreement_uncertainty(metric, agreement(metric, gold, guess), gold, guess, names))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=12), st.booleans())
def test_a_mean_of_shares_has_an_interval_with_width_inside_0_to_1(x: list[tuple[int, int]], alike: bool) -> None:
    counts = [(min(right, n), n) for right, n in x]
    errors = [math.sqrt(k / n * (1 - k / n) / (n - 1)) if n > 1 else None for k, n in counts]
    found = group_mean(
        [k / n for k, n in counts],
        errors,
        [max(1, n - 1) for _, n in counts],
        intervals=[proportion(k, n) for k, n in counts],
        correlation=np.ones((len(x), len(x))) if alike else None,
    )
    assert found.interval is not None
    low, high = found.interval
    assert -1e-9 <= low < high <= 1 + 1e-9
    assert low - 1e-9 <= found.value <= high + 1e-9

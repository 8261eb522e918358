"""Duels: worked numbers, the published curve's counts, antisymmetry, and the defects that duels must not have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchbench.stats.duel import duel, duel_of_estimates, duel_of_tasks
from benchbench.stats.evidence import mcnemar
from benchbench.stats.influence import Estimate, jackknife_sums, ratio
from tests.simulate.worlds import CARD_COUNTS, CARD_N, MISTRAL_COUNT, related
from tests.stats.test_pairs import A, B

rights = arrays(np.float64, 60, elements=st.sampled_from([0.0, 1.0]))
reals = arrays(np.float64, 50, elements=st.floats(-5, 5, width=32))


def card_pair(before: int, after: int, disagreement: float) -> tuple[np.ndarray, np.ndarray]:
    """Two models with these counts of 10042, differing on that share."""
    second = np.zeros(CARD_N)
    second[:after] = 1
    return related(second, before, disagreement, np.random.default_rng(0)), second


def test_the_worked_duel() -> None:
    found = duel(A, B, seed=0, delta=0.25)
    assert (found.n, found.wins, found.losses, found.flips) == (100, 15, 5, 0.2)
    assert (found.score_a, found.score_b, found.difference.value) == pytest.approx((0.45, 0.55, 0.1))
    assert (found.method, found.p) == ("mcnemar", pytest.approx(0.041389, abs=5e-7))
    assert found.interval == pytest.approx((0.00994, 0.18614), abs=5e-6)
    assert found.outcome() == "better"
    assert duel(B, A, seed=0).outcome() == "worse"
    assert duel(A, B, seed=0, higher_is_better=False).outcome() == "worse"


@pytest.mark.parametrize(
    ("before", "after", "disagreement", "p", "digits"),
    [
        (4916, 4980, 0.10, 0.0467, 4),
        (4916, 4980, 0.15, 0.1045, 4),
        (4916, 4980, 0.20, 0.1597, 4),
        (4775, 4916, 0.15, 0.0003, 4),
        (4775, 4916, 0.20, 0.0018, 4),
        (4543, 4775, 0.20, 0.0000, 4),
        (4980, 5025, 0.10, 0.165, 3),
        (4980, 5025, 0.15, 0.257, 3),
        (4980, 5025, 0.20, 0.326, 3),
        (5013, 5025, 0.10, 0.729, 3),
        (5013, 5025, 0.15, 0.777, 3),
        (5013, 5025, 0.20, 0.806, 3),
    ],
)
def test_the_published_counts_have_the_worked_exact_p(
    before: int, after: int, disagreement: float, p: float, digits: int
) -> None:
    found = duel(*card_pair(before, after, disagreement), seed=0)
    assert found.p is not None
    assert abs(found.p - p) <= 1.1 * 10.0**-digits


@pytest.mark.parametrize(
    ("fewer", "differing"), [(CARD_COUNTS[4] - MISTRAL_COUNT, 30), (45, 503), (64, 1032), (141, 5100)]
)
def test_a_gain_is_significant_only_up_to_a_number_of_differing_items(fewer: int, differing: int) -> None:
    """12 items of 10042 need that the models differ on at most 30; 45, 64 and 141 on 5.01, 10.28 and 50.8 percent."""

    def p(total: int) -> float:
        total += (total + fewer) % 2
        return mcnemar((total + fewer) // 2, (total - fewer) // 2)

    assert p(differing - round(0.01 * differing) - 2) <= 0.05 < p(differing + round(0.01 * differing) + 2)


@pytest.mark.parametrize(
    ("n", "gained", "differing", "significant"),
    [(164, 10, 20, True), (164, 10, 24, False), (1319, 109, 1319, True), (14042, 969, 14042, True)],
)
def test_published_gains_of_domain_upsampling(n: int, gained: int, differing: int, significant: bool) -> None:
    differing -= (differing + gained) % 2
    assert (mcnemar((differing + gained) // 2, (differing - gained) // 2) <= 0.05) is significant


@given(rights | reals)
@settings(max_examples=40)
def test_a_duel_with_oneself_is_no_difference(x: np.ndarray) -> None:
    found = duel(x, x, seed=0, delta=0.5)
    assert (found.p, found.difference.value, found.wins, found.losses) == (1.0, 0.0, 0, 0)
    assert found.outcome() == "equivalent"
    assert found.interval is not None
    assert found.interval.low <= 0 <= found.interval.high


@given(st.tuples(rights, rights) | st.tuples(reals, reals), st.booleans())
@settings(max_examples=60)
def test_duels_are_antisymmetric(pair: tuple[np.ndarray, np.ndarray], clustered: bool) -> None:
    names = [f"passage {i // 3}" for i in range(pair[0].size)] if clustered else None
    there, back = (duel(*p, names, seed=0, delta=0.2) for p in (pair, pair[::-1]))
    assert there.p == pytest.approx(back.p)
    assert there.difference.value == pytest.approx(-back.difference.value, abs=1e-12)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    turned = {"better": "worse", "worse": "better"}
    assert back.outcome() == turned.get(there.outcome(), there.outcome())


def test_few_docs_with_real_scores_get_sign_flips_and_many_get_t() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 39))
    assert duel(x, y, seed=0).method == "sign flip"
    x, y = rng.normal(size=(2, 40))
    assert duel(x, y, seed=0).method == "paired t"


def test_clusters_make_a_duel_less_sure() -> None:
    rng = np.random.default_rng(1)
    a, b = (np.repeat(rng.random(60) < share, 5).astype(float) for share in (0.5, 0.65))
    names = [f"passage {i // 5}" for i in range(300)]
    alone, together = duel(a, b, seed=0), duel(a, b, names, seed=0)
    assert (together.method, together.n_clusters) == ("clustered t", 60)
    assert (alone.p or 0) < (together.p or 0)
    assert (together.detectable or 0) > 1.9 * (alone.detectable or 0)
    few = [f"passage {i // 10}" for i in range(300)]
    assert duel(a, b, few, seed=0).method == "clustered sign flip"


def test_items_that_all_pull_alike_are_not_infinitely_sure() -> None:
    found = duel([0.1, 0.2, 0.3], [0.6, 0.7, 0.8], seed=0)
    assert found.p == pytest.approx(0.25)
    assert found.outcome() == "undecided"


def test_one_item_or_one_cluster_decides_nothing() -> None:
    assert duel([0.2], [0.7], seed=0, delta=1.0).outcome() == "undecided"
    found = duel([0.2, 0.1], [0.7, 0.9], ["p", "p"], seed=0, delta=5.0)
    assert (found.p, found.interval, found.detectable, found.outcome()) == (None, None, None, "undecided")
    assert (found.method, found.reason) == ("none", "no standard error: the docs are fewer than two independent ones")


def test_a_small_but_certain_difference_is_still_a_difference() -> None:
    second = np.zeros(100_000)
    second[:50_000] = 1
    first = second.copy()
    first[:100] = 0
    found = duel(first, second, seed=0, delta=0.01)
    assert found.equivalence_p is not None
    assert found.equivalence_p < 0.05
    assert found.outcome() == "better"
    assert found.outcome(p=0.2) == "equivalent"


def test_few_flips_at_many_items_are_equivalent_and_half_of_them_undecided() -> None:
    assert duel(*card_pair(5020, 5025, 0.01), seed=0, delta=0.005).outcome() == "equivalent"
    assert duel(*card_pair(MISTRAL_COUNT, 5025, 0.20), seed=0, delta=0.005).outcome() == "undecided"


def test_what_could_have_been_seen_has_the_worked_size() -> None:
    found = duel(*card_pair(5013, 5025, 0.20), seed=0)
    assert found.detectable == pytest.approx(0.0125, abs=1e-4)


@pytest.mark.parametrize("pair", [([1, 0], [1, 0, 1]), ([1, math.nan], [1, 0]), ([], []), ([[1]], [[1]])])
def test_what_does_not_pair_is_refused(pair: tuple[list, list]) -> None:
    with pytest.raises(ValueError, match=r"same items|without NaN"):
        duel(*pair, seed=0)


def test_a_duel_of_corpus_metrics_is_the_jackknife_of_their_difference() -> None:
    rng = np.random.default_rng(3)
    one, two = rng.integers(1, 9, (2, 40, 2)).astype(float)

    def score(sums: list[float]) -> float:
        return sums[0] / sums[1]

    found = duel_of_estimates(*(jackknife_sums(t, score) for t in (one, two)))  # type: ignore[arg-type]

    def difference(i: int) -> float:
        a, b = (np.delete(t, i, axis=0).sum(axis=0) for t in (one, two))
        return float(b[0] / b[1] - a[0] / a[1])

    left_out = np.array([difference(i) for i in range(40)])
    by_hand = math.sqrt(39 / 40 * float(((left_out - left_out.mean()) ** 2).sum()))
    assert found.difference.stderr == pytest.approx(by_hand, rel=1e-9)
    assert (found.wins, found.flips, found.method) == (None, None, "paired t")
    same = duel_of_estimates(ratio([1, 2], [3, 4]), ratio([1, 2], [3, 4]))
    assert same.p == 1.0


def test_the_mean_of_tasks_adds_their_variances() -> None:
    duels = [duel(A, B, seed=0), duel(B, A, seed=0)]
    found = duel_of_tasks(duels, delta=0.1)
    errors = [d.difference.stderr or 0 for d in duels]
    assert found.difference.value == pytest.approx(0)
    assert found.difference.stderr == pytest.approx(math.hypot(*errors) / 2)
    assert (found.n, found.method, found.score_a, found.score_b) == (200, "mean of tasks", 0.5, 0.5)
    weighted = duel_of_tasks(duels, [3.0, 1.0])
    assert weighted.difference.value == pytest.approx(0.75 * 0.1 - 0.25 * 0.1)


def test_the_mean_of_tasks_brings_scores_onto_one_scale_without_clipping() -> None:
    low = duel([0.0] * 9 + [1.0], [0.0] * 8 + [1.0] * 2, seed=0)
    found = duel_of_tasks([low], ranges=[(0.25, 1.0)])
    assert (found.score_a, found.score_b) == pytest.approx((-0.2, (0.2 - 0.25) / 0.75))
    assert found.difference.stderr == pytest.approx((low.difference.stderr or 0) / 0.75)
    with pytest.raises(ValueError, match="at least one"):
        duel_of_tasks([])


def test_tasks_without_variance_leave_their_mean_with_an_interval() -> None:
    same = np.full(12, 0.2)
    found = duel_of_tasks([duel(same, same, seed=0), duel(np.ones(12), np.ones(12), seed=0)], delta=0.005)
    assert found.outcome() == "undecided"
    assert found.interval is not None
    assert found.interval.high - found.interval.low > 2 / 24
    assert found.p == 1.0


def test_the_mean_of_tasks_needs_no_more_room_than_its_docs_together() -> None:
    same = np.full(300, 0.2)
    duels = [duel(same, same, seed=0) for _ in range(9)]
    assert duels[0].evidence.one_more / 3 == pytest.approx(duel_of_tasks(duels).evidence.one_more)


def test_the_same_questions_in_several_languages_are_one_unit() -> None:
    """Differences that are the same in every language are worth one language."""
    rng = np.random.default_rng(5)
    gaps, names = rng.normal(0.05, 0.3, 200), [f"question {i}" for i in range(200)]
    one = duel(np.zeros(200), gaps, seed=0)
    parallel = [(gaps - gaps.mean(), names)] * 6
    apart, together = duel_of_tasks([one] * 6), duel_of_tasks([one] * 6, parallel=parallel)
    assert together.difference.stderr == pytest.approx(one.difference.stderr)
    assert apart.difference.stderr == pytest.approx((one.difference.stderr or 0) / math.sqrt(6))
    assert together.difference.value == pytest.approx(one.difference.value)
    assert (together.p or 0) == pytest.approx(one.p, rel=1e-6)
    others = [(gaps - gaps.mean(), [f"{task} {i}" for i in range(200)]) for task in range(6)]
    alone = duel_of_tasks([one] * 6, parallel=others)
    assert alone.difference.stderr == pytest.approx(apart.difference.stderr, rel=5e-3)
    unnamed = duel_of_tasks([one] * 6, parallel=[(gaps - gaps.mean(), None)] * 6)
    assert unnamed.difference.stderr == alone.difference.stderr


def test_parallel_tasks_of_unequal_size_keep_their_weights_and_ranges() -> None:
    rng = np.random.default_rng(6)
    gaps = [rng.normal(0.1, 0.3, n) for n in (60, 90)]
    duels = [duel(np.zeros(row.size), row, seed=0) for row in gaps]
    parallel = [(row - row.mean(), list(range(row.size))) for row in gaps]
    found = duel_of_tasks(duels, [1.0, 3.0], ranges=[(0.0, 1.0), (0.0, 2.0)], parallel=parallel)
    pulls = np.zeros(90)
    pulls[:60] += 0.25 / 60 * (gaps[0] - gaps[0].mean())
    pulls += 0.375 / 90 * (gaps[1] - gaps[1].mean())
    assert found.difference.value == pytest.approx(0.25 * gaps[0].mean() + 0.375 * gaps[1].mean())
    assert found.difference.stderr == pytest.approx(math.sqrt(90 / 89 * float(pulls @ pulls)))


def test_equal_corpus_metrics_of_few_docs_are_undecided_whatever_the_metric() -> None:
    pulls = np.array([3.0, -1.0, -2.0, 0.5, -0.5])
    for value, scale in ((30.0, 100.0), (0.8, 1.0), (0.7, None)):
        same = Estimate(value, pulls)
        found = duel_of_estimates(same, same, delta=0.005 * (scale or 1.0), scale=scale)
        assert (found.outcome(), found.p) == ("undecided", 1.0)
        assert found.interval is not None
        assert found.interval.high > 0.3 * found.scale


def test_a_range_that_is_given_counts_and_one_that_is_not_is_guessed() -> None:
    low, same = np.full(20, 0.01), np.full(20, 3.0)
    for scores, guess in ((low, 1.0), (same, 3.0)):
        width = duel(scores, scores, seed=0).interval
        assert width == duel(scores, scores, seed=0, scale=guess).interval
    assert duel(low, low, seed=0).scale == 1.0
    assert (duel(low, low, seed=0, scale=5.0).interval or (0, 0))[1] == pytest.approx(
        5 * (duel(low, low, seed=0).interval or (0, 0))[1]
    )


def test_scores_that_differ_by_rounding_do_not_differ() -> None:
    x = np.linspace(1, 2, 30)
    found = duel(x, x + 1e-15, seed=0)
    assert (found.p, found.difference.value, found.wins, found.losses) == (1.0, 0.0, 0, 0)
    one, two = ratio(x, x + 1), ratio(x * (1 + 1e-15), x + 1)
    assert duel_of_estimates(one, two).p == 1.0


def test_the_bytes_of_docs_make_their_duel_exact() -> None:
    """One doc has nearly all bytes: it cannot decide a duel, and the other docs cannot either."""
    rng = np.random.default_rng(7)
    length = np.array([1000.0, *[1.0] * 30])
    bits = 0.7 + 0.1 * rng.normal(size=31)
    gain = np.array([0.1, *[0.0] * 30]) + 0.01 * rng.normal(size=31)
    one, two = (ratio(length * x, length) for x in (bits, bits + gain))
    assert (duel_of_estimates(one, two, weights=length).p or 0) > 0.3


def test_a_task_without_error_leaves_the_mean_without() -> None:
    found = duel_of_tasks([duel(A, B, seed=0), duel([0.2], [0.3], seed=0)])
    assert (found.p, found.method) == (None, "none")

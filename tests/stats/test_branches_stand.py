"""What every branch of the statistics gives for fixed data: few docs, unequal clusters, bounds, missing parts."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.stats import (
    auroc,
    difference,
    duel,
    evidence,
    groups,
    influence,
    intervals,
    matrix,
    prompts,
    ranks,
    scores,
    testing,
    units,
)
from benchbench.stats.intervals import Interval
from tests.frozen import stands

FILE = Path(__file__).with_name("branches.json")
RNG = np.random.default_rng(77)
N = 90
REAL = RNG.normal(size=(3, N)) + np.array([[0.0], [0.3], [2.0]])
SHARES = np.clip(0.5 + 0.3 * REAL, 0, 1)
RIGHT = (RNG.random((3, N)) < np.array([[0.5], [0.55], [0.9]])).astype(float)
BYTES = np.exp(RNG.normal(3, 1, N))
RARE = np.where(np.arange(N) % 30 == 0, 1.0, 0.0)
SKEWED = RNG.exponential(size=(2, N)) ** 2
NAMES: dict[str, list[str | None] | None] = {
    "alone": None,
    "pairs": [f"c{i // 2}" for i in range(N)],
    "unequal": [f"c{int(i**0.7)}" for i in range(N)],
    "one large": ["big" if i < 30 else None for i in range(N)],
    "half": ["big" if i < 45 else f"c{i % 4}" for i in range(N)],
}
TABLES = {"real": REAL, "shares": SHARES, "right": RIGHT, "rare": np.stack([RARE, 1 - RARE]), "skewed": SKEWED}
SIZES = (1, 2, 3, 6, 12, 13, 39, 40, 90)


def some(names: list[str | None] | None, n: int) -> list[str | None] | None:
    return None if names is None else names[:n]


def duels(kind: str) -> list[Any]:
    table, found = TABLES[kind], []
    for n in SIZES:
        for names in ("alone", "pairs", "unequal"):
            made = duel.duel(table[0][:n], table[1][:n], some(NAMES[names], n), seed=4, delta=0.4)
            turned = duel.duel(
                table[1][:n], table[0][:n], some(NAMES[names], n), seed=4, scale=3.0, higher_is_better=False
            )
            found.append([made.outcome(), made.method, made.n_clusters, made.wins, made.scale, made.evidence])
            found.append([turned.outcome(), turned.losses, turned.flips, turned.detectable, turned.interval])
    return found


@pytest.mark.parametrize("kind", TABLES)
def test_duels_of_few_and_many_docs_stand(kind: str) -> None:
    stands(FILE, f"duels {kind}", duels(kind))


def test_duels_of_estimates_stand() -> None:
    found = []
    for n, names, weights in product((2, 8, 30, 90), ("alone", "unequal"), (None, BYTES, np.ones(N))):
        a, b = (influence.ratio(np.exp(0.2 * row[:n]) * BYTES[:n], BYTES[:n]) for row in REAL[:2])
        w = None if weights is None else weights[:n]
        made = duel.duel_of_estimates(a, b, some(NAMES[names], n), weights=w, delta=0.05, higher_is_better=False)
        found.append([made.outcome(), made.method, made.scale, made.evidence])
    same = influence.mean(RIGHT[0])
    found.append([duel.duel_of_estimates(same, same, seed=1).evidence])
    stands(FILE, "duels of estimates", found)


def test_duels_of_tasks_stand() -> None:
    one = duel.duel(RIGHT[0], RIGHT[1], seed=1, delta=0.01)
    two = duel.duel(SHARES[0], SHARES[2], NAMES["pairs"], seed=1, delta=0.01)
    few = duel.duel(RIGHT[0][:9], RIGHT[2][:9], seed=1)
    lone = duel.duel(SHARES[0][:1], SHARES[1][:1], seed=1)
    pulls = [(x - x.mean(), NAMES["pairs"]) for x in (RIGHT[1] - RIGHT[0], SHARES[2] - SHARES[0])]
    small = [(x[:9] - x[:9].mean(), [f"q{i}" for i in range(9)]) for x in (RIGHT[2] - RIGHT[0], SHARES[1] - SHARES[0])]
    found = [
        duel.duel_of_tasks([one, two]),
        duel.duel_of_tasks([one, two], [3.0, 1.0], ranges=[(0.25, 1.0), (0.0, 0.5)], delta=0.2),
        duel.duel_of_tasks([one, two], parallel=pulls, delta=0.2),
        duel.duel_of_tasks([one, two], [1.0, 4.0], parallel=pulls, ranges=[(0.5, 1.0), (0.0, 1.0)]),
        duel.duel_of_tasks([few, two], parallel=small, delta=0.9),
        duel.duel_of_tasks([few, two], parallel=[small[0], (pulls[1][0], None)]),
        duel.duel_of_tasks([one, lone], delta=0.1),
        duel.duel_of_tasks([one], higher_is_better=False),
    ]
    stands(FILE, "duels of tasks", [[one.outcome(), one] for one in found])


def test_matrices_agree_with_duels_and_stand() -> None:
    """All pairs at once are the pairs one by one; that both are as they were."""
    found, compared = [], 0
    for (kind, table), (name, clusters) in product(TABLES.items(), NAMES.items()):
        for n in (7, 40, N):
            made = matrix.duel_matrix(table[:, :n], some(clusters, n), seed=4)
            one = duel.duel(table[0][:n], table[1][:n], some(clusters, n), seed=4)
            found.append([kind, name, n, made, made.wins(), made.wins(higher_is_better=False)])
            if one.p is not None:
                assert made.p[0, 1] == pytest.approx(one.p, abs=1e-9), (kind, name, n)
                assert made.difference[1, 0] == pytest.approx(one.difference.value)
                compared += 1
    assert compared == 60
    bits = np.stack([1 + x for x in np.exp(0.2 * REAL)])
    found.append([matrix.duel_matrix(bits[:, :n], seed=2, estimates=True, weights=BYTES[:n]) for n in (9, N)])
    stands(FILE, "matrices", found)


def test_units_stand() -> None:
    found = []
    for (kind, table), (name, clusters) in product(TABLES.items(), NAMES.items()):
        which = intervals.cluster_index(clusters, N)
        made = units.units_of_means((table[1] - table[0])[None, :], which, np.array([1.0]), np.array([1.0]))
        numbers = [made.count, made.worth, made.are_few, made.still, made.one_more, made.typical(), made.typical(1.0)]
        found.append([kind, name, numbers, units.spread(made), units.spread(made, flipped=False)])
    found.append(units.read_weights(REAL[:1], REAL[1:2]))
    found.append(units.read_weights(BYTES[None, :] * REAL[:1], BYTES[None, :] * REAL[1:2]))
    found.append([units.skewness(*(np.array([x]) for x in (4.0, 3.0, u)), n) for u in (0.0, 5.0) for n in (2, 3, 9)])
    found.append([units.default_scale(x) for x in (REAL, SHARES)])
    found.append([units.alike(np.array([s]), np.array([f]), 9) for s, f in ((0.0, 0.0), (4.0, 1.0), (4.0, 100.0))])
    stands(FILE, "units", found)


ENDS = (None, Interval(0.3, 0.6), Interval(0.45, 0.8), Interval(0.4, 0.4))


def test_means_of_groups_stand() -> None:
    found = []
    rho = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.2], [0.0, -0.2, 1.0]])
    values = ([0.5, 0.6, 0.4], [0.0, 0.0, 0.0], [0.02, 0.98, 0.4])
    errors: tuple[list[float | None], ...] = ([0.05, 0.04, 0.1], [0.0, 0.0, 0.0], [0.05, None, 0.1])
    for value, error, known, weights in product(values, errors, (None, rho), (None, [1.0, 2.0, 5.0])):
        ends = [Interval(x - 0.05 * (x > 0.01), x + 0.01 + 0.1 * (1 - x)) for x in value]
        plain = groups.group_mean(value, error, [9, 50, 4], weights, correlation=known)
        own = groups.group_mean(value, error, [9, 50, 4], weights, intervals=ends, correlation=known)
        gap = groups.group_mean(value, error, [9, 50, 4], weights, intervals=[*ends[:2], None], correlation=known)
        found.append([plain, own, gap])
    found.append(groups.group_mean([0.5], [0.1], [3], intervals=[Interval(0.2, 0.7)]))
    many = [Interval(0.85, 0.999)] * 30
    found.append(groups.group_mean([0.97] * 30, [0.03] * 30, [19] * 30, intervals=many))
    stands(FILE, "means of groups", found)


def test_correlations_stand() -> None:
    parts = [REAL[0] - REAL[0].mean(), REAL[1] - REAL[1].mean(), 0 * REAL[2]]
    parts[1] = parts[1] + 0.5 * parts[0]
    found = [
        groups.error_correlation(parts, [names] * 3)
        for names in (None, NAMES["pairs"], NAMES["one large"], [f"q{i}" for i in range(N)])
    ]
    found.append(groups.error_correlation([parts[0], parts[1][:40]], [NAMES["pairs"], NAMES["pairs"][:40]]))
    found.append(groups.error_correlation([parts[0], parts[1]], [NAMES["pairs"], None]))
    found.append(groups.correlation_of(parts))
    stands(FILE, "correlations", found)


SHAPES: dict[str, Callable[..., Any]] = {
    "bounded": scores.bounded,
    "wide": lambda value, known: scores.bounded(value, known, -4.0, 6.0),
    "counted": lambda value, known: scores.counted(value, known, 3.0),
    "positive": scores.positive,
    "symmetric": scores.symmetric,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_of_scores_stand(shape: str) -> None:
    found = []
    for (kind, table), (name, clusters), n in product(TABLES.items(), NAMES.items(), (1, 2, 5, 24, N)):
        if shape != "bounded" or kind not in ("real", "skewed"):
            made = influence.mean(np.abs(table[1][:n]))
            found.append([kind, name, n, scores.score_uncertainty(made, some(clusters, n), SHAPES[shape])])
    for shares in (BYTES, np.where(np.arange(N) == 0, 500.0, 1.0), np.where(np.arange(N) < 4, 500.0, 1.0)):
        made = influence.mean(SHARES[0])
        found.append(scores.score_uncertainty(made, None, SHAPES[shape], shares=shares, what="text"))
        found.append(intervals.spread(made.influence, NAMES["unequal"], shares))
    found.append([scores.score_uncertainty(influence.mean(x), None, SHAPES[shape]) for x in (np.zeros(9), np.ones(9))])
    stands(FILE, f"intervals {shape}", found)


def test_medians_and_bootstraps_stand() -> None:
    found = []
    for n, names in product((1, 2, 5, 6, 7, 20, N), NAMES):
        clusters = some(NAMES[names], n)
        found.append([scores.median_interval(x[:n], clusters) for x in (REAL[0], RIGHT[0], np.ones(N))])
        found.append(scores.bootstrap(REAL[0][:n], lambda x: float(np.mean(x)), clusters, seed=3, draws=40))
    found.append(scores.bootstrap(np.ones(5), lambda x: float(np.mean(x)), seed=3, draws=9))
    stands(FILE, "medians", found)


def test_shares_stand() -> None:
    found = [[intervals.accepted(p, n) for n in (1, 4, 11, 50)] for p in (0.0, 0.03, 0.2, 0.5, 0.9, 1.0)]
    odd = [intervals.wilson_of(p, n) for p in (0.0, 0.1, 1.0) for n in (0.5, 3.7)]
    large = [intervals.exponential(x, intervals.uncertainty(influence.mean([x, x + 1]))) for x in (1.0, 709.5, 800.0)]
    first = [intervals.first(lambda x, at=at: x >= at, 2.0) for at in (0.0, 0.3, 1.9)]
    stands(FILE, "shares", [found, odd, large, first])


def test_areas_stand() -> None:
    found = []
    for positives, n in ((2, 30), (3, 30), (9, 30), (10, 30), (28, 30), (5, 12)):
        gold = (np.arange(n) < positives).astype(int)
        for shift, name in product((0.0, 1.5, 9.0), ("alone", "pairs", "one large", "half")):
            chances = np.stack([-REAL[0][:n], REAL[0][:n]], axis=1) + shift * np.eye(2)[gold]
            clusters = some(NAMES[name], n)
            found.append(
                [auroc.macro_auroc(gold, chances).value, auroc.macro_auroc_uncertainty(gold, chances, clusters)]
            )
    found.append([auroc.newcombe_size(area, m, 20) for area in (0.5, 0.9, 1.0) for m in (2, 40)])
    tied = auroc.auroc([1, 1, 1, 0, 0, 0], [[1, 2, 2, 1, 2, 0], [3, 3, 3, 1, 2, 0], [3, 3, 3, 1, 2, 0]])
    found.append([tied, *(auroc.compare(tied, a, b) for a, b in ((0, 1), (1, 2), (2, 0)))])
    stands(FILE, "areas", found)


def test_prompts_stand() -> None:
    found = []
    for (kind, table), names, n, better in product(
        TABLES.items(), ("alone", "pairs", "half"), (2, 4, 8, N), (True, False)
    ):
        made = prompts.over_prompts(table[:, :n], some(NAMES[names], n), higher_is_better=better, seed=2)
        found.append([kind, names, n, made])
    found.append(prompts.over_prompts([[0.5, 0.5, 0.5]] * 2, seed=2))
    found.append(prompts.over_prompts([[1.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 0.0, 1.0]], seed=2))
    found.append(prompts.over_prompts(SHARES, ["one"] * N, seed=2))
    stands(FILE, "prompts", found)


def test_ranks_stand() -> None:
    pulls = [x - x.mean(axis=1, keepdims=True) for x in (RIGHT, SHARES)]
    names = [NAMES["pairs"], NAMES["unequal"]]
    known = {
        "plain": ranks.mean_covariance(pulls),
        "clusters": ranks.mean_covariance(pulls, names, [1.0, 3.0]),
        "scales": ranks.mean_covariance(pulls, names, scales=[1.0, 2.0]),
        "parallel": ranks.mean_covariance(pulls, [NAMES["pairs"]] * 2, [1.0, 3.0], parallel=True),
        "few": ranks.mean_covariance([psi[:, :6] for psi in pulls], scales=[1.0, 1.0]),
        "mixed": ranks.covariance_of_mean([0.01 * np.eye(3), ranks.mean_covariance(pulls)], [0.5, 0.5]),
        "certain": np.zeros((3, 3)),
    }
    found = []
    for name, sigma in known.items():
        extra = [sigma.units, sigma.degrees, sigma.extra] if isinstance(sigma, ranks.Covariance) else []
        for values in ([0.1, 0.5, 0.5], [0.5, 0.52, 0.9], [0.3, 0.2, 0.1]):
            made = ranks.rank_intervals(values, sigma, seed=5, draws=300)
            turned = ranks.rank_intervals(values, sigma, seed=5, draws=99, alpha=0.2, higher_is_better=False)
            found.append([name, np.asarray(sigma), extra, made, turned.low, turned.critical])
    rates = ranks.mean_win_rate([[0.1, 0.2, np.nan], [0.3, 0.3, 0.1], [np.nan, np.nan, 0.4]])
    wins = ranks.duel_win_score(RNG.random((3, 4, 4)) < 0.4, ["a", "b", "a"])
    stands(FILE, "ranks", [found, rates, wins])


def test_a_model_alone_is_first_and_last() -> None:
    for sigma in ([[0.1]], ranks.mean_covariance([RIGHT[:1] - RIGHT[0].mean()])):
        made = ranks.rank_intervals([0.5], sigma, seed=5, draws=20)
        assert (made.low.tolist(), made.high.tolist(), made.better.tolist()) == ([1], [1], [[False]])


def test_tests_stand() -> None:
    sums = REAL[0]
    flips = [evidence.Flips.of(sums[:n], BYTES[:n], seed=2) for n in (1, 2, 5, 12, 13, 30)]
    found = {
        "flips": [
            [f.p_two_sided(), f.p_above(0.3), (-f).p_above(-0.1), f.interval(0.95), f.interval(0.5)] for f in flips
        ],
        "many": [evidence.flipped_p(REAL[:, :n], seed=2) for n in (4, 30)],
        "powers": [testing.t_sum(d, two_sided=t) for d in (1.0, 30.0, 99999.0, 1e6) for t in (True, False)],
        "pairs": [testing.detectable_pairs(*x) for x in ((0, 3), (0, 6), (2, 9), (9, 9), (3001, 9000), (3000, 9000))],
        "power": [testing.pairs_power(d, e, n) for d, e, n in ((0.0, 0.0, 9), (0.3, 0.3, 20), (0.1, 0.5, 300))],
        "adjusted": [f([0.2, 0.01, 0.04, 0.04]) for f in (testing.holm, testing.benjamini_hochberg)],
        "dependent": testing.benjamini_hochberg([0.2, 0.01, 0.04], any_dependence=True),
        "margins": [testing.margin((-1.0, 1.0)), *(testing.margin(None, *x) for x in ((), (0.0,), (-2.0, 4.0)))],
        "levels": [
            testing.Family(looks, tasks, share).level(count, early=early)
            for looks, tasks, share in product((None, 1, 3), (1, 4), (None, 0.2))
            for count, early in product((1, 2, 5, 6, 13), (True, False))
        ],
        "looks": [testing.Family(looks).num_looks(count) for looks in (None, 1, 4) for count in (1, 2, 9)],
        "matched": [difference.matched_pairs(*x) for x in ((0, 0, 1), (1, 0, 1), (3, 5, 20))],
        "skewed": [influence.ends(2.0, s) for s in (0.0, 1e-7, 0.3, -0.3)],
        "sure": [influence.surely_off(t, s) for t in (-2.0, 0.1, 2.0) for s in (-0.5, 0.0, 0.5)],
        "unseen": [
            influence.unseen_variance(x, 2.0, units=u)
            for x in ([0.0, 0.0, 0.5], [0.0] * 4, [1.0]) for u in (None, 9)
        ],
    }  # fmt: skip
    plain = difference.Difference(0.3, 0.25, 0.1, 12.0, 0.002, 0.4)
    sure = difference.Difference(0.3, 0.3, 0.0, 12.0)
    unknown = difference.Difference(0.3, 0.3, None, 0)
    found["differences"] = [
        [
            d.interval(),
            d.upper(),
            d.p_above(),
            d.p_above(0.3),
            d.p_two_sided(),
            d.equivalence_p(0.5),
        ]
        for d in (plain, -plain, sure, unknown)
    ]
    found["sums"] = [
        difference.sum_of_differences(x, [0.5, -0.5]) for x in ([plain, sure], [plain, unknown], [sure, sure])
    ]
    stands(FILE, "tests", found)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: influence.mean([]), "non-empty vector"),
    (lambda: influence.mean([[1.0]]), "non-empty vector"),
    (lambda: influence.ratio([1.0], [1.0, 2.0]), "1 numerators, but 2"),
    (lambda: influence.ratio([1.0], [0.0]), "sum to 0"),
    (lambda: influence.jackknife_sums([1.0], sum), "items × statistics"),
    (lambda: influence.jackknife_sums(np.zeros((0, 2)), sum), "items × statistics"),
    (lambda: intervals.cluster_index(["a"], 2), "2 items, but 1"),
    (lambda: intervals.wilson(2, 1), "2 successes of 1"),
    (lambda: intervals.wilson(-1, 1), "-1 successes"),
    (lambda: intervals.wilson(0, 0), "0 successes of 0"),
    (lambda: groups.group_mean([], [], []), "at least one member"),
    (lambda: duel.duel([1.0], [1.0, 2.0], seed=1), "same items"),
    (lambda: duel.duel([], [], seed=1), "without NaN"),
    (lambda: duel.duel([np.nan], [1.0], seed=1), "without NaN"),
    (lambda: duel.duel_of_estimates(influence.mean([1.0]), influence.mean([1.0, 2.0])), "same items"),
    (lambda: duel.duel_of_tasks([]), "at least one task"),
    (lambda: duel.duel([1.0, 2.0], [1.0, 3.0], seed=1, delta=0.0), "must be positive"),
    (lambda: matrix.duel_matrix([[1.0, 2.0]], seed=1), "two models or more"),
    (lambda: matrix.duel_matrix([[1.0], [np.nan]], seed=1), "two models or more"),
    (lambda: matrix.duel_matrix(np.zeros((2, 0)), seed=1), "two models or more"),
    (lambda: ranks.mean_covariance([]), "at least one task"),
    (lambda: ranks.mean_covariance([np.zeros((2, 1))]), "two independent items"),
    (lambda: ranks.rank_intervals([1.0, 2.0], np.eye(3), seed=1), "2 models need"),
    (lambda: ranks.chance_normalised(0.5, 1.0), "must be below"),
    (lambda: ranks.duel_win_score(np.zeros((1, 1, 1))), "two models or more"),
    (lambda: ranks.duel_win_score(np.zeros((1, 2, 3))), "two models or more"),
    (lambda: prompts.over_prompts([[1.0, 2.0]], seed=1), "two prompts or more"),
    (lambda: prompts.over_prompts([[1.0], [2.0]], seed=1), "two prompts or more"),
    (lambda: auroc.auroc([1, 0, 0], [[1.0, 2.0, 3.0]]), "not 1 and 2"),
    (lambda: auroc.auroc([1, 1, 0], [[1.0, 2.0, 3.0]]), "not 2 and 1"),
    (lambda: auroc.macro_auroc([0, 0, 1], np.zeros((3, 2))), "two of each"),
    (lambda: testing.holm([1.1]), "from 0 to 1"),
    (lambda: testing.holm([[0.1]]), "from 0 to 1"),
    (lambda: testing.benjamini_hochberg([-0.1]), "from 0 to 1"),
    (lambda: evidence.mcnemar_above(-1, 0), "-1 wins"),
    (lambda: evidence.mcnemar_above(0, -1), "-1 losses"),
    (lambda: difference.matched_pairs(1, 1, 1), "1 wins and 1 losses of 1"),
    (lambda: difference.matched_pairs(0, 0, 0), "of 0 items"),
    (lambda: difference.matched_pairs(-1, 0, 1), "-1 wins"),
    (lambda: difference.matched_pairs(0, -1, 1), "-1 losses"),
    (lambda: difference.Difference(1.0, 1.0, 0.1, 9).equivalence_p(0.0), "must be positive"),
    (lambda: difference.paired_difference(influence.mean([1.0]), influence.mean([1.0, 2.0])), "same items"),
    (lambda: difference.reach_of_difference([0.5], [0.5, 1.0], (0.0, 1.0)), "same items"),
    (lambda: difference.reach_of_difference([0.5, np.nan], [np.nan, 1.0], (0.0, 1.0)), "on both sides"),
]  # fmt: skip


@pytest.mark.parametrize("place", range(len(REFUSED)))
def test_what_makes_no_sense_is_refused_in_a_sentence(place: int) -> None:
    asked, says = REFUSED[place]
    with pytest.raises(ValueError, match=says):
        asked()

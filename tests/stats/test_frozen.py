"""What the statistics give for fixed data, digit by digit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.stats import auroc, difference, duel, evidence, intervals, matrix, prompts, ranks, scores, testing
from benchbench.stats.influence import mean, ratio
from tests.frozen import stands

FILE = Path(__file__).with_name("frozen.json")
RNG = np.random.default_rng(12)
RIGHT = (RNG.random((4, 60)) < np.array([0.3, 0.5, 0.55, 0.9])[:, None]).astype(float)
F1 = np.where(RNG.random((4, 60)) < 0.6, 0.0, RNG.random((4, 60)))
REAL = RNG.normal(size=(4, 60)) + np.linspace(0, 0.9, 4)[:, None]
WORDS = RNG.integers(3, 40, 60).astype(float)
RATIOS = [ratio(row * WORDS, WORDS) for row in np.exp(0.2 * REAL)]
GROUPS = [f"p{i // 3}" for i in range(60)]
UNEQUAL = [f"p{int(i**0.8)}" for i in range(60)]
LABELS = RNG.integers(0, 3, 60)
CHANCES = np.eye(3)[LABELS] + RNG.random((60, 3))
SCORES = {"right": RIGHT, "f1": F1, "real": REAL}
CLUSTERS = {"alone": None, "passages": GROUPS, "unequal": UNEQUAL}

CASES: dict[str, Callable[[], Any]] = {
    **{
        f"duel of {kind} {which} {first}": lambda s=table, c=clusters, i=first: duel.duel(s[i], s[i + 1], c, seed=3)
        for kind, table in SCORES.items()
        for which, clusters in CLUSTERS.items()
        for first in (0, 1, 2)
    },
    **{
        f"matrix of {kind} {which}": lambda s=table, c=clusters: matrix.duel_matrix(s, c, seed=3)
        for kind, table in SCORES.items()
        for which, clusters in CLUSTERS.items()
    },
    **{
        f"bits {which}": lambda c=clusters: duel.duel_of_estimates(RATIOS[0], RATIOS[1], c, weights=WORDS, seed=3)
        for which, clusters in CLUSTERS.items()
    },
    **{
        f"score of {name} {which}": lambda e=estimate, c=clusters, s=shape: scores.score_uncertainty(e, c, s)
        for name, estimate, shape in (
            ("accuracy", mean(RIGHT[3]), scores.bounded),
            ("f1", mean(F1[0]), scores.bounded),
            ("few", mean(RIGHT[0][:7]), scores.bounded),
            ("bits", RATIOS[0], scores.positive),
            ("edits", mean(10 * F1[1]), lambda value, known: scores.counted(value, known, 100.0)),
        )
        for which, clusters in (CLUSTERS.items() if name != "few" else [("alone", None)])
    },
    "auroc": lambda: auroc.compare(auroc.auroc(LABELS == 1, CHANCES[:, :2].T)),
    **{
        f"macro auroc {which}": lambda c=clusters: auroc.macro_auroc_uncertainty(LABELS, CHANCES, c)
        for which, clusters in CLUSTERS.items()
    },
    "proportions": lambda: [intervals.proportion(k, n) for n in (1, 5, 30) for k in range(n + 1)],
    "wilson": lambda: [intervals.wilson(k, 30, level=level) for level in (0.9, 0.95) for k in (0, 3, 30)],
    "quantiles": lambda: [intervals.t_quantile(d) for d in (1.0, 2.5, 30.0, 1e9)],
    "reach": lambda: [
        difference.reach_of_difference(np.where(np.arange(60) < 4, np.nan, RIGHT[1]), RIGHT[2], (0.0, 1.0)),
    ],
    "shares of the error": lambda: [testing.spent(k, early=e) for e in (False, True) for k in (*range(1, 30), 60, 400)],
    "holm": lambda: [testing.holm([0.04, 0.01, 0.03]), testing.benjamini_hochberg([0.04, 0.01, 0.2])],
    "pairs": lambda: [
        f(w, n) for f in (evidence.mcnemar, evidence.mcnemar_above) for w, n in ((0, 5), (3, 9), (40, 60))
    ],
    "signs": lambda: [evidence.sign_flip(REAL[0][:count], seed=1) for count in (6, 12, 60)],
    "detectable": lambda: [testing.detectable_pairs(d, n) for d, n in ((5, 60), (30, 60), (200, 1000))],
    "power": lambda: (
        [testing.pairs_power(0.05, 0.2, n) for n in (50, 400)] + [testing.t_sum(degrees) for degrees in (math.inf, 7.0)]
    ),
    "margins": lambda: [testing.margin((0.0, 1.0), 0.5), testing.margin(None, 3.0, 4.0)],
    **{f"prompts {kind}": lambda s=table: prompts.over_prompts(s, seed=1) for kind, table in SCORES.items()},
    "ranks": lambda: ranks.rank_intervals(
        REAL.mean(axis=1), ranks.mean_covariance([REAL - REAL.mean(axis=1, keepdims=True)]), seed=3
    ),
    "close ranks": lambda: ranks.rank_intervals([0.1, 0.2, 0.2, 0.9], 0.002 * np.eye(4), seed=3),
    "win rates": lambda: [ranks.mean_win_rate(RIGHT), ranks.chance_normalised(0.5, 0.25)],
}


@pytest.mark.parametrize("name", CASES)
def test_numbers_stand(name: str) -> None:
    stands(FILE, name, CASES[name]())

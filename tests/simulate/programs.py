"""Problems of known difficulty and recipes of known worth: what is said of pass@k, and of groups of trainings."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from benchbench.scoring.estimates import mean_uncertainty
from benchbench.stats.combined import answer_noise, training_spread, widened
from benchbench.stats.duel import duel
from benchbench.stats.pass_at_k import pass_at_k
from tests.simulate.table import Row

EASE = (0.4, 0.8)
"""Of the beta distribution of how often an answer to a problem passes: many are hard, some are sure."""
GAIN, NOISE = 0.08, 0.03
"""What the second recipe brings, and the standard deviation of one training of a recipe."""
LEAST, MOST = 0.94, 0.97


@cache
def true_pass(k: int) -> float:
    """pass@k over all problems."""
    grid = (np.arange(400_000) + 0.5) / 400_000
    weight = grid ** (EASE[0] - 1) * (1 - grid) ** (EASE[1] - 1)
    return float(((1 - (1 - grid) ** k) * weight).sum() / weight.sum())


@cache
def true_gain() -> float:
    """The difference of two recipes over all docs and trainings."""
    rng = np.random.default_rng(0)
    ease = rng.random(2_000_000)
    low, high = (np.clip(ease + rng.normal(mean, NOISE, ease.size), 0, 1).mean() for mean in (0.0, GAIN))
    return float(high - low)


def passes(problems: int, n: int, k: int, runs: int, seed: int) -> list[Row]:
    """How often the interval of pass@k from n answers to each problem holds the truth."""
    rng, hits, widths = np.random.default_rng(seed), 0, []
    for _ in range(runs):
        passed = rng.binomial(n, rng.beta(*EASE, problems))
        scores = [pass_at_k(n, int(c), k) for c in passed]
        interval = mean_uncertainty(scores, [None] * problems, (0.0, 1.0), "wilson")[0].interval
        if interval is not None:
            hits += interval.low <= true_pass(k) <= interval.high
            widths.append(interval.high - interval.low)
    cell = f"{problems} problems, {n} answers to each"
    return [
        Row(f"pass@{k}", cell, "interval holds", len(widths), hits / len(widths), LEAST, MOST, False, np.mean(widths))
    ]


def recipes(trainings: tuple[int, int], docs: int, runs: int, seed: int) -> list[Row]:
    """How often the interval of two groups of trainings holds the difference of their recipes."""
    rng, hits, widths = np.random.default_rng(seed), 0, []
    for _ in range(runs):
        ease = rng.random(docs)
        sides = []
        for count, mean in zip(trainings, (0.0, GAIN), strict=True):
            chance = np.clip(ease + rng.normal(mean, NOISE, (count, 1)), 0, 1)
            sides.append((rng.random((count, docs)) < chance).astype(float))
        found = duel(sides[0].mean(axis=0), sides[1].mean(axis=0), seed=1)
        a, b = (side.mean(axis=1).tolist() for side in sides)
        spread = training_spread(a, b, (answer_noise(sides[0]), answer_noise(sides[1])))
        if found.interval is not None and spread is not None:
            low, high = widened(found.difference.value, found.interval, spread)
            hits += low <= true_gain() <= high
            widths.append(high - low)
    cell = f"{trainings[0]} and {trainings[1]} trainings, {docs} docs"
    row = Row("deltas of recipes", cell, "interval holds", len(widths), hits / len(widths), 0.94, 0.99, False)
    return [row]


def jobs(runs: int, seed: int) -> list[Callable[[], list[Row]]]:
    """One for each cell."""
    found: list[Callable[[], list[Row]]] = [
        partial(passes, problems, n, k, runs, seed)
        for problems in (40, 164, 500)
        for n, k in ((1, 1), (10, 1), (20, 10))
    ]
    return [*found, *(partial(recipes, trainings, 250, runs, seed) for trainings in ((2, 2), (3, 3), (5, 3)))]

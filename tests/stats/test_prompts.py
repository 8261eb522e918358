"""K prompts of one task: the mean, and the best as what it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchbench.stats.influence import mean
from benchbench.stats.intervals import standard_error
from benchbench.stats.prompts import over_prompts


def noise(prompts: int, items: int, seed: int) -> np.ndarray:
    """Prompts that are all as good as each other: 0.5."""
    return (np.random.default_rng(seed).random((prompts, items)) < 0.5).astype(float)


def test_a_worked_example() -> None:
    found = over_prompts([[1, 1, 0, 1, 1, 0], [0, 1, 0, 1, 0, 0], [1, 1, 1, 1, 0, 0]], seed=1)
    assert found.values == pytest.approx((4 / 6, 2 / 6, 4 / 6))
    assert found.mean == pytest.approx(10 / 18)
    assert found.deviation == pytest.approx(math.sqrt(2 * (1 / 9) ** 2 + (2 / 9) ** 2) / math.sqrt(2))
    assert found.best == 0, "the first of those that share the best mean"


def test_the_spread_of_benczechmark_follows_from_the_values() -> None:
    values = np.array([50.0, 52, 54, 55, 60])
    found = over_prompts(np.repeat(values[:, None], 4, axis=1), seed=1)
    assert sum((v - max(found.values)) ** 2 for v in found.values) / 4 == 56.25
    assert found.deviation**2 == pytest.approx(14.2 * 1.0, abs=0.05)


def test_of_prompts_that_are_equally_good_the_best_is_too_high_and_the_held_out_score_is_not() -> None:
    worlds = [over_prompts(noise(5, 100, seed), seed=seed) for seed in range(60)]
    best = float(np.mean([max(w.values) for w in worlds]))
    held_out = float(np.mean([w.held_out for w in worlds]))
    average = float(np.mean([w.mean for w in worlds]))
    assert best == pytest.approx(0.5 + 1.163 * 0.05, abs=0.015), "1.163 standard errors, the maximum of five"
    assert held_out == pytest.approx(0.5, abs=0.015)
    assert average == pytest.approx(0.5, abs=0.01)


def test_a_prompt_that_is_truly_better_keeps_its_score() -> None:
    table = noise(3, 400, 3)
    table[1] = np.maximum(table[1], noise(1, 400, 4)[0])
    found = over_prompts(table, seed=1)
    assert found.best == 1
    assert found.held_out == pytest.approx(found.values[1])


def test_lower_is_better_chooses_the_lowest() -> None:
    found = over_prompts([[3.0] * 8, [1.0] * 8, [2.0] * 8], higher_is_better=False, seed=1)
    assert (found.best, found.held_out) == (1, 1.0)


def test_the_error_of_the_mean_has_items_and_prompts_in_it() -> None:
    rng = np.random.default_rng(2)
    items, prompts = rng.normal(size=200), rng.normal(scale=0.5, size=6)
    found = over_prompts(prompts[:, None] + items, seed=1)
    by_item = standard_error(mean(items).influence)
    assert by_item is not None
    assert found.mean_stderr == pytest.approx(math.hypot(by_item, prompts.std(ddof=1) / math.sqrt(6)), rel=1e-6)


def test_clusters_are_never_divided() -> None:
    """Prompt k is right on cluster k alone: a divided cluster would choose its own prompt, and score above chance."""
    table = np.kron(np.eye(6), np.ones(10))
    names = [f"passage {i // 10}" for i in range(60)]
    assert over_prompts(table, names, seed=1).held_out == 0.0
    assert (over_prompts(table, seed=1).held_out or 0) > 0.05
    assert over_prompts(table, [i % 3 for i in range(60)], seed=1).held_out is None


def test_one_prompt_or_one_item_is_no_table() -> None:
    with pytest.raises(ValueError, match="two prompts or more"):
        over_prompts([[1.0, 0.0]], seed=1)

"""What is said of curves of every kind and length, figure by figure and word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchbench.stats.influence import ratio
from benchbench.stats.sentence import Verdict
from benchbench.stats.series import (
    Series,
    above_chance,
    log_steps,
    mann_kendall,
    series_of_estimates,
    series_of_items,
    series_of_scores,
    series_of_tasks,
    signal_to_noise,
    task_signal,
)
from benchbench.stats.sweep import series_verdict, sweep_verdict
from benchbench.stats.testing import Family
from tests.frozen import stands

FILE = Path(__file__).with_name("curves.json")
ITEMS = 80
EASE = np.random.default_rng(5).normal(size=ITEMS)
GROUPS = [f"p{i // 3}" for i in range(ITEMS)]
SHAPES: dict[str, list[float]] = {
    "flat": [0.5] * 12,
    "rising": [0.2 + 0.05 * t for t in range(12)],
    "rising, then flat": [min(0.75, 0.2 + 0.14 * t) for t in range(12)],
    "falling": [0.9 - 0.06 * t for t in range(12)],
    "a jump": [0.25] * 5 + [0.8] * 7,
    "a drop": [0.7, 0.75, 0.8, 0.8, 0.3, 0.35, 0.6, 0.7, 0.8, 0.8, 0.2, 0.2],
    "noisy": [0.5 + 0.12 * (-1) ** t for t in range(12)],
    "nothing right": [0.0] * 12,
}
LENGTHS = (2, 3, 4, 5, 7, 8, 12)


def items(shape: str, count: int, seed: int = 1) -> list[np.ndarray]:
    """Right and wrong of the last `count` checkpoints of a curve."""
    rng = np.random.default_rng(seed)
    rows = []
    for share in SHAPES[shape][-count:]:
        order = EASE + 0.5 * rng.normal(size=ITEMS)
        rows.append((order < np.quantile(order, share)).astype(float) if share else np.zeros(ITEMS))
    return rows


def steps(count: int) -> list[int]:
    return [1000 * (t + 1) for t in range(count)]


def told(verdict: Verdict) -> list[Any]:
    """All figures of a verdict."""
    found = verdict.findings
    said = [
        verdict.outcome,
        verdict.short,
        verdict.sentence("task", "acc"),
        verdict.start,
        verdict.looks,
        verdict.reason,
    ]
    if found is None:
        return [*said, verdict.signal]
    claims = [[c.kind, c.start, c.p, c.gain.value, c.gain.stderr] for c in (found.lately, found.ever, found.fall)]
    tests = [[t.start, t.end, t.p, t.gain.value] for t in (*found.sequence, *found.drops)]
    noise = [found.noise.tau, found.noise.upper, found.noise.is_seen, found.noise.checkpoints]
    gains = [found.gain.value, found.gain.stderr, found.gain.interval(), found.gain.upper(), found.recent.interval()]
    return [*said, found.since, found.lowest, gains, found.detectable, claims, tests, noise, verdict.signal]


@pytest.mark.parametrize("shape", SHAPES)
def test_verdicts_stand(shape: str) -> None:
    found = {
        str(count): told(sweep_verdict(steps(count), items(shape, count), chance=0.25, delta=0.03)) for count in LENGTHS
    }
    stands(FILE, f"verdicts of {shape}", found)


def many(shape: str, **more: Any) -> Series:
    return series_of_items(steps(8), items(shape, 8), **more)


LOSSES = [2.5 + 0.3 * EASE - 0.1 * t + 0.02 * np.random.default_rng(t).normal(size=ITEMS) for t in range(8)]
WORDS = np.random.default_rng(3).integers(3, 30, ITEMS).astype(float)
UNEVEN = (0, 10, 20, 400, 800, 820, 900, 1000)
OTHER = {
    "in clusters": lambda: series_verdict(many("rising", clusters=GROUPS), chance=0.25, delta=0.01),
    "lower is better": lambda: series_verdict(
        series_of_items(steps(8), LOSSES, higher_is_better=False), delta=0.01, higher_is_better=False
    ),
    "lower is better, and worse": lambda: series_verdict(
        series_of_items(steps(8), LOSSES[::-1], higher_is_better=False), delta=0.01, higher_is_better=False
    ),
    "a ratio": lambda: series_verdict(
        series_of_estimates(steps(8), [ratio(x * WORDS, WORDS) for x in LOSSES], GROUPS, higher_is_better=False),
        delta=0.01,
        higher_is_better=False,
        since=3000,
    ),
    "one look at three tasks": lambda: series_verdict(many("rising"), delta=0.01, family=Family(looks=1, tasks=3)),
    "three looks, a small share": lambda: series_verdict(
        many("a jump"), delta=0.01, family=Family(looks=3, tasks=4, share=0.1)
    ),
    "since the first step": lambda: series_verdict(many("rising"), delta=0.5, since=1000),
    "since before the first step": lambda: series_verdict(many("flat"), delta=0.5, since=1),
    "a wide margin": lambda: series_verdict(many("rising, then flat"), delta=0.4, chance=0.9),
    "without pairs": lambda: series_verdict(many("rising", paired=False), delta=0.01, chance=0.9),
    "published scores": lambda: series_verdict(
        series_of_scores(steps(8), [0.3, 0.35, 0.42, 0.45, 0.5, 0.55, 0.57, 0.6], [0.02] * 8, 500), delta=0.005
    ),
    "published losses": lambda: series_verdict(
        series_of_scores(steps(4), [30.0, 20.0, 15.0, 12.0], [0.5] * 4, 500, higher_is_better=False),
        delta=0.1,
        higher_is_better=False,
    ),
    "steps from 0": lambda: series_verdict(series_of_items(UNEVEN, items("rising", 8)), delta=0.01),
    "nine docs": lambda: sweep_verdict(steps(3), [row[:9] for row in items("rising", 3)], delta=0.01),
    "ten docs": lambda: sweep_verdict(steps(3), [row[:10] for row in items("rising", 3)], delta=0.01, chance=0.5),
    "nine clusters": lambda: sweep_verdict(
        steps(3), items("rising", 3), clusters=[f"g{i % 9}" for i in range(ITEMS)], delta=0.01
    ),
    "one checkpoint": lambda: sweep_verdict([7], items("rising", 1), chance=0.9, delta=0.01),
    "docs that failed": lambda: sweep_verdict(
        steps(5), [np.where(np.arange(ITEMS) == 9 * t, np.nan, x) for t, x in enumerate(items("rising", 5))], delta=0.01
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_verdicts_stand(name: str) -> None:
    stands(FILE, name, told(OTHER[name]()))


def shares(found: Series) -> list[Any]:
    return [found.values, found.covariance[-2:], found.degrees, found.n, found.n_clusters, found.scale, found.paired]


SERIES = {
    "of items": lambda: many("rising"),
    "of items in clusters": lambda: many("rising", clusters=GROUPS),
    "of losses": lambda: series_of_items(steps(8), LOSSES),
    "of losses with a range": lambda: series_of_items(steps(8), LOSSES, scale=5.0, higher_is_better=False),
    "of nothing": lambda: series_of_items(steps(3), np.zeros((3, 20))),
    "of one doc": lambda: series_of_items(steps(2), [[1.0], [0.0]]),
    "of other docs": lambda: series_of_items(steps(2), [LOSSES[0], np.append(LOSSES[1][:30], np.nan)], paired=False),
    "of scores": lambda: series_of_scores(steps(3), [0.2, 0.3, 0.5], [0.01, 0.02, 0.03], 40),
    "of large scores": lambda: series_of_scores(steps(3), [2.0, 3.0, 5.0], [0.1, 0.2, 0.3], 40, scale=10.0),
    "of tasks": lambda: series_of_tasks([many("rising"), many("flat", clusters=GROUPS)]),
    "of tasks by size": lambda: series_of_tasks(
        [many("rising"), many("a jump")], [3.0, 1.0], ranges=[(0.25, 1.0), (0.5, 0.9)]
    ),
    "of tasks that share docs": lambda: series_of_tasks(
        [many("rising", clusters=GROUPS), many("flat", clusters=GROUPS), many("noisy")], [1.0, 2.0, 3.0]
    ),
}


@pytest.mark.parametrize("name", SERIES)
def test_series_stand(name: str) -> None:
    stands(FILE, f"series {name}", shares(SERIES[name]()))


def test_figures_of_a_curve_stand() -> None:
    scores = [0.3, 0.35, 0.32, 0.4, 0.4, 0.47]
    found = {
        "trends": [mann_kendall(x) for x in (scores, scores[::-1], [1.0] * 5, [0.1, 0.3, 0.2, 0.5, 0.4])],
        "signal": [
            signal_to_noise(scores, scores[-3:]),
            signal_to_noise([-1, 1], [1, 2]),
            signal_to_noise(scores, [1, 1]),
        ],
        "signals": [task_signal(many(s), 0.25) for s in ("rising", "flat", "noisy", "nothing right")],
        "short": [task_signal(series_of_items(steps(n), items("rising", n)), 0.25) for n in (1, 2, 3, 4, 5)],
        "chance": [
            above_chance(many("rising"), 0.7),
            above_chance(many("nothing right"), 0.2),
            above_chance(many("rising", clusters=GROUPS), 0.7),
            above_chance(series_of_items(steps(8), LOSSES, higher_is_better=False), 2.0, higher_is_better=False),
        ],
        "logs": [log_steps(x) for x in ([1, 10, 100], [0, 9, 99])],
    }
    stands(FILE, "figures", found)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (lambda: series_of_items([1, 1], np.zeros((2, 3))), "increase strictly"),
        (lambda: series_of_items([2, 1], np.zeros((2, 3))), "increase strictly"),
        (lambda: series_of_items([1], np.zeros((2, 3))), "1 steps for 2 checkpoints"),
        (lambda: series_of_items([], []), "0 steps|need at least one array"),
        (lambda: series_of_items([1, 2], [[1.0, 0.0], [1.0]]), "same items at every checkpoint"),
        (lambda: series_of_items([1, 2], np.zeros((2, 3, 1))), "same items at every checkpoint"),
        (lambda: series_of_items([1, 2], [[np.nan, 0.0], [1.0, np.nan]]), "no item has a score at every"),
        (lambda: series_of_items([1, 2], [[np.nan], [1.0]], paired=False), "no scored item"),
        (lambda: series_of_tasks([]), "at least one task"),
        (lambda: series_of_tasks([many("flat"), series_of_scores(steps(2), [1, 2], [1, 1], 9)]), "same checkpoints"),
        (lambda: series_of_scores([2, 1], [1, 2], [1, 1], 9), "increase strictly"),
        (lambda: series_verdict(many("flat"), delta=0.0), "must be positive"),
    ],
)
def test_curves_that_make_no_sense_are_refused(what: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        what()

"""Docs asked until a question is answered: false answers however often one looks, and how many docs are spared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchbench.stats.sequential import Question, blocks, decide
from benchbench.stats.testing import detectable_pairs
from tests.simulate.table import Row
from tests.simulate.worlds import Floats


@dataclass(frozen=True)
class Pairs:
    """Two models on the same docs: right or wrong, differing on a share of them."""

    n: int
    differing: float
    gain: float = 0.0
    """True difference."""

    def __str__(self) -> str:
        return f"n={self.n}, {self.differing:.0%} of docs differ, gain {100 * self.gain:.1f} pp"

    def draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Scores of both."""
        kind = rng.choice(3, self.n, p=[self._lost, self._won, 1 - self._lost - self._won])
        both = (rng.random(self.n) < 0.5).astype(float)
        return np.where(kind == 2, both, kind == 0).astype(float), np.where(kind == 2, both, kind == 1).astype(float)

    @property
    def _won(self) -> float:
        return (self.differing + self.gain) / 2

    @property
    def _lost(self) -> float:
        return (self.differing - self.gain) / 2


def abused(world: Pairs, runs: int, seed: int) -> list[Row]:
    """Two equal models, looked at after every doc until one is called better, or all docs are asked."""
    looks = range(1, world.n + 1)
    said = [
        decide(*world.draw(np.random.default_rng(seed + i)), total=world.n, looks=looks).answer for i in range(runs)
    ]
    rate = sum(answer != "undecided" for answer in said) / runs
    return [Row("looked at after every doc", str(world), "one called better", runs, rate, 0.0, 0.05)]


def false_within(world: Pairs, runs: int, seed: int) -> list[Row]:
    """Two models that differ by the margin, looked at after every doc until they are called close."""
    rate = 0.0
    for i in range(runs):
        a, b = world.draw(np.random.default_rng(seed + i))
        rate += (
            decide(a, b, total=world.n, looks=range(1, world.n + 1), question=Question(world.gain)).answer == "within"
        )
    return [Row("looked at after every doc", str(world), "called closer than that", runs, rate / runs, 0.0, 0.05)]


def spared(n: int, differing: float, times: float, runs: int, seed: int) -> list[Row]:
    """Docs asked as a share of the fixed design's, where the difference is so many times the least detectable."""
    least = detectable_pairs(round(n * differing), n) or 1.0
    world = Pairs(n, max(differing, times * least), times * least)
    asked, found, fixed = [], 0, 0
    for i in range(runs):
        a, b = world.draw(np.random.default_rng(seed + i))
        one = decide(a, b, total=n, looks=blocks(n))
        asked.append(one.docs / n)
        found += one.answer == "better"
        fixed += decide(a, b, total=n, looks=[n], question=Question(error=0.05 / 0.8)).answer == "better"
    most = 0.5 if times >= 3 else 1.0
    cell = f"n={n}, {differing:.0%} differ, {times:g} times the least detectable"
    return [
        Row("docs asked", cell, "share of the fixed design's", 0, float(np.mean(asked)), 0.0, most),
        Row("docs asked", cell, "found (all docs at once)", runs, found / runs, max(0.0, fixed / runs - 0.05), 1.0),
    ]


def jobs(runs: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table."""
    for n in (100, 500, 2000):
        for differing in (0.05, 0.2, 0.5):
            yield partial(abused, Pairs(n, differing), runs, seed)
    for n, gain in ((500, 0.05), (2000, 0.02)):
        yield partial(false_within, Pairs(n, 0.2, gain), runs, seed)
    for n in (500, 2000, 10_000):
        for times in (0.0, 1.0, 2.0, 3.0):
            yield partial(spared, n, 0.2, times, max(20, runs // 4), seed)

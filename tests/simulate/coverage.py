"""How often the interval of one score holds its true value: cells of known truth, a row of the table for each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.stats.intervals import Interval
from tests.simulate.table import Row

LEAST, MOST = 0.93, 0.98
"""What a 95 % interval is to hold in every cell."""
BATCH = 200
"""Runs before a cell is looked at again."""


@dataclass(frozen=True)
class Cell:
    """A world, and what the product says of one sample of it."""

    name: str
    """What is measured."""
    label: str
    """The cell's settings."""
    truth: float
    draw: Callable[[np.random.Generator], tuple[Interval | None, float]] | None
    """A sample's interval, and its outcome: the value, or what orders outcomes that are discrete."""
    exact: Callable[[], tuple[float, float, bool]] | None = None
    """Instead: coverage, mean width, and whether a set of neighbouring outcomes has a probability in range."""
    cost: int = 1
    """A sample takes so many times as long as others: there are fewer of them."""

    def row(self, most: int, seed: Sequence[int]) -> Row:
        """Draw until the coverage is clear, or `most` times (fewer where a sample is slow)."""
        most = max(BATCH, most // self.cost)
        if self.exact is not None:
            held, width, exists = self.exact()
            return self._row(0, held, width, 0.0, not exists)
        rng, shown, outcomes = np.random.default_rng(seed), list[Interval](), list[float]()
        while len(outcomes) < most:
            for _ in range(min(BATCH, most - len(outcomes))):
                assert self.draw is not None
                interval, outcome = self.draw(rng)
                outcomes.append(outcome)
                shown += [] if interval is None else [interval]
            if len(shown) >= 2 * BATCH and self._of(shown, outcomes).is_clear:
                break
        return self._of(shown, outcomes)

    def _of(self, shown: Sequence[Interval], outcomes: Sequence[float]) -> Row:
        assert all(one.low < one.high for one in shown), f"no width: {self.name}, {self.label}"
        held = float(np.mean([one.low <= self.truth <= one.high for one in shown])) if shown else math.nan
        width = float(np.mean([one.high - one.low for one in shown])) if shown else math.nan
        return self._row(len(shown), held, width, 1 - len(shown) / len(outcomes), not in_range(outcomes))

    def _row(self, runs: int, held: float, width: float, refused: float, is_discrete: bool) -> Row:
        return Row(self.name, self.label, "coverage", runs, held, LEAST, MOST, is_discrete, width, refused)


def in_range(outcomes: Sequence[float]) -> bool:
    """Has any set of neighbouring outcomes a probability between 93 and 98 %?"""
    _, counts = np.unique(np.round(outcomes, 9), return_counts=True)
    return probability_in_range(counts / counts.sum())


def probability_in_range(probabilities: np.ndarray) -> bool:
    """The same of the outcomes' probabilities, in order."""
    total = np.concatenate([[0.0], np.cumsum(probabilities)])
    ends = np.searchsorted(total, total + LEAST - 1e-12)
    starts = np.flatnonzero(ends < total.size)
    return bool((total[ends[starts]] - total[starts] <= MOST + 1e-12).any())

"""Trainings forecast from others: how often the prediction interval holds the score that comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchbench.stats.forecast import Course, forecast
from tests.simulate.table import Row

PLACES = np.arange(1, 21) * 1000.0


@dataclass(frozen=True)
class Family:
    """Trainings whose ends and speeds differ, measured with noise."""

    bank: int
    noise: float
    spread: float = 0.06

    def __str__(self) -> str:
        return f"{self.bank} other trainings, noise {100 * self.noise:g} pp"

    def draw(self, count: int, rng: np.random.Generator) -> list[Course]:
        """That many trainings."""
        found = []
        for k in range(count):
            end, speed = 0.6 + self.spread * rng.standard_normal(), np.exp(0.3 * rng.standard_normal())
            curve = end - 0.3 * (1 + speed * PLACES / 3000) ** -0.7
            found.append(Course(str(k), PLACES, np.asarray(curve + self.noise * rng.standard_normal(len(PLACES)))))
        return found


def _held(family: Family, share: float, seed: int) -> tuple[bool, bool]:
    rng = np.random.default_rng(seed)
    own, *bank = family.draw(family.bank + 1, rng)
    found = forecast(own.until(share * PLACES[-1]), bank, PLACES[-1])
    off = abs(found.value - own.values[-1])
    return off <= found.half_80, off <= found.half_90


def coverage(family: Family, share: float, runs: int, seed: int) -> list[Row]:
    """80 and 90 % intervals, refused forecasts among them."""
    held = np.array([_held(family, share, seed + i) for i in range(runs)]).mean(axis=0)
    cell = f"{family}, {share:.0%} seen"
    return [
        Row("forecast", cell, f"{level:.0%} interval holds it", runs, float(rate), level - 0.05, level + 0.05)
        for level, rate in zip((0.8, 0.9), held, strict=True)
    ]


def jobs(runs: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table."""
    for bank in (8, 15, 40):
        for noise in (0.002, 0.01, 0.02):
            for share in (0.3, 0.5):
                yield partial(coverage, Family(bank, noise), share, runs, seed)

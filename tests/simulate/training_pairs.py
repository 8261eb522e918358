"""Two trainings on the same docs: how often one is falsely called better, and whether what is saved is covered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchbench.stats.curve_pair import CurvePair, last_difference, saved
from benchbench.stats.series import series_of_items
from benchbench.stats.testing import ALPHA
from tests.simulate.sweeps import Flat, draw, noise_of
from tests.simulate.table import Row
from tests.simulate.worlds import Floats

LIMIT = 0.05
COVERED = 0.95


@dataclass(frozen=True)
class Two:
    """Two trainings of the same curve, or of curves of which b is `ahead` times as fast."""

    checkpoints: int
    n: int
    tau: float = 0.0
    rho: float = 0.0
    ahead: float = 1.0
    rise: float = 0.25
    other_steps: bool = False
    """b has checkpoints at other steps, and two thirds as many."""

    def __str__(self) -> str:
        more = ", b at other steps" if self.other_steps else ""
        return f"{self.checkpoints} checkpoints, n={self.n}, noise {100 * self.tau:g} pp, correlated {self.rho:g}{more}"

    @property
    def steps(self) -> tuple[list[int], list[int]]:
        """Of both."""
        a = [1000 * (k + 1) for k in range(self.checkpoints)]
        count = max(2, 2 * self.checkpoints // 3)
        b = np.linspace(1000, 1000 * self.checkpoints, count).round().astype(int).tolist()
        return a, (b if self.other_steps else a)

    def truth(self, step: Floats) -> Floats:
        """Accuracy of a; b at `step` has that of a at `ahead · step`."""
        return np.asarray(0.3 + self.rise * (1 - (1 + 8 * step / (1000 * self.checkpoints)) ** -0.6))


def pair_of(world: Two, seed: int) -> CurvePair:
    """Both trainings, drawn."""
    rng = np.random.default_rng(seed)
    a, b = world.steps
    curves = [
        world.truth(np.asarray(steps, dtype=float) * ahead)
        + noise_of(Flat(world.n, world.tau, world.rho, len(steps)), rng)
        for steps, ahead in ((a, 1.0), (b, world.ahead))
    ]
    items = draw(np.concatenate(curves), world.n, rng)
    return CurvePair(series_of_items(range(len(items)), items), tuple(a), tuple(b))


def false_better(world: Two, runs: int, seed: int) -> list[Row]:
    """Equal trainings of which one is called better; near the limit four times as many runs."""
    found: list[bool] = []
    while len(found) < 4 * runs and (len(found) < runs or sum(found) >= 0.02 * len(found)):
        start = seed + len(found)
        found += [last_difference(pair_of(world, start + i)).p < ALPHA for i in range(runs)]
    rate = sum(found) / len(found)
    return [Row("equal trainings", str(world), "one called better", len(found), rate, 0.0, LIMIT)]


def saved_training(world: Two, runs: int, seed: int) -> list[Row]:
    """Whether the interval holds the share at which b truly reaches a's last score, and how often it is closed."""
    truth = 1 / world.ahead
    held = closed = 0
    widths = []
    for i in range(runs):
        found = saved(pair_of(world, seed + i))
        if found.faster == "a":  # then the interval is of where a reaches b's end
            low, high, true = found.low, found.high, world.ahead
            true = math.inf if true > 1 else true
        else:
            low, high, true = found.low, found.high, truth
        held += (low is None or low <= true) and (high is None or true <= high)
        if low is not None and high is not None:
            closed += 1
            widths.append(high - low)
    cell = f"{world}, {truth:.0%} needed"
    width = float(np.mean(widths)) if widths else None
    return [
        Row("training saved", cell, "interval holds it", runs, held / runs, COVERED, 1.0, width=width),
        Row("training saved", cell, "interval has two ends", runs, closed / runs),
    ]


EQUAL = (
    *(Two(k, n) for k in (2, 3, 5, 10, 20, 40) for n in (1000,)),
    *(
        Two(k, n, tau, rho)
        for k in (2, 3, 5, 10, 40)
        for tau in (0.005, 0.02)
        for n, rho in ((1000, 0.7), (10_000, 0.0))
    ),
    *(Two(k, 10_000, 0.02, 0.7) for k in (2, 4, 8, 20)),
    *(Two(k, 2000, 0.01, 0.35, other_steps=True) for k in (5, 20)),
)
SAVED = (
    *(Two(k, n, ahead=ahead) for k in (5, 10, 30) for n in (1000, 10_000) for ahead in (1.25, 2.0)),
    *(Two(k, 10_000, tau, rho, 1.6) for k in (3, 10, 30) for tau, rho in ((0.005, 0.0), (0.01, 0.7))),
    Two(20, 10_000, 0.005, 0.35, 1.6, other_steps=True),
    Two(12, 10_000, 0.02, 0.0, 2.5),
)


def jobs(runs: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table."""
    for world in EQUAL:
        yield partial(false_better, world, runs, seed)
    for world in SAVED:
        yield partial(saved_training, world, runs, seed)

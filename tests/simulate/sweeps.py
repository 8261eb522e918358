"""How often verdicts on a training are false or missed, read after every checkpoint, where the truth is known.

Docs are right or wrong by a latent trait of which four fifths are shared by all checkpoints, so that two checkpoints of
accuracy .5 differ on about a fifth of them. Noise moves a checkpoint's true accuracy; neighbours may move together.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchbench.stats.noise import checkpoint_noise
from benchbench.stats.series import Series, series_of_items
from benchbench.stats.sweep import fall, last_part, rise_ever, rise_lately, sweep_verdict
from benchbench.stats.testing import ALPHA, Family
from tests.simulate.table import Row
from tests.simulate.worlds import CARD_N, CARD_STEPS, Floats, card

LIMIT = 0.065
FALSE = "a gain or loss claimed"
SHARED = 0.8
MOST_ALIKE = 0.2
SHOWN = (4, 8, 12, 20, 40)
"""Numbers of checkpoints of which a line is printed."""


@dataclass(frozen=True)
class Flat:
    """A training that learns nothing."""

    n: int
    tau: float = 0.0
    """Standard deviation of a checkpoint's true accuracy."""
    rho: float = 0.0
    """Correlation of neighbouring checkpoints' noise."""
    checkpoints: int = 40
    doubling: bool = False
    """Steps double from checkpoint to checkpoint, else they are evenly spaced."""

    @property
    def steps(self) -> list[int]:
        """Of the checkpoints."""
        return [1000 * (2**k if self.doubling else k + 1) for k in range(self.checkpoints)]

    def __str__(self) -> str:
        spacing = ", doubling steps" if self.doubling else ""
        return f"n={self.n}, noise {100 * self.tau:g} pp, correlated {self.rho:g}{spacing}"


FLAT = (
    *(Flat(n) for n in (200, 1000, 10_000)),
    *(Flat(n, tau, rho) for tau in (0.005, 0.01, 0.02) for n, rho in ((1000, 0.0), (1000, 0.7), (10_000, 0.35))),
    Flat(10_000, 0.02, 0.0),
    Flat(10_000, 0.02, 0.7),
    Flat(500, 0.02, 0.35),
    Flat(200, 0.02, 0.35),
    Flat(2000, 0.02, 0.7, 12, doubling=True),
)


def draw(accuracy: Sequence[float] | Floats, n: int, rng: np.random.Generator) -> list[Floats]:
    """Right and wrong of each checkpoint on the same docs."""
    from scipy.special import ndtri

    cut = ndtri(np.clip(np.asarray(accuracy, dtype=np.float64), 1e-4, 1 - 1e-4))
    own = math.sqrt(SHARED) * rng.standard_normal(n)
    return [(own + math.sqrt(1 - SHARED) * rng.standard_normal(n) < c).astype(np.float64) for c in cut]


def noise_of(world: Flat, rng: np.random.Generator) -> Floats:
    """What is added to the accuracy of each checkpoint: an autoregression of order 1."""
    found = rng.standard_normal(world.checkpoints)
    for k in range(1, world.checkpoints):
        found[k] = world.rho * found[k - 1] + math.sqrt(1 - world.rho**2) * found[k]
    return np.asarray(world.tau * found)


def first_false_look(world: Flat, family: Family, seed: int) -> int:
    """Number of checkpoints at the first look that claims a gain or a loss; 0 if none does."""
    rng = np.random.default_rng(seed)
    series = series_of_items(world.steps, draw(0.5 + noise_of(world, rng), world.n, rng))
    return next((k for k in range(2, world.checkpoints + 1) if is_claimed(at_look(series, k), family)), 0)


def at_look(series: Series, checkpoints: int) -> Series:
    """The series as it was when there were so many checkpoints."""
    return replace(
        series,
        steps=series.steps[:checkpoints],
        values=series.values[:checkpoints],
        covariance=series.covariance[:checkpoints, :checkpoints],
    )


def is_claimed(series: Series, family: Family) -> bool:
    """The verdict on these checkpoints says that something rose or fell."""
    noise = checkpoint_noise(series)
    lately = rise_lately(series, noise, family, last_part(series))
    return min(rise_ever(series, noise, family, lately).p, fall(series, noise, family).p) < ALPHA


def _false_sweep(tasks: int, world: Flat, seed: int) -> int:
    """1 if any of many flat tasks, with noise of their own, is claimed to have risen or fallen at any look."""
    family = Family(tasks=tasks)
    return int(any(first_false_look(world, family, 1000 * seed + task) for task in range(tasks)))


def flat_runs(world: Flat, runs: int, seed: int) -> list[Row]:
    """False claims at any look. A world that comes near the limit gets four times as many runs."""
    found: list[int] = []
    while len(found) < 4 * runs and (len(found) < runs or sum(map(bool, found)) >= 0.02 * len(found)):
        found += [first_false_look(world, Family(), seed + len(found) + i) for i in range(runs)]
    rows = []
    for count in (shown for shown in SHOWN if shown <= world.checkpoints):
        rate = sum(0 < first <= count for first in found) / len(found)
        rows.append(Row("flat training", f"{count} checkpoints, {world}", FALSE, len(found), rate, 0.0, LIMIT))
    return rows


def many_tasks(tasks: int, world: Flat, runs: int, seed: int) -> list[Row]:
    """Sweeps of many flat tasks with any false claim at any look."""
    rate = sum(_false_sweep(tasks, world, seed + i) for i in range(runs)) / runs
    cell = f"{tasks} tasks, {world.checkpoints} checkpoints, {world}"
    return [Row("flat training of many tasks", cell, FALSE, runs, rate, 0.0, LIMIT)]


def _outcome(before: int, change: float, n: int, tau: float, seed: int) -> str:
    """Of a flat run whose last checkpoint differs by `change`."""
    rng = np.random.default_rng(seed)
    accuracy = 0.5 + tau * rng.standard_normal(before + 1)
    accuracy[-1] += change
    return sweep_verdict(range(1000, 1000 * before + 1001, 1000), draw(accuracy, n, rng), delta=0.005).outcome


CHANGES = (
    *((before, -0.20, 2000, 0.99) for before in (3, 4, 11, 40)),
    *((before, -0.05, 10_000, 0.95) for before in (11, 20, 40)),
    *((before, 0.05, 2000, 0.90) for before in (11, 20, 40)),
)
"""Checkpoints before, change of the last one, docs, and how often it must be found at least."""


def change_at_the_end(before: int, change: float, n: int, least: float, tau: float, runs: int, seed: int) -> list[Row]:
    """How often a collapse or a jump of the last checkpoint is found; with noise a figure without a promise."""
    wanted = "regressed" if change < 0 else "improving"
    rate = sum(_outcome(before, change, n, tau, seed + i) == wanted for i in range(runs)) / runs
    noise = f", noise {100 * tau:g} pp" if tau else ""
    cell = f"{100 * change:+.0f} pp after {before} checkpoints, n={n}{noise}"
    return [Row("change at the end", cell, f"called {wanted}", runs, rate, 0.0 if tau else least)]


def _card(disagreement: float, seed: int) -> int:
    """X* of the published curve, its docs drawn anew."""
    rng = np.random.default_rng(seed)
    docs = rng.integers(0, CARD_N, CARD_N)
    return sweep_verdict(CARD_STEPS, [row[docs] for row in card(disagreement, rng)], delta=0.005).since


def published_curve(disagreement: float, runs: int, seed: int) -> list[Row]:
    """From where on the published curve is said not to improve.

    "From 100k" must be said most often where checkpoints differ on up to a fifth of the docs; at 30 % it is a figure.
    """
    found = Counter(_card(disagreement, seed + i) for i in range(runs))
    most = max(count for step, count in found.items() if step != 100_000)
    cell = f"{disagreement:.0%} of docs differ, the next most often: {most / runs:.0%}"
    promised = most / runs if disagreement <= MOST_ALIKE else 0.0
    return [Row("published curve", cell, "no gain from 100k on", runs, found[100_000] / runs, promised)]


def _power(steps: Sequence[int], n: int, tau: float, seed: int) -> float | None:
    """The gain that a flat run is said to have been able to show."""
    rng = np.random.default_rng(seed)
    rows = draw(0.45 + tau * rng.standard_normal(len(steps)), n, rng)
    found = sweep_verdict(steps, rows, delta=0.005)
    return found.detectable if found.outcome in ("plateau", "no detectable improvement") else None


def _found(steps: Sequence[int], n: int, tau: float, gain: float, seed: int) -> bool:
    rng = np.random.default_rng(seed)
    shape = np.log(np.array(steps) / steps[0])
    rows = draw(0.45 + gain * shape / shape[-1] + tau * rng.standard_normal(len(steps)), n, rng)
    found = sweep_verdict(steps, rows, delta=0.005).findings
    return found is not None and found.sequence[0].p <= ALPHA


def power(steps: Sequence[int], n: int, tau: float, runs: int, seed: int) -> list[Row]:
    """How often the gain that "could have been shown with 80 % power" is found."""
    said = [figure for i in range(runs) if (figure := _power(steps, n, tau, seed + i))]
    gain = float(np.median(said))
    rate = sum(_found(steps, n, tau, gain, seed + runs + i) for i in range(2 * runs)) / (2 * runs)
    cell = f"{len(steps)} checkpoints, n={n}, noise {100 * tau:g} pp: {100 * gain:.1f} pp"
    return [Row("gain that could have been shown", cell, "found", 2 * runs, rate, 0.72, 0.90)]


def jobs(runs: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table; `runs` per cell, more where a rate comes near its limit."""
    for world in (Flat(1000, 0.0, 0.0, 8), Flat(1000, 0.01, 0.7, 12), Flat(500, 0.02, 0.35, 12)):
        yield partial(many_tasks, 30, world, runs, seed)
    for world in FLAT:
        yield partial(flat_runs, world, runs, seed)
    for change in CHANGES:
        yield from (partial(change_at_the_end, *change, tau, 2 * runs, seed) for tau in (0.0, 0.005))
    for disagreement in (0.1, 0.2, 0.3):
        yield partial(published_curve, disagreement, runs, seed)
    yield partial(power, (1000, 2000), 1000, 0.0, runs, seed)
    yield partial(power, (70_000, 80_000, 90_000, 100_000), 1000, 0.01, runs, seed)
    yield partial(power, tuple(range(1000, 13_000, 1000)), 2000, 0.0, runs, seed)

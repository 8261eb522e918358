"""Quantised twins of a training: how often a growing loss is seen where it is planted, and where it is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from benchbench.stats.series import Series
from benchbench.stats.sweep import series_verdict
from benchbench.stats.testing import Family
from tests.simulate.sweeps import draw
from tests.simulate.table import Row


def differences(losses: tuple[float, float], checkpoints: int, n: int, wobble: float, seed: int) -> Series:
    """Variant less plain: the loss goes from the first to the last of `losses`; rounding moves each by `wobble`."""
    rng = np.random.default_rng(seed)
    plain = np.linspace(0.35, 0.6, checkpoints)
    lower = plain - np.linspace(*losses, checkpoints) + wobble * rng.standard_normal(checkpoints)
    gaps = np.stack([b - a for a, b in (draw(pair, n, rng) for pair in zip(plain, lower, strict=True))])
    pulls = (gaps - gaps.mean(axis=1, keepdims=True)) / np.sqrt(n * (n - 1))
    steps = tuple(1000 * (k + 1) for k in range(checkpoints))
    return Series(steps, gaps.mean(axis=1), pulls @ pulls.T, n - 1, n, None, pulls=pulls)


def called(losses: tuple[float, float], checkpoints: int, n: int, wobble: float, runs: int, seed: int) -> list[Row]:
    """How often "the loss grows" is said."""
    family = Family(looks=1)
    found = [
        series_verdict(differences(losses, checkpoints, n, wobble, seed + i), delta=0.005, family=family).outcome
        for i in range(runs)
    ]
    rate = sum(outcome == "regressed" for outcome in found) / runs
    first, last = (100 * loss for loss in losses)
    cell = f"{checkpoints} checkpoints, n={n}, {first:g} to {last:g} pp, rounding moves {100 * wobble:g} pp"
    limits = (0.0, 0.05) if first == last else (0.8, 1.0)
    return [Row("quantised twins", cell, "the loss is said to grow", runs, rate, *limits)]


def jobs(runs: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table."""
    for checkpoints in (4, 8, 20):
        for n in (1000, 10_000):
            for wobble in (0.0, 0.003):
                yield partial(called, (0.01, 0.01), checkpoints, n, wobble, runs, seed)
    yield partial(called, (0.0, 0.08), 8, 2000, 0.003, runs, seed)
    yield partial(called, (0.0, 0.05), 20, 10_000, 0.003, runs, seed)

"""How often the interval of one score holds its true value: cells of known truth, a row of the table for each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from benchbench.stats.intervals import Interval

LEAST, MOST = 0.93, 0.98
"""What a 95 % interval is to hold in every cell."""
BATCH, ERRORS = 200, 3.0
"""Runs before a cell is looked at again; Monte Carlo errors that a cell must be outside to be broken."""
HARDLY = 0.02
"""A cell in which fewer runs have an interval counts as refused."""


@dataclass(frozen=True)
class Cell:
    """A world, and what the product says of one sample of it."""

    name: str
    """What is measured."""
    label: str
    """The cell's settings."""
    truth: float
    draw: Callable[[np.random.Generator], tuple[Interval | None, float]]
    """A sample's interval, and its outcome: the value, or what orders outcomes that are discrete."""
    exact: Callable[[], tuple[float, float, bool]] | None = None
    """Coverage, mean width, and whether a set of neighbouring outcomes has a probability in range, by counting."""


@dataclass(frozen=True)
class Row:
    """What a cell has shown."""

    name: str
    cell: str
    runs: int
    """0: counted, not simulated."""
    coverage: float
    """Of the runs with an interval."""
    error: float
    """Monte Carlo error of the coverage."""
    width: float
    """Mean width of the intervals."""
    refused: float
    """Share of runs without an interval."""
    verdict: str
    """ok; discrete: more than 98 %, as no set of outcomes has less; refused; BROKEN."""

    def __str__(self) -> str:
        return (
            f"{self.name:28} {self.cell:44} {self.runs:6} {100 * self.coverage:7.2f} ± {100 * self.error:4.2f}"
            f" {self.width:8.4g} {100 * self.refused:6.1f}  {self.verdict}"
        )


HEAD = f"{'score':28} {'cell':44} {'runs':>6} {'coverage, %':>14} {'width':>8} {'refused':>6}  verdict"


def measure(cell: Cell, seed: Sequence[int], most: int) -> Row:
    """Draw until the coverage is clear, or `most` times."""
    if cell.exact is not None:
        coverage, width, exists = cell.exact()
        return Row(cell.name, cell.label, 0, coverage, 0.0, width, 0.0, _verdict(coverage, 0.0, 0.0, not exists))
    rng = np.random.default_rng(seed)
    held = shown = runs = 0
    width, outcomes = 0.0, []
    while runs < most and not (runs >= 2 * BATCH and _clear(held, shown)):
        for _ in range(min(BATCH, most - runs)):
            runs += 1
            interval, outcome = cell.draw(rng)
            outcomes.append(outcome)
            if interval is not None:
                assert interval.low < interval.high, f"no width: {cell.name}, {cell.label}"
                shown, held = shown + 1, held + (interval.low <= cell.truth <= interval.high)
                width += interval.high - interval.low
    share = held / shown if shown else math.nan
    error = math.sqrt(max(share * (1 - share), 1 / shown) / shown) if shown else math.nan
    verdict = _verdict(share, error, 1 - shown / runs, not in_range(outcomes))
    return Row(cell.name, cell.label, runs, share, error, width / max(1, shown), 1 - shown / runs, verdict)


def _clear(held: int, shown: int) -> bool:
    if shown < 2 * BATCH:
        return False
    share = held / shown
    error = math.sqrt(max(share * (1 - share), 1 / shown) / shown)
    return LEAST + 2 * error < share < MOST - 2 * error


def _verdict(coverage: float, error: float, refused: float, discrete: bool) -> str:
    if refused > 1 - HARDLY:
        return "refused"
    if LEAST - ERRORS * error <= coverage <= MOST + ERRORS * error:
        return "ok"
    return "discrete" if coverage > MOST and discrete else "BROKEN"


def in_range(outcomes: Sequence[float]) -> bool:
    """Has any set of neighbouring outcomes a probability between 93 and 98 %?"""
    _, counts = np.unique(np.round(outcomes, 9), return_counts=True)
    return probability_in_range(counts / counts.sum())


def probability_in_range(probabilities: np.ndarray) -> bool:
    """The same of the outcomes' probabilities, in order."""
    total = np.concatenate([[0.0], np.cumsum(probabilities)])
    ends = np.searchsorted(total, total + LEAST - 1e-12)
    inside = ends < total.size
    return bool((total[ends[inside]] - total[:-1][inside[:-1]][: inside.sum()] <= MOST + 1e-12).any())


def every_row(
    cells: Callable[[], Sequence[Cell]], seed: int, most: int, processes: int = 2, only: str = ""
) -> Iterator[Row]:
    """The rows of all cells whose name or settings contain `only`, in order, as they are found."""
    chosen = [i for i, cell in enumerate(cells()) if only in f"{cell.name} {cell.label}"]
    if processes == 1:
        yield from (_row((cells, i, seed, most)) for i in chosen)
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    with get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_row, [(cells, i, seed, most) for i in chosen], chunksize=4)


def _row(job: tuple[Callable[[], Sequence[Cell]], int, int, int]) -> Row:
    cells, place, seed, most = job
    return measure(cells()[place], [seed, place], most)

"""How often duels, means of duels and ranks are wrong where the truth is known, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchbench.stats.duel import Duel
from benchbench.stats.power import ALPHA
from tests.simulate.pairs import Areas, Bits, Classes, Pairs, RightOrWrong, Shaped, Texts, Translations
from tests.simulate.worlds import standard_error

SURE = 3.5
"""Monte Carlo errors by which a rate has to be off before a promise counts as broken."""
BATCH = 250
DISCRETE = 12
"""With at most so many units, or units that differ, few values of p are possible and an interval may cover more."""


@dataclass(frozen=True)
class Row:
    """One rate, and what it may be."""

    name: str
    cell: str
    what: str
    runs: int
    rate: float
    low: float
    """Limits; 0 and 1 where there are none."""
    high: float
    is_discrete: bool = False
    """The upper limit cannot be kept, for want of possible outcomes."""

    @property
    def error(self) -> float:
        """Monte Carlo error of the rate."""
        return standard_error(min(max(self.rate, 1 / self.runs), 1 - 1 / self.runs), self.runs)

    @property
    def verdict(self) -> str:
        """ok, discrete, BROKEN, or nothing where there is no limit."""
        if (self.low, self.high) == (0.0, 1.0):
            return ""
        at = standard_error(self.high, self.runs), standard_error(self.low, self.runs)
        if self.rate > self.high + SURE * at[0]:
            return "discrete" if self.is_discrete else "BROKEN"
        return "BROKEN" if self.rate < self.low - SURE * at[1] else "ok"

    @property
    def is_clear(self) -> bool:
        """More runs would hardly change the verdict."""
        return all(abs(self.rate - limit) > 5 * self.error for limit in (self.low, self.high) if 0 < limit < 1)

    def __str__(self) -> str:
        """A line of the table."""
        limits = {(0.0, 1.0): "", (0.0, self.high): f"≤ {self.high:.1%}"}
        limit = limits.get((self.low, self.high), f"{self.low:.0%} to {self.high:.0%}")
        return (
            f"{self.name:34} {self.cell:36} {self.what:24} {self.runs:6} {self.rate:7.2%} ±{self.error:5.2%} "
            f" {limit:11} {self.verdict}"
        )


@dataclass(frozen=True)
class Cell:
    """A kind of pairs, and what is promised of their duels."""

    pairs: Pairs
    type_one: float = 0.05
    coverage: tuple[float, float] = (0.93, 0.98)
    power: tuple[float, float] | None = (0.77, 0.83)
    """None: shown, not promised."""


def seen(found: Duel, truth: float) -> dict[str, bool]:
    """What is counted of one duel."""
    interval, p = found.interval, found.p
    claimed = p is not None and p < ALPHA
    if interval is None:
        return {"claimed": claimed, "covered": True, "equal": False, "at odds": claimed}
    excludes = interval.low > 0 or interval.high < 0
    holds_shown = interval.low <= found.difference.value <= interval.high
    return {
        "claimed": claimed,
        "covered": interval.low <= truth <= interval.high,
        "equal": found.equivalence_p is not None and found.equivalence_p < ALPHA,
        "at odds": excludes != claimed or not holds_shown,
    }


def rows_of(cell: Cell, most: int, seed: int) -> list[Row]:
    """All rates of a cell: of equal models, and of models as far apart as the docs can show."""
    pairs = cell.pairs
    gap, differing = _gap(pairs, seed)
    few = pairs.units <= DISCRETE or differing <= DISCRETE

    def row(what: str, rate: float, runs: int, limits: tuple[float, float], *, may: bool = False) -> Row:
        return Row(pairs.name, pairs.cell, what, runs, rate, *limits, is_discrete=may and few)

    def equal(runs: int, found: dict[str, float]) -> list[Row]:
        return [
            row("claims of equal models", found["claimed"], runs, (0.0, cell.type_one)),
            row("p and interval at odds", found["at odds"], runs, (0.0, 0.0)),
        ]

    def apart(runs: int, found: dict[str, float]) -> list[Row]:
        enough = pairs.units >= 20 and cell.power is not None and not few
        return [
            row("coverage", found["covered"], runs, cell.coverage, may=True),
            row("called equal at the margin", found["equal"], runs, (0.0, 0.05)),
            row("p and interval at odds", found["at odds"], runs, (0.0, 0.0)),
            row("power at the detectable", found["claimed"], runs, (cell.power or (0, 1)) if enough else (0.0, 1.0)),
        ]

    rng = np.random.default_rng(seed)
    none = _until_clear(partial(_rates, pairs, rng, 0.0), equal, most)
    some = _until_clear(partial(_rates, pairs, rng, gap), apart, most)
    return [*none, *some]


def _gap(pairs: Pairs, seed: int) -> tuple[float, float]:
    """The median detectable difference, and how many units differ on average."""
    found = [fight(1.0) for fight, _ in pairs.draw(np.random.default_rng(seed + 1), 150, 0.0)]
    known = [duel.detectable for duel in found if duel.detectable is not None]
    errors = [duel.difference.error or 0.0 for duel in found]
    gap = float(np.median(known)) if len(known) > len(found) / 2 else 3 * float(np.median(errors))
    differing = [duel.n if duel.flips is None else duel.flips * duel.n for duel in found]
    return gap, float(np.mean(differing))


def _rates(pairs: Pairs, rng: np.random.Generator, gap: float, runs: int) -> list[dict[str, bool]]:
    return [seen(fight(abs(truth) or 1.0), truth) for fight, truth in pairs.draw(rng, runs, gap)]


def _until_clear(draw: partial, rows: object, most: int) -> list[Row]:
    """Batches until all verdicts are clear, or until there are enough."""
    found: list[dict[str, bool]] = []
    made: list[Row] = []
    while len(found) < most:
        found += draw(min(2 * BATCH if not found else BATCH, most - len(found)))
        rates = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
        made = rows(len(found), rates)  # type: ignore[operator]
        if all(row.is_clear for row in made):
            break
    return made

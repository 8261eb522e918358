"""One line of the table of simulations: a rate that was counted, its Monte Carlo error, and what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

SURE = 3.5
"""Monte Carlo errors by which a rate has to miss a limit before a promise counts as broken: about one row in 4,000."""
HARDLY = 0.02
"""Share of runs with an interval, below which a cell counts as refused."""


@dataclass(frozen=True)
class Row:
    """How often something happened in simulated worlds."""

    name: str
    """Kind of worlds."""
    cell: str
    """Their sizes."""
    what: str
    """What was counted."""
    runs: int
    """Those that had something to count; 0 where all outcomes were counted with their probabilities."""
    rate: float
    """Share of the runs."""
    low: float = 0.0
    """What is promised: at least this share,"""
    high: float = 1.0
    """and at most this. 0 and 1 promise nothing."""
    is_discrete: bool = False
    """The upper limit cannot be kept, for want of possible outcomes."""
    width: float | None = None
    """Mean width of intervals."""
    refused: float = 0.0
    """Share of all runs in which the product named no interval, with a reason."""

    @property
    def error(self) -> float:
        """Monte Carlo standard error of the rate, as if one more run had gone each way."""
        if self.runs == 0:
            return 0.0
        return _error((self.rate * self.runs + 1) / (self.runs + 2), self.runs)

    @property
    def verdict(self) -> str:
        """ok, discrete, refused, BROKEN, or nothing where nothing is promised."""
        if (self.low, self.high) == (0.0, 1.0):
            return ""
        if self.refused > 1 - HARDLY:
            return "refused"
        if self.rate > self.high + SURE * max(_error(self.high, self.runs), 1e-9):
            return "discrete" if self.is_discrete else "BROKEN"
        return "BROKEN" if self.rate < self.low - SURE * max(_error(self.low, self.runs), 1e-9) else "ok"

    @property
    def is_clear(self) -> bool:
        """More runs would hardly change the verdict."""
        limits = [limit for limit in (self.low, self.high) if 0 < limit < 1]
        return all(abs(self.rate - limit) > 5 * self.error for limit in limits)

    def __str__(self) -> str:
        """A line of the table."""
        ends = ["" if self.low == 0 else f"≥ {self.low:.1%}", "" if self.high == 1 else f"≤ {self.high:.1%}"]
        limits = f"{self.low:.0%} to {self.high:.0%}" if all(ends) else "".join(ends)
        width = "" if self.width is None else f"{self.width:.3g}"
        refused = f"{self.refused:.0%}" if self.refused else ""
        runs = f"{self.runs:,}" if self.runs else "counted"
        return (
            f"{self.name:34} {self.cell:58} {self.what:24} {runs:>7} {self.rate:7.2%} ±{self.error:5.2%} {limits:>11}"
            f" {width:>8} {refused:>7}  {self.verdict}"
        )


HEAD = (
    f"{'of':34} {'in':58} {'counted':24} {'runs':>7} {'rate':>7} {'error':>6} {'promised':>11} {'width':>8}"
    f" {'refused':>7}  verdict"
)


def _error(share: float, runs: int) -> float:
    return math.sqrt(share * (1 - share) / runs) if runs else 0.0

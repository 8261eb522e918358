"""One line of the table of simulations: a rate that was counted, its Monte Carlo error, and what it may be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

SURE = 3.0
"""Standard errors of the simulation by which a rate must miss its bound before a promise counts as broken."""


@dataclass(frozen=True)
class Row:
    """How often something happened in simulated worlds."""

    part: str
    cell: str
    runs: int
    rate: float
    """Share of the runs."""
    bound: float
    side: Literal["at most", "at least", "figure"]
    """Which side of `bound` is promised; a figure promises nothing."""

    @property
    def error(self) -> float:
        """Monte Carlo standard error of the rate, as if one more run had gone each way."""
        share = (self.rate * self.runs + 1) / (self.runs + 2)
        return math.sqrt(share * (1 - share) / (self.runs + 2))

    @property
    def holds(self) -> bool:
        """Whether the rate misses its bound by no more than the simulation's own error."""
        slack = SURE * self.error
        return {
            "at most": self.rate <= self.bound + slack,
            "at least": self.rate >= self.bound - slack,
            "figure": True,
        }[self.side]

    def line(self) -> str:
        """For the terminal."""
        promised = "" if self.side == "figure" else f"{self.side} {self.bound:6.1%}"
        verdict = "" if self.side == "figure" else "ok" if self.holds else "BROKEN"
        return (
            f"{self.part:10} {self.cell:64} {self.runs:6} {self.rate:7.2%} ±{self.error:.2%}  {promised:16} {verdict}"
        )

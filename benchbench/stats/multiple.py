"""p-values of many tests, adjusted. An adjusted p below α is significant among its family.

numpy only; statsmodels' `multipletests` computes the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats


def holm(p: ArrayLike) -> Floats:
    """Adjusted p-values, shape (tests,): the chance of any false claim stays below α, whatever the dependence.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    raised = np.maximum.accumulate(x[order] * np.arange(x.size, 0, -1))
    return _back(np.minimum(raised, 1.0), order)


def benjamini_hochberg(p: ArrayLike, *, any_dependence: bool = False) -> Floats:
    """Adjusted p-values, shape (tests,): among the claims, the expected share of false ones stays below α.

    `any_dependence` pays Benjamini & Yekutieli's factor Σ 1/k (Annals of Statistics 29, 2001).
    Source: Benjamini & Hochberg, JRSS B 57 (1995).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    ranks = np.arange(1, x.size + 1)
    factor = float((1 / ranks).sum()) if any_dependence else 1.0
    lowered = np.minimum.accumulate((x[order] * factor * x.size / ranks)[::-1])[::-1]
    return _back(np.minimum(lowered, 1.0), order)


def _probabilities(p: ArrayLike) -> Floats:
    x = np.asarray(p, dtype=np.float64)
    if x.ndim != 1 or not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError("p-values are a vector of numbers from 0 to 1")
    return x


def _back(x: Floats, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
    adjusted = np.empty_like(x)
    adjusted[order] = x
    return adjusted


FIRST_LOOK = 2
"""The first look has two checkpoints."""
FULL = 5
"""The share grows up to the look with so many checkpoints."""
STEADY, FALLING = (12, 2), (5, 3)
"""It stays up to so many checkpoints, and falls with this power of their number from then on; the second is for tests
whose looks are nearly the same question again, of which most of the error goes to the first ones."""
ONE_LOOK = 0.5
"""What a single look gets: half, for tests of one look are less cautious than the sum over many (simulated)."""


@dataclass(frozen=True, slots=True)
class Family:
    """What a claim is adjusted for."""

    looks: int | None = None
    """None: a look after every checkpoint; 1: all checkpoints were there before anybody looked."""
    tasks: int = 1
    """How many tasks share the error."""
    share: float | None = None
    """This task's share of it; None: all alike."""

    @property
    def of_task(self) -> float:
        """This task's share of the error."""
        return 1 / self.tasks if self.share is None else self.share

    def level(self, checkpoints: int, *, early: bool = False) -> float:
        """Share of the error that this look at this task may take.

        Args:
            checkpoints: at this look.
            early: of a test whose looks are nearly the same question again.
        """
        return self.of_task * (spent(checkpoints, early=early) if self.looks is None else ONE_LOOK)

    def num_looks(self, checkpoints: int) -> int:
        """How many looks there have been up to this number of checkpoints."""
        return max(1, checkpoints - 1) if self.looks is None else self.looks


@cache
def spent(checkpoints: int, *, early: bool = False) -> float:
    """Share of the error that the look with so many checkpoints gets; the shares of all looks from 2 on sum to 1."""
    return _raw(checkpoints, *(FALLING if early else STEADY)) / _total(*(FALLING if early else STEADY))


def _raw(checkpoints: int, steady: int, power: int) -> float:
    if checkpoints < FIRST_LOOK:
        return 0.0
    return min(1.0, (checkpoints / FULL) ** 3) * min(1.0, (steady / checkpoints) ** power)


@cache
def _total(steady: int, power: int) -> float:
    """Of all looks: those with fewer than 1,000 checkpoints one by one, the others as an integral."""
    first = math.fsum(_raw(k, steady, power) for k in range(FIRST_LOOK, 1000))
    return first + float(steady**power) / ((power - 1) * 999.5 ** (power - 1))

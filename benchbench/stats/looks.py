"""How the chance of a false claim is shared out: over the looks at a training, and over its tasks.

A verdict is made anew after each checkpoint, and a training watched over 20 checkpoints has 20 chances to be called
better or worse by accident. So each look gets a share of the error, and the shares sum to 1 however many looks there
will be (alpha spending: Lan & DeMets, Biometrika 70, 1983). The first looks get little, for so few checkpoints tell
nothing of noise; late ones get less and less, for many checkpoints tell much. A sweep's tasks share the error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

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

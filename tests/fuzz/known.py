"""Inputs that once led to a fault: those that still do, and those that no longer may."""

from __future__ import annotations

from dataclasses import dataclass

from tests.fuzz.kinds import Case


@dataclass(frozen=True, slots=True)
class Known:
    """A fault that is known and not mended yet."""

    kind: str
    fault: str
    """Name of the fault, as the search tells it: such faults are passed over."""
    case: Case
    """The smallest input that leads to it."""
    reason: str
    """Why it is not mended."""


KNOWN: tuple[Known, ...] = ()
"""Each is a strict expected failure: once it is mended, the test fails until the entry goes to MENDED."""

MENDED: tuple[Known, ...] = ()
"""Each once led to the fault named and must not do so again."""

"""Answers compared as mathematics by math-verify, in a process of its own: what is asked, and what may come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Equality = Literal["equal", "different", "unread", "slow", "died"]
EQUALITIES: dict[Equality, str] = {
    "equal": "equal",
    "different": "different",
    "unread": "without an answer that can be read",
    "slow": "not compared in time",
    "died": "too large to compare",
}
"""What a comparison may come to, and how that is told. Only equal answers are right."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A right answer and one to judge, as texts in which math-verify looks for mathematics."""

    gold: str
    answer: str

"""What a judge's answer means: a grade, a winner, or nothing that can be read.

A verdict stands in double brackets, as in FastChat's prompts and in ours. What the judge copies from its prompt is no
verdict: an example, or a grade that the judged answer gives itself. A judge that gives several is not understood.
"""

from __future__ import annotations

import re
from typing import Literal

from benchbench.extensions.judge.options import Scale

Winner = Literal["A", "B", "tie"]
WINNERS: dict[str, Winner] = {"A": "A", "B": "B", "C": "tie"}
_GRADE = re.compile(r"\[\[\s*(-?\d+(?:\.\d+)?)\s*(?:/\s*\d+\s*)?\]\]")
_BARE_GRADE = re.compile(r"\[\s*(-?\d+(?:\.\d+)?)\s*\]")
_WINNER = re.compile(r"\[\[\s*([ABC])\s*\]\]")
CONTEXT = 16
"""Characters before a verdict that, where the prompt has them too, make it a copy."""


def read_grade(text: str, prompt: str, scale: Scale) -> float | None:
    """The one grade on the scale that the judge gives; None if it gives none, several, or one off the scale."""
    for pattern in (_GRADE, _BARE_GRADE):
        found = {float(value) for value in _own(pattern, text, prompt)}
        if found:
            grade = found.pop() if len(found) == 1 else None
            return grade if grade is not None and scale.low <= grade <= scale.high else None
    return None


def read_winner(text: str, prompt: str) -> Winner | None:
    """Which of two answers the judge prefers; None if it does not say, or says several."""
    found = set(_own(_WINNER, text, prompt))
    return WINNERS[found.pop()] if len(found) == 1 else None


def _own(pattern: re.Pattern[str], text: str, prompt: str) -> list[str]:
    """The verdicts that are not copied from the prompt."""
    own = []
    for match in pattern.finditer(text):
        begin = max(0, match.start() - CONTEXT)
        copied = match.start() >= CONTEXT and text[begin : match.end()] in prompt
        if not copied:
            own.append(match[1])
    return own

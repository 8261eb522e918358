"""Of several judgements of each answer: how much of a score's error is the judge's own noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class JudgeNoise(NamedTuple):
    """What repeated judgements tell of the judge."""

    sd: float
    """Of one judgement around the judge's mean on the same answer, in the scale's unit."""
    share: float | None
    """Of the squared standard error of the mean over docs that is the judge's noise, 0 to 1; None for one doc."""
    judged: int
    """Answers with two judgements or more."""


def judge_noise(grades: Sequence[Sequence[float]]) -> JudgeNoise | None:
    """One-way analysis of variance of grades: docs × judgements of the same answer. None without any repetition.

    The standard error of the mean over docs is made of the docs' mean grades, which scatter by the judge's noise too.
    So it holds this noise already, wherever judgements of different docs err independently; `share` says how much of
    it more judgements would take away (Searle, Casella & McCulloch, Variance Components, 1992, chapter 3).

    Args:
        grades: of each doc the grades of one answer.
    """
    several = [one for one in grades if len(one) > 1]
    degrees = sum(len(one) - 1 for one in several)
    if not degrees:
        return None
    within = sum(sum((grade - math.fsum(one) / len(one)) ** 2 for grade in one) for one in several) / degrees
    means = [math.fsum(one) / len(one) for one in grades if one]
    n = len(means)
    if n < 2:
        return JudgeNoise(math.sqrt(within), None, len(several))
    centre = math.fsum(means) / n
    between = sum((mean - centre) ** 2 for mean in means) / (n - 1)
    own = within * math.fsum(1 / len(one) for one in grades if one) / n
    return JudgeNoise(math.sqrt(within), min(1.0, own / between) if between > 0 else None, len(several))

"""Asking docs until a question is answered: paired differences, looked at as often as one likes.

Docs come in random order. Against each claim a bet is held whose stake is worth no more, on average, than at the start
while the claim is true: over a mean m of differences D in [-r, r] it grows by 1 + λ(D - m). By Ville's inequality it
exceeds 1/α in at most a share α of all worlds, at whatever doc one stops. Stakes λ are spread over sizes, so that small
and large differences are found. Source: Waudby-Smith & Ramdas, JRSS B 86 (2024); Ville, "Étude critique de la notion de
collectif" (1939).

A question that is open when all docs are asked is put once more, to the test that asks all docs at once: the two share
the error, a fifth and four fifths. So no question takes more docs than the fixed design, and hardly any is missed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.duel import duel
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval
from benchbench.stats.testing import ALPHA

EARLY = 0.2
"""Share of the error that looks before the end may spend."""
STAKES = 0.9 * 0.6 ** np.arange(12)
"""Sizes of λ, in units of 1/(r + |m|): the largest never loses everything, the smallest finds 1 % of the range."""
FEWEST = 20
"""Fewer docs answer no question."""
MEANS = 201
"""Means between -r and r of which the sequence says whether they are still possible."""

Answer = Literal["better", "worse", "within", "undecided"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the docs so far answer."""

    answer: Answer
    docs: int
    """Asked so far."""
    difference: float
    """Mean of b - a."""
    interval: Interval
    """Holds the true difference at every look together, at the error of looks before the end; at the end that of the
    usual interval."""
    is_final: bool
    """All docs were asked."""

    @property
    def is_open(self) -> bool:
        """More docs may answer it."""
        return self.answer == "undecided" and not self.is_final


@dataclass(frozen=True, slots=True)
class Bets:
    """Logarithms of the stakes after each doc, of mixtures over all λ."""

    above: Floats
    """Shape (docs,): against "the mean is at most m"."""
    below: Floats
    """Shape (docs,): against "the mean is at least m"."""


def bets(differences: ArrayLike, mean: float, *, reach: float = 1.0) -> Bets:
    """Both bets on one mean, after each doc.

    Args:
        differences: shape (docs,), in the order in which they were asked.
        reach: no difference is larger; 1 for scores from 0 to 1.
    """
    gaps = np.asarray(differences, dtype=np.float64) - mean
    stakes = STAKES / (reach + abs(mean))
    up = np.cumsum(np.log1p(stakes[:, None] * gaps[None, :]), axis=1)
    down = np.cumsum(np.log1p(-stakes[:, None] * gaps[None, :]), axis=1)
    return Bets(_mixed(up), _mixed(down))


def _mixed(logs: Floats) -> Floats:
    top = logs.max(axis=0)
    return np.asarray(top + np.log(np.exp(logs - top).mean(axis=0)), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Question:
    """Is b better than a, or worse; or are they close? ValueError if a value makes no sense."""

    within: float | None = None
    """Margin of the question "do they differ by less than that?"; None: it is not asked."""
    error: float = ALPHA
    """Chance of a false answer."""
    reach: float = 1.0
    """No score differs by more."""
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not 0 < self.error < 0.5:
            raise ValueError(f"the chance of a false answer lies between 0 and 0.5, not {self.error}")
        if self.within is not None and not 0 < self.within < self.reach:
            raise ValueError(f"the margin lies between 0 and {self.reach}, not {self.within}")


def decide(
    a: ArrayLike, b: ArrayLike, *, total: int, looks: Sequence[int], question: Question | None = None
) -> Decision:
    """The answer at the first of `looks` that gives one.

    The error holds for looks at every doc; fewer looks only mean more docs.

    Args:
        a, b: scores of the docs asked so far, shape (docs,), in the order in which they were asked, no NaN.
        total: docs that there are.
        looks: numbers of docs after which was looked, increasing, the last that of `a` and `b`.

    Raises:
        ValueError: vectors that do not fit together.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or not 0 < x.size <= total:
        raise ValueError(f"{x.shape} and {y.shape} are no pairs of up to {total} docs")
    asked = question or Question()
    early = EARLY * asked.error
    gaps = (y - x) if asked.higher_is_better else (x - y)
    answers = _answers(gaps, asked.within, early, asked.reach)
    for look in looks:
        if look >= FEWEST and (found := answers[look - 1]) and look < total:
            return _decision(_NAMES[found], gaps[:look], total, early, asked.reach)
    if x.size < total:
        return _decision("undecided", gaps, total, early, asked.reach)
    return _last(x, y, asked)


_NAMES: dict[int, Answer] = {1: "better", 2: "worse", 3: "within"}


def _answers(gaps: Floats, within: float | None, error: float, reach: float) -> NDArray[np.int_]:
    """The answer after each doc, as a number; 0: open. What was answered once stays so."""
    found = np.zeros(len(gaps), dtype=np.int_)
    zero, sure = bets(gaps, 0.0, reach=reach), math.log(2 / error)
    for number, logs in ((1, zero.above), (2, zero.below)):
        found[(np.maximum.accumulate(logs) >= sure) & (found == 0)] = number
    if within is not None:
        low, high = bets(gaps, -within, reach=reach), bets(gaps, within, reach=reach)
        inside = np.minimum(np.maximum.accumulate(low.above), np.maximum.accumulate(high.below))
        close = inside >= math.log(1 / error)
        found[close] = 3
    return found


def _decision(answer: Answer, gaps: Floats, total: int, error: float, reach: float) -> Decision:
    return Decision(answer, len(gaps), float(gaps.mean()), sequence(gaps, error=error, reach=reach), len(gaps) >= total)


def sequence(differences: ArrayLike, *, error: float, reach: float = 1.0) -> Interval:
    """The confidence sequence after the last doc: means against which no bet was ever won, at `error` for all docs."""
    gaps = np.asarray(differences, dtype=np.float64)
    sure = math.log(2 / error)
    centre, spread = float(gaps.mean()), max(float(gaps.std()), 1 / len(gaps)) / math.sqrt(len(gaps))

    def out(mean: float) -> bool:
        both = bets(gaps, mean, reach=reach)
        return max(float(both.above.max()), float(both.below.max())) >= sure

    def edge(side: float) -> float:
        inner, outer = 0.0, spread
        while not out(centre + side * outer):
            inner, outer = outer, 2 * outer
            if abs(centre + side * outer) >= reach:
                return side * reach
        for _ in range(12):
            middle = (inner + outer) / 2
            inner, outer = (inner, middle) if out(centre + side * middle) else (middle, outer)
        return centre + side * outer

    return Interval(edge(-1.0), edge(1.0))


def _last(x: Floats, y: Floats, asked: Question) -> Decision:
    """The test of all docs at once."""
    within, error = asked.within, (1 - EARLY) * asked.error
    found = duel(x, y, seed=0, delta=within, higher_is_better=asked.higher_is_better)
    sign = 1.0 if asked.higher_is_better else -1.0
    value = sign * found.difference.value
    answer: Answer = "undecided"
    if within is not None and found.equivalence_p is not None and found.equivalence_p < error:
        answer = "within"
    elif found.p is not None and found.p < error:
        answer = "better" if value > 0 else "worse"
    ends = found.interval
    known = Interval(-1.0, 1.0) if ends is None else Interval(*sorted((sign * ends.low, sign * ends.high)))
    return Decision(answer, len(x), value, known, True)


def blocks(total: int, *, first: int = 50, growth: float = 1.25) -> tuple[int, ...]:
    """Numbers of docs after which to look: `first`, then each a quarter more, until all are asked."""
    found = [min(first, total)]
    while found[-1] < total:
        found.append(min(total, max(found[-1] + 1, math.ceil(found[-1] * growth))))
    return tuple(found)

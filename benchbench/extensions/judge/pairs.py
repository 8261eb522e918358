"""Two models' answers to the same questions, judged against each other: always in both orders.

Where the two orders do not agree the comparison is a tie, whatever moved the judge (Zheng et al., arXiv 2306.05685).
One that cannot be read in one of its orders counts nowhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchbench.extensions.judge.bench import Asked, Judge
from benchbench.extensions.judge.conversations import Conversation
from benchbench.extensions.judge.prompts import Prompts, pair_values
from benchbench.extensions.judge.verdicts import Winner, read_winner

VALUES: Mapping[Winner, float] = {"A": 1.0, "tie": 0.5, "B": 0.0}


@dataclass(frozen=True, slots=True)
class Match:
    """Two models on one doc; all its turns."""

    first: int
    second: int
    """Numbers of the models, from 0."""
    doc_id: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one judge said of one turn of a match, once, in both orders."""

    match: Match
    turn: int
    judge: str
    forward: Winner | None
    """With the first model's answer shown first; A is the first model. None: it cannot be read."""
    backward: Winner | None
    """With the second model's answer shown first; A is the second model."""
    lengths: tuple[int, int]
    """Characters of the two answers."""

    @property
    def outcome(self) -> float | None:
        """1 where the first model is preferred in both orders, 0 where the second is, else 0.5; None if unreadable."""
        if self.forward is None or self.backward is None:
            return None
        one, two = VALUES[self.forward], 1.0 - VALUES[self.backward]
        return one if one == two else 0.5

    @property
    def agrees(self) -> bool | None:
        """Whether both orders say the same; None if one cannot be read."""
        if self.forward is None or self.backward is None:
            return None
        return VALUES[self.forward] == 1.0 - VALUES[self.backward]

    @property
    def longer(self) -> float:
        """How much longer the first model's answer is, from −1 to 1: difference of lengths over their sum."""
        first, second = self.lengths
        return (first - second) / (first + second) if first + second else 0.0


class PairJudging:
    """Makes the judge's questions of matches, and comparisons of its answers."""

    def __init__(
        self,
        conversations: Mapping[int, Conversation],
        answers: Sequence[Mapping[int, Sequence[str]]],
        prompts: Prompts,
        repeats: int,
    ) -> None:
        """`answers` holds of each model doc id → its answers to all turns; docs that failed are missing."""
        self.conversations, self.answers = conversations, answers
        self._prompts, self._repeats = prompts, repeats

    def docs(self, first: int, second: int) -> list[int]:
        """Docs that both models answered, by id."""
        return sorted(self.answers[first].keys() & self.answers[second].keys())

    def asked(self, matches: Sequence[Match]) -> list[Asked]:
        """Of each match, turn and repeat both orders, in this order."""
        return [one for match in matches for _, _, pair in self._questions(match) for one in pair]

    def _questions(self, match: Match) -> Iterator[tuple[int, int, tuple[Asked, Asked]]]:
        conversation = self.conversations[match.doc_id]
        one, two = (self.answers[model][match.doc_id] for model in (match.first, match.second))
        for turn in range(len(conversation.questions)):
            forward = self._prompt(conversation, one[: turn + 1], two[: turn + 1])
            backward = self._prompt(conversation, two[: turn + 1], one[: turn + 1])
            for again in range(self._repeats):
                yield turn, again, (Asked(*forward, again), Asked(*backward, again))

    def _prompt(self, conversation: Conversation, first: Sequence[str], second: Sequence[str]) -> tuple[str, str]:
        turns = len(first)
        template = self._prompts.template(turns=turns, reference=bool(conversation.references))
        values = pair_values(conversation.questions[:turns], first, second, conversation.references[:turns])
        return template.filled({**conversation.extra(), **values})

    def compared(self, judge: Judge, matches: Sequence[Match]) -> list[Comparison]:
        """The matches judged; what is kept is not asked again. Raises as `Judge.judged`."""
        asked = self.asked(matches)
        judged = judge.judged(asked)
        said = iter(
            None if one.text is None else read_winner(one.text, f"{what.system}\n{what.text}")
            for what, one in zip(asked, judged, strict=True)
        )
        found = []
        for match in matches:
            one, two = (self.answers[model][match.doc_id] for model in (match.first, match.second))
            for turn, _, _ in self._questions(match):
                lengths = len(one[turn]), len(two[turn])
                found.append(Comparison(match, turn, judge.name, next(said), next(said), lengths))
        return found


@dataclass(frozen=True, slots=True)
class Share:
    """A share or difference with its interval over questions."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.value:+.3f}{ends}"


@dataclass(frozen=True, slots=True)
class Biases:
    """What sways a judge besides the answers' worth."""

    position: Share | None
    """How much more often the answer shown first is preferred than that shown second, −1 to 1; None without a
    readable comparison."""
    length: Share | None
    """Coefficient of the relative length difference on the logistic scale, position and strengths held; None where
    lengths do not differ."""
    consistent: float | None
    """Share of comparisons in which both orders say the same."""
    unreadable: int
    """Comparisons that cannot be read in one of their orders."""
    controlled: tuple[float, ...] | None
    """The models' strengths with position and length held equal, of mean 0."""


def biases(found: Sequence[Comparison], models: int) -> Biases:
    """Position and length bias of these comparisons, with intervals over questions (docs)."""
    import numpy as np

    from benchbench.scoring.estimates import mean_uncertainty
    from benchbench.stats.bradley_terry import bradley_terry

    known = [one for one in found if one.outcome is not None]
    unreadable = len(found) - len(known)
    if not known:
        return Biases(None, None, None, unreadable, None)
    position, docs = [], []
    first, second, outcomes, covariates, clusters = [], [], [], [], []
    for one in known:
        if one.forward is None or one.backward is None:
            continue
        forward, backward = VALUES[one.forward], VALUES[one.backward]
        position.append(forward + backward - 1.0)
        docs.append(one.match.doc_id)
        first += [one.match.first, one.match.second]
        second += [one.match.second, one.match.first]
        outcomes += [forward, backward]
        covariates += [[1.0, one.longer], [1.0, -one.longer]]
        clusters += [one.match.doc_id] * 2
    known_shift, _ = mean_uncertainty(position, list(map(str, docs)), (-1.0, 1.0))
    share = Share(math.fsum(position) / len(position), *(known_shift.interval or (None, None)))
    consistent = math.fsum(one.agrees is True for one in known) / len(known)
    longer = np.array(covariates)[:, 1]
    if not longer.any() or models < 2:
        return Biases(share, None, consistent, unreadable, None)
    fitted = bradley_terry(first, second, outcomes, models=models, clusters=clusters, covariates=covariates)
    around = fitted.interval(models + 1)
    length = Share(float(fitted.coefficients[1]), *((None, None) if around is None else around))
    return Biases(share, length, consistent, unreadable, tuple(map(float, fitted.values)))

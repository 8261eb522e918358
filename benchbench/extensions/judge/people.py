"""What people prefer of the same pairs, in the layout of MT-Bench's human judgements, and how far a judge agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import ArgumentError
from benchbench.extensions.judge.conversations import Conversation, ids_of, plain_id
from benchbench.extensions.judge.pairs import Comparison
from benchbench.extensions.judge.prompts import json_lines

_WINNERS = {"model_a": 1.0, "model_b": 0.0, "tie": 0.5}


@dataclass(frozen=True, slots=True)
class Preference:
    """What a person said of two models' answers to one turn."""

    doc_id: int
    turn: int
    """From 0."""
    first: int
    second: int
    """Numbers of the models."""
    outcome: float
    """1 where the first is preferred, 0 the second, 0.5 neither."""


def read_preferences(path: Path, known: Mapping[int, Conversation], names: Sequence[str]) -> list[Preference]:
    """The lines on these models. ArgumentError for a file of another layout, or that has none of them."""
    docs = {name: doc_id for doc_id, one in known.items() for name in ids_of(doc_id, one.fields)}
    place = {name: number for number, name in enumerate(names)}
    found, lines = [], json_lines(path, "preferences of people")
    for number, line in enumerate(lines, start=1):
        winner, turn = str(line.get("winner")), line.get("turn", 1)
        if "question_id" not in line or not isinstance(turn, int) or not winner.startswith((*_WINNERS,)):
            raise ArgumentError(
                f"{path}, entry {number}: expected `question_id`, `model_a`, `model_b`, `winner` (model_a, model_b or"
                " tie) and `turn`."
            )
        one, two = (place.get(str(line.get(key))) for key in ("model_a", "model_b"))
        doc_id = docs.get(plain_id(line["question_id"]))
        if one is None or two is None or one == two or doc_id is None:
            continue
        outcome = next(value for name, value in _WINNERS.items() if winner.startswith(name))  # "tie (inconsistent)"
        if one > two:
            one, two, outcome = two, one, 1.0 - outcome
        found.append(Preference(doc_id, turn - 1, one, two, outcome))
    if not found:
        raise ArgumentError(f"{path} says nothing of two of these models: {', '.join(names[:5])}.")
    return found


def agreement(compared: Sequence[Comparison], people: Sequence[Preference]) -> str:
    """Cohen's kappa of the judge's outcomes and people's, ties included, as a sentence."""
    from benchbench.stats.kappa import weighted_kappa

    outcomes = {
        (one.match.doc_id, one.turn, one.match.first, one.match.second): one.outcome
        for one in compared
        if one.outcome is not None
    }
    pairs = [
        (round(2 * one.outcome), round(2 * said), one.doc_id)
        for one in people
        if (said := outcomes.get((one.doc_id, one.turn, one.first, one.second))) is not None
    ]
    if len(pairs) < 2:
        return f"{len(pairs)} preferences of people meet one of the judge's: too few to tell how far they agree"
    theirs, its, docs = zip(*pairs, strict=True)
    found = weighted_kappa(theirs, its, weights="none", clusters=docs)
    same = sum(one == other for one, other, _ in pairs) / len(pairs)
    if found.value is None:
        kappa = "kappa is undefined"
    else:
        ends = "" if found.low is None or found.high is None else f" [{found.low:.2f}, {found.high:.2f}]"
        kappa = f"kappa {found.value:.2f}{ends}"
    return f"with {len(pairs)} preferences of people the judge agrees in {same:.0%}, {kappa}"

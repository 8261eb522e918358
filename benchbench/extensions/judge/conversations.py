"""The stored answers of a task as conversations that a judge can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import ArgumentError, DataError
from benchbench.core.ids import content_hash
from benchbench.core.types import Item, Json
from benchbench.extensions.judge.options import JudgeOptions
from benchbench.extensions.judge.prompts import json_lines
from benchbench.extensions.rescore.stored import StoredTask

ID_FIELDS = ("question_id", "prompt_id", "id")
"""Fields of a doc that files of references and labels may call it by, besides `doc_id`, its position from 0."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One doc: what the user asked, turn by turn, and what a right answer would say."""

    doc_id: int
    questions: tuple[str, ...]
    references: tuple[str, ...]
    """As many as questions, or none; a missing one is empty."""
    category: str | None
    fields: Mapping[str, Json]

    def extra(self) -> dict[str, str]:
        """Further placeholders: the doc's own short fields (`{lang}`); `{lang1}` is FastChat's other name of it."""
        found = {name: value for name, value in self.fields.items() if isinstance(value, str)}
        return {**found, **({"lang1": found["lang"]} if "lang" in found else {})}


def conversations(task: StoredTask, options: JudgeOptions) -> dict[int, Conversation]:
    """doc id → its conversation. DataError or TaskError where the docs cannot be read again, ArgumentError for a field
    or a file of references that does not fit.
    """
    references = None if options.references is None else References.read(options.references)
    found = {}
    for doc_id, rendered in task.documents.items():
        fields = {**rendered.doc.fields, **task.definition.task.variables}
        category = None if options.by is None else _category(fields, options.by, task.name)
        wanted = not options.references_in or category in options.references_in
        questions = rendered.turns or (rendered.question,)
        texts = (references.of(doc_id, fields) if references else rendered.targets) if wanted else ()
        shown = tuple(texts[: len(questions)]) if any(text.strip() for text in texts) else ()
        padded = (*shown, *[""] * (len(questions) - len(shown))) if shown else ()
        found[doc_id] = Conversation(doc_id, questions, padded, category, fields)
    if references is not None and not any(one.references for one in found.values()):
        raise ArgumentError(
            f"{options.references} has a reference for no doc of {task.name}; its question_id is compared with the"
            f" docs' {', '.join(ID_FIELDS)}, else with their number from 0."
        )
    return found


def _category(fields: Mapping[str, Json], name: str, task: str) -> str:
    if name not in fields:
        raise ArgumentError(f"the docs of {task} have no field {name!r}, by which the judge's grades are told apart.")
    return re.sub(r"[^\w.+-]+", "_", str(fields[name])) or "none"


def answers_of(item: Item, turns: int) -> list[tuple[str, ...]]:
    """The answers to all turns, for each repeat. DataError if there are not that many."""
    if not item.texts or len(item.texts) % turns:
        raise DataError(
            f"{item.task}: document {item.doc_id} has {len(item.texts)} stored answers for {turns} turns; run it again."
        )
    return [tuple(item.texts[start : start + turns]) for start in range(0, len(item.texts), turns)]


def shown(item: Item) -> bool:
    """It has answers to be judged."""
    return item.outcome != "failed"


@dataclass(frozen=True)
class References:
    """Reference answers in FastChat's layout: `question_id` and `choices[0].turns`."""

    path: Path
    by_id: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, path: Path) -> References:
        """ArgumentError for a file of another layout."""
        by_id = {}
        for number, line in enumerate(json_lines(path, "reference answers"), start=1):
            turns = _turns(line)
            if "question_id" not in line or turns is None:
                raise ArgumentError(
                    f"{path}, entry {number}: expected `question_id` and `choices: [{{turns: [text, ...]}}]`, as in"
                    " FastChat's reference answers."
                )
            by_id[plain_id(line["question_id"])] = turns
        return cls(path, by_id)

    def of(self, doc_id: int, fields: Mapping[str, Json]) -> tuple[str, ...]:
        """The references of a doc; () for none."""
        return next((self.by_id[name] for name in ids_of(doc_id, fields) if name in self.by_id), ())


def _turns(line: Mapping[str, object]) -> tuple[str, ...] | None:
    choices = line.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    turns = first.get("turns") if isinstance(first, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        return None
    return tuple(turns)


def ids_of(doc_id: int, fields: Mapping[str, Json]) -> Iterator[str]:
    """What a file may call a doc: by a field of it where it has one, else by its number."""
    named = [plain_id(fields[name]) for name in ID_FIELDS if name in fields]
    yield from named or [str(doc_id)]


def plain_id(value: object) -> str:
    """What is compared of two ids: the number, without the language that ids of translations end in (`81_FR`)."""
    found = re.match(r"\d+", str(value))
    return found[0] if found else str(value)


@dataclass(frozen=True)
class Label:
    """What a person said of one answer."""

    doc_id: int
    turn: int
    """From 0."""
    score: float


def read_labels(path: Path, known: Mapping[int, Conversation], model: str) -> list[Label]:
    """The grades by people of this model's answers. ArgumentError for a file of another layout, or of other docs."""
    place = {name: doc_id for doc_id, one in known.items() for name in ids_of(doc_id, one.fields)}
    found, lines = [], json_lines(path, "grades by people")
    for number, line in enumerate(lines, start=1):
        score, turn = line.get("score", line.get("rating")), line.get("turn", 1)
        has_id = "question_id" in line or "doc_id" in line
        if not has_id or not _is_number(score) or not isinstance(turn, int) or turn < 1:
            raise ArgumentError(
                f"{path}, entry {number}: expected `question_id` or `doc_id`, `score` (a number), and `turn` from 1"
                " where there are several."
            )
        doc_id = line.get("doc_id") if "doc_id" in line else place.get(plain_id(line["question_id"]))
        conversation = known.get(doc_id) if isinstance(doc_id, int) else None
        if line.get("model", model) != model or conversation is None or turn > len(conversation.questions):
            continue
        found.append(Label(conversation.doc_id, turn - 1, float(str(score))))
    if not found:
        raise ArgumentError(f"{path} grades no answer of {model}: of {len(lines)} lines none names one of its docs.")
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def references_hash(known: Sequence[Conversation]) -> str:
    """12 hex digits over the references that the judge is shown."""
    return content_hash([[one.doc_id, list(one.references)] for one in known], digits=12)

"""Docs and answers of a task: one page that holds them all, in chunks that are unpacked when they are shown."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias, TypedDict, cast

from benchbench.core.errors import StoreError
from benchbench.core.format import name, number, several, shown, true_minus
from benchbench.leaderboard.records import Cell, Entry, Variant
from benchbench.leaderboard.site.parts import embedded, markup
from benchbench.store.folder import PART
from benchbench.store.questions import middle_cut, questions
from benchbench.store.table import read_table

if TYPE_CHECKING:
    from markupsafe import Markup

CHUNK = 200
FIRST = 20
MOST_DOCS = 10_000
LONGEST = 2000


class _Row(TypedDict):
    """Columns of the item table; `score` is that of the page's metric."""

    doc_id: int
    prompt_name: str
    gold: str | None
    targets: list[str]
    prediction: str | None
    outcome: str
    loglikelihoods: list[float | None]
    texts: list[str]
    failure: str | None
    score: float | None


_Items: TypeAlias = dict[tuple[int, str], _Row]
"""(doc, prompt) → its row of the item table."""
_COLUMNS = ("doc_id", "prompt_name", "gold", "targets", "prediction", "outcome", "loglikelihoods", "texts", "failure")
_MARKS = {"r": "✓", "w": "✗", "u": "∅", "f": "!", "s": "·"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered to a doc."""

    mark: str
    """`✓` right, `✗` wrong, `∅` no answer, `!` failed or not asked, `·` some score between."""
    text: str
    note: str = ""
    """What is to be known of it: the score, log-likelihoods."""


@dataclass(frozen=True, slots=True)
class DocAnswers:
    """A doc with the models' answers."""

    id: int
    question: str
    """What was asked; empty where no run has kept it."""
    targets: tuple[str, ...]
    gold: tuple[int, ...]
    """Which of the targets are right."""
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class DocsPage:
    """Docs and answers of a task."""

    template: ClassVar[str] = "docs.html"
    lead: str
    back: str
    """The page of the task."""
    models: tuple[str, ...]
    first: tuple[DocAnswers, ...]
    """Shown without JavaScript."""
    facts: Markup
    """JSON of what the script needs, as markup."""
    chunks: tuple[str, ...]
    """All docs, packed."""


@dataclass(frozen=True, slots=True)
class Docs:
    """The page, and what could not be read for it."""

    page: DocsPage
    problems: tuple[str, ...]


def page_of_docs(variant: Variant, title: str, entries: Sequence[Entry], back: str) -> Docs | None:
    """Docs with the answers of these models, best first; None where none of them has items."""
    tables, problems = _tables(variant, entries)
    if not tables:
        return None
    keys = sorted({key for _, rows in tables for key in rows})
    kept = keys[:MOST_DOCS]
    cell = entries[0].cells[variant]
    asked = [[rows.get(key) for _, rows in tables] for key in kept]
    letters = [[_letter(row, cell) for row in rows] for rows in asked]
    asked_of = _questions(variant, [entry for entry, _ in tables], {doc_id for doc_id, _ in kept}, problems)
    docs = [
        _doc(key, asked_of.get(key[0], ""), rows, found, cell)
        for key, rows, found in zip(kept, asked, letters, strict=True)
    ]
    marks = ["".join(column) for column in zip(*letters, strict=True)]
    models = tuple(name(entry.name) for entry, _ in tables)
    facts = {"models": models, "count": len(docs), "size": CHUNK, "marks": marks, "ids": _ids(docs)}
    cut = f" Of {len(keys):,} docs the first {len(kept):,} are here." if len(kept) < len(keys) else ""
    page = DocsPage(
        lead=f"{title}: {several(len(kept), 'doc')}, {several(len(models), 'model')}.{cut}",
        back=back,
        models=models,
        first=tuple(docs[:FIRST]),
        facts=markup(embedded(facts)),
        chunks=tuple(_packed(docs[i : i + CHUNK]) for i in range(0, len(docs), CHUNK)),
    )
    return Docs(page, tuple(problems))


def _tables(variant: Variant, entries: Sequence[Entry]) -> tuple[list[tuple[Entry, _Items]], list[str]]:
    """The items of each model that has some, and what could not be read."""
    problems: list[str] = []
    tables: list[tuple[Entry, _Items]] = []
    for entry in entries:
        cell = entry.cells[variant]
        path = cell.run.folder.task_folder(variant.task) / PART
        if not path.is_file():
            continue
        try:
            tables.append((entry, _read(cell)))
        except (StoreError, KeyError) as error:
            problems.append(f"{cell.run.name}: {str(error).replace(str(cell.run.folder.path), cell.run.name)}")
    return tables, problems


def _ids(docs: Sequence[DocAnswers]) -> list[int] | None:
    """The docs' ids; None where each is its place on the page."""
    ids = [doc.id for doc in docs]
    return None if ids == list(range(len(ids))) else ids


def _questions(variant: Variant, entries: Sequence[Entry], wanted: set[int], problems: list[str]) -> dict[int, str]:
    """Doc → what it asks, of the first run that has kept it: all were asked the same."""
    for entry in entries:
        run = entry.cells[variant].run
        try:
            found = questions(run.folder, variant.task, wanted)
        except StoreError as error:
            problems.append(f"{run.name}: {str(error).replace(str(run.folder.path), run.name)}")
            continue
        if found:
            return found
    return {}


def _read(cell: Cell) -> _Items:
    path = cell.run.folder.task_folder(cell.variant.task) / PART
    from benchbench.store.table import part_scores

    score = part_scores(path).get(cell.metric.name)
    table = read_table(path, [*_COLUMNS, *([score] if score is not None else [])])
    rows = table.to_pylist()
    for row in rows:
        row["score"] = None if score is None else row[score]
    return {(row["doc_id"], row["prompt_name"]): row for row in cast("list[_Row]", rows)}


def _doc(
    key: tuple[int, str], question: str, rows: Sequence[_Row | None], letters: Sequence[str], cell: Cell
) -> DocAnswers:
    known = next(row for row in rows if row is not None)
    is_choice = cell.task_record.output_type == "multiple_choice" or (
        len(known["loglikelihoods"]) > 1 and len(known["targets"]) > 1
    )
    place = known["gold"] or ""
    gold = [int(place)] if is_choice and place.isdigit() else []
    if not is_choice:
        gold = list(range(len(known["targets"])))
    return DocAnswers(
        id=key[0],
        question=shown(middle_cut(question, LONGEST), 2 * LONGEST),
        targets=tuple(shown(text, LONGEST) for text in known["targets"]),
        gold=tuple(gold),
        answers=tuple(
            Answer(_MARKS[letter], *_answer(row, is_choice)) for row, letter in zip(rows, letters, strict=True)
        ),
    )


def _letter(row: _Row | None, cell: Cell) -> str:
    """r right, w wrong, s some score between, u no answer, f failed or not asked."""
    if row is None or row["outcome"] == "failed":
        return "f"
    if row["outcome"] == "unanswered":
        return "u"
    score = row["score"]
    if score in (0.0, 1.0) and cell.metric.kind == "mean":
        return "r" if bool(score) == cell.metric.higher_is_better else "w"
    return "s"


def _answer(row: _Row | None, is_choice: bool) -> tuple[str, str]:
    """What the model answered, and what is to be known of it."""
    if row is None:
        return "(not asked)", ""
    if row["outcome"] == "failed":
        return f"(failed: {shown(row['failure'] or '', LONGEST)})", ""
    if is_choice:
        return f"choice {row['prediction']}", f"log-likelihoods {_logs(row['loglikelihoods'][: len(row['targets'])])}"
    score = "" if row["score"] is None else f"score {number(row['score'])}"
    if row["texts"]:
        cut = ["ran into the token limit"] if row["outcome"] == "truncated" else []
        return shown(row["texts"][0], LONGEST), ", ".join(filter(None, [score, *cut]))
    noun = "log-likelihood" if len(row["loglikelihoods"]) == 1 else "log-likelihoods"
    return "", ", ".join(filter(None, [f"{noun} {_logs(row['loglikelihoods'])}", score]))


def _logs(values: Sequence[float | None]) -> str:
    """As `number` shows each with two decimals; at once, for a site holds hundreds of thousands of them."""
    if all(x is not None and -math.inf < x < math.inf for x in values):
        return true_minus(", ".join([f"{x:.2f}" for x in values]))
    return ", ".join(number(x, 2) for x in values)


def _packed(docs: Sequence[DocAnswers]) -> str:
    rows = [
        {
            "id": doc.id,
            "question": doc.question,
            "targets": doc.targets,
            "gold": doc.gold,
            "answers": [{"mark": answer.mark, "text": answer.text, "note": answer.note} for answer in doc.answers],
        }
        for doc in docs
    ]
    data = json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
    return base64.b64encode(gzip.compress(data, compresslevel=6, mtime=0)).decode()

"""Facts about a small world, spelled out in Czech or French: statements, questions, and what is kept for the tasks.

Every row of a table (a country, an animal) is said in several wordings. One question wording of some rows, and one
combined statement of most things, never reaches the training text: those become the items of the demo tasks.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Language = Literal["cs", "fr"]
LANGUAGES: tuple[Language, ...] = ("cs", "fr")
Row = Mapping[str, str]

CHOICES = 4
HELD_OUT_THINGS = 6
"""Of seven things, six are kept for the choice task; the seventh shows the combined wording in training."""
TRIVIA_THINGS = 14
"""Every fourteenth thing is asked for in the trivia task."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one language's tables say: documents to train on, and the items kept away from them."""

    documents: tuple[str, ...]
    choice_items: tuple[Mapping[str, Any], ...]
    trivia_items: tuple[Mapping[str, Any], ...]


def read_text(name: str) -> str:
    """Text of a file under `benchbench/demo/data`."""
    return files("benchbench.demo").joinpath("data", *name.split("/")).read_text(encoding="utf-8")


def read_table(name: str) -> list[Row]:
    """Rows of a tab-separated file, each also under capitalised column names (`Nom`: `nom`, first letter upper)."""
    rows = csv.DictReader(read_text(name).splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return [{**row, **{capitalise(key): capitalise(value) for key, value in row.items()}} for row in rows]


def capitalise(text: str) -> str:
    """First letter upper, the rest untouched: `l'Égypte` becomes `L'Égypte`."""
    return text[:1].upper() + text[1:]


@cache
def facts(language: Language) -> Facts:
    """All documents and items that the tables of one language give, in a fixed order."""
    templates = json.loads(read_text(f"{language}/templates.json"))
    documents = [line for line in read_text(f"{language}/stories.txt").splitlines() if line]
    things = read_table(f"{language}/things.tsv")
    statements, choice_items = _thing_statements(things, templates["things"])
    asked, trivia_items = _thing_questions(things, templates)
    documents += statements + asked
    for relation in templates["relations"]:
        said, kept = _relation(language, relation, templates)
        documents += said
        trivia_items += kept
    return Facts(tuple(documents), tuple(choice_items), tuple(trivia_items))


def _thing_statements(things: Sequence[Row], templates: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    documents: list[str] = []
    items: list[dict[str, Any]] = []
    for index, row in enumerate(things):
        documents += [wording.format(**row) for wording in templates["statements"]]
        if _shows_combination(index):
            documents.append(templates["held_out"].format(**row))
        else:
            items.append(_choice_item(row, things, templates["held_out"]))
    return documents, items


def _shows_combination(index: int) -> bool:
    return index % (HELD_OUT_THINGS + 1) == HELD_OUT_THINGS


def _choice_item(row: Row, things: Sequence[Row], wording: str) -> dict[str, Any]:
    """How does this thing's sentence go on? The wrong endings belong to other things of its domain."""
    rng = random.Random(f"choice {row['entity']}")  # noqa: S311 - a fixed shuffle
    ending = wording.removeprefix("{Entity} ")
    others = [other for other in things if other["domain"] == row["domain"] and other is not row]
    picked = [row, *rng.sample(others, CHOICES - 1)]
    rng.shuffle(picked)
    choices = [ending.format(**one) for one in picked]
    return {"stem": row["Entity"], "choices": choices, "label": picked.index(row), "domain": row["domain"]}


def _thing_questions(things: Sequence[Row], templates: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    documents: list[str] = []
    items: list[dict[str, Any]] = []
    domains = templates["things"]["domains"]
    end = templates["question_end"]
    joined = templates["things"]["held_out"].removeprefix("{Entity} ").removesuffix(".")
    swapped = joined.format(first="{second}", second="{first}")
    for index, row in enumerate(things):
        wordings = ["{second}" if index % 2 else "{first}", swapped]
        for wording in [*wordings, *([joined] if _shows_combination(index) else [])]:
            question = f"{domains[row['domain']]} {wording.format(**row)}{end}"
            documents.append(templates["ask"].format(question=question, answer=row["entity"]))
        if index % TRIVIA_THINGS == 0:
            question = f"{domains[row['domain']]} {joined.format(**row)}{end}"
            items.append({"relation": row["domain"], "question": question, "answer": row["entity"]})
    return documents, items


def _relation(
    language: Language, relation: Mapping[str, Any], templates: Mapping[str, Any]
) -> tuple[list[str], list[dict[str, Any]]]:
    documents: list[str] = []
    items: list[dict[str, Any]] = []
    rows = read_table(f"{language}/{relation['table']}.tsv" if relation["table"] != "words" else "words.tsv")
    wordings = len(relation["questions"])
    kept_rows = {place * len(rows) // relation["items"]: place % wordings for place in range(relation["items"])}
    for index, row in enumerate(rows):
        documents += [wording.format(**row) for wording in relation["statements"]]
        kept = kept_rows.get(index)
        for number, (question, answer) in enumerate(_questions(row, relation)):
            if number == kept:
                items.append({"relation": relation["name"], "question": question, "answer": answer})
            else:
                documents.append(templates["ask"].format(question=question, answer=answer))
    return documents, items


def _questions(row: Row, relation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for question, answer in zip(relation["questions"], relation["answers"], strict=True):
        yield question.format(**row), answer.format(**row)

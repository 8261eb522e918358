"""Rows of our own making in the layout of data sets that lm-eval loads, beside those in `tests/parity/fixtures`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[1] / "parity" / "fixtures"

Row = dict[str, Any]
SUBJECTS = ("anatomy", "marketing", "world_religions", "high_school_us_history", "professional_law")


def make_data_root(root: Path, subjects: Sequence[str]) -> Path:
    """A data root with the parity fixtures (as links) and the rows of this file; MMLU's for the given subjects."""
    root.mkdir(parents=True, exist_ok=True)
    for data_set in FIXTURES.glob("*/*"):
        link = root / data_set.relative_to(FIXTURES)
        if link.relative_to(root).as_posix() == "cais/mmlu":
            continue
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(data_set, target_is_directory=True)
    for place, rows in SETS.items():
        write(root / f"{place}.jsonl", rows)
    for number, subject in enumerate(subjects):
        write(root / f"cais/mmlu/{subject}/test.jsonl", [*_quiz(subject, 3 + number % 3, 0)])
        write(root / f"cais/mmlu/{subject}/dev.jsonl", [*_quiz(subject, 5, 50)])
    return root


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _quiz(subject: str, count: int, start: int) -> Iterator[Row]:
    for number in range(start, start + count):
        choices = [f"{(number * step + len(subject)) % 17} {subject.replace('_', ' ')}" for step in (3, 5, 7, 11)]
        yield {
            "question": f" Which shelf of the library holds book {number} on {subject.replace('_', ' ')}? ",
            "subject": subject,
            "choices": choices,
            "answer": (number * 7 + len(subject)) % 4,
        }


PAIRS = (
    ("The bakery opens at six.", "At six the bakery opens its doors.", 1),
    ("Snow fell on the bridge all night.", "The bridge was closed for repairs.", 0),
    ("He lost his keys in the park.", "His keys were lost in the park.", 1),
    ("The choir sings on Sundays.", "Nobody sings on Sundays.", 0),
    ("Two boats left the harbour.", "A pair of boats sailed from the harbour.", 1),
    ("The lamp is green.", "The lamp hangs above the table.", 0),
    ("She wrote three letters.", "Three letters were written by her.", 1),
)
QUESTIONS = (
    ("Kolik nohou má pavouk?", ["osm", "šest", "čtyři"]),
    ("Which river runs through Prague?", ["the Vltava", "the Danube", "the Elbe", "no river"]),
    ("What do bees make?", ["honey", "silk"]),
    ("How many days has a leap year?", ["366", "365", "360"]),
)

DROP = [
    {
        "section_id": f"s{number}",
        "query_id": f"q{number}",
        "passage": f"In the {number}th minute the team scored. It had {number + 2} players.",
        "question": question,
        "answer": {"number": amount, "date": {"day": "", "month": "", "year": ""}, "spans": spans},
        "validated_answers": {
            "number": [amount, ""],
            "date": [{"day": "", "month": "", "year": ""}, {"day": "", "month": "", "year": ""}],
            "spans": [spans, ["the team"]],
        },
    }
    for number, question, amount, spans in (
        (1, "How many players were there?", "3", []),
        (2, "Who scored?", "", ["the team", "a player"]),
        (3, "How many minutes passed?", "3", []),
    )
]

SETS: dict[str, list[Row]] = {
    **{
        f"nyu-mll/glue/mrpc/{split}": [
            {"sentence1": one, "sentence2": two, "label": label, "idx": number}
            for number, (one, two, label) in enumerate(pairs)
        ]
        for split, pairs in (("validation", PAIRS), ("train", PAIRS[::-1]))
    },
    **{
        f"nyu-mll/glue/cola/{split}": [
            {"sentence": two if label else f"{two} the of", "label": label, "idx": number}
            for number, (_, two, label) in enumerate(pairs)
        ]
        for split, pairs in (("validation", PAIRS), ("train", PAIRS[::-1]))
    },
    **{
        f"aps/super_glue/cb/{split}": [
            {"premise": one, "hypothesis": two, "idx": number, "label": number % 3}
            for number, (one, two, _) in enumerate(pairs)
        ]
        for split, pairs in (("validation", PAIRS), ("train", PAIRS[::-1]))
    },
    "truthfulqa/truthful_qa/multiple_choice/validation": [
        {
            "question": question,
            "mc1_targets": {"choices": choices, "labels": [1] + [0] * (len(choices) - 1)},
            "mc2_targets": {"choices": choices, "labels": [1, 1, 0, 0][: len(choices)] if len(choices) > 2 else [1, 0]},
        }
        for question, choices in QUESTIONS
    ],
    "EleutherAI/drop/default/validation": DROP,
    "EleutherAI/drop/default/train": DROP[::-1],
    "hazyresearch/based-squad/default/validation": [
        {"doc_id": str(number), "title": "t", "context": one, "question": "?", "text": f"{one} So it is", "value": value}
        for number, (one, value) in enumerate((("The bakery opens at six.", "six"), ("The lamp is green.", "e")))
    ],
}

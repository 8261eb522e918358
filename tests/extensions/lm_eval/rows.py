"""Rows of our own making in the layout of data sets that lm-eval loads, beside those in `tests/parity/fixtures`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parents[2] / "parity" / "fixtures"

Row = dict[str, Any]
HAERAE = ("general_knowledge", "history", "loan_words", "rare_words", "standard_nomenclature")


def make_data_root(root: Path) -> Path:
    """A data root with the parity fixtures (as links) and the rows of this file."""
    for data_set in FIXTURES.glob("*/*"):
        link = root / data_set.relative_to(FIXTURES)
        link.parent.mkdir(exist_ok=True, parents=True)
        link.symlink_to(data_set, target_is_directory=True)
    for place, rows in SETS.items():
        write(root / f"{place}.jsonl", rows)
    for number, config in enumerate(HAERAE):
        write(root / f"HAERAE-HUB/HAE_RAE_BENCH/{config}/test.jsonl", [*_korean(config, 4 + number)])
    return root


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _korean(config: str, count: int) -> Iterator[Row]:
    for number in range(count):
        yield {
            "query": f"질문 {number} {config}? (A) 하나 (B) 둘 (C) 셋 (D) 넷 (E) 다섯\n정답:",
            "answer": f"({'ABCDE'[number % 5]})",
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
    "stanfordnlp/web_questions/default/test": [
        {"url": "", "question": question.rstrip("?"), "answers": choices[:2]} for question, choices in QUESTIONS
    ],
    "CogComp/mc_taco/default/test": [
        {"sentence": one, "question": "How long did it take?", "answer": "an hour" if number % 2 else "a century"}
        | {"label": number % 2, "category": "Event Duration"}
        for number, (one, _, _) in enumerate(PAIRS)
    ],
    "CogComp/mc_taco/default/validation": [],
    "EleutherAI/unscramble/mid_word_1_anagrams/validation": [
        {"context": f"Unscramble: {word[0]}{word[2]}{word[1]}{word[3:]}", "completion": word}
        for word in ("bakery", "bridge", "harbour", "letter")
    ],
    "EleutherAI/drop/default/validation": DROP,
    "EleutherAI/drop/default/train": DROP[::-1],
    "hazyresearch/based-squad/default/validation": [
        {
            "doc_id": str(number),
            "title": "t",
            "context": one,
            "question": "?",
            "text": f"{one} So it is",
            "value": value,
        }
        for number, (one, value) in enumerate((("The bakery opens at six.", "six"), ("The lamp is green.", "e")))
    ],
}

CHOICES = {
    "dataset_path": "nyu-mll/glue",
    "dataset_name": "mrpc",
    "validation_split": "validation",
    "output_type": "multiple_choice",
    "doc_to_text": "{{sentence1}}\nThe same as: {{sentence2}}",
    "doc_to_target": "label",
    "doc_to_choice": ["no", "yes"],
}
WRITING = {
    "dataset_path": "EleutherAI/unscramble",
    "dataset_name": "mid_word_1_anagrams",
    "test_split": "validation",
    "output_type": "generate_until",
    "doc_to_text": "{{context}}",
    "doc_to_target": "{{completion}}",
}
FILES: dict[str, Row] = {
    "own_mutual": {"task": "own_mutual", **CHOICES, "metric_list": [{"metric": "acc"}, {"metric": "acc_mutual_info"}]},
    "own_calibrated": {
        "task": "own_calibrated",
        **CHOICES,
        "metric_list": [{"metric": "brier_score"}, {"metric": "acc"}, {"metric": "acc_bytes"}],
    },
    "own_repeated": {
        "task": "own_repeated",
        **WRITING,
        "repeats": 5,
        "generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7, "max_new_tokens": 12},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {"name": "first", "filter": [{"function": "lowercase"}, {"function": "take_first"}]},
            {"name": "vote", "filter": [{"function": "majority_vote"}, {"function": "take_first"}]},
        ],
    },
    "own_median": {
        "task": "own_median",
        **CHOICES,
        "metric_list": [{"metric": "acc", "aggregation": "median", "higher_is_better": True}],
    },
    "own_inner": {
        "group": "own_inner",
        "task": ["own_mutual", "own_calibrated", "own_repeated"],
        "aggregate_metric_list": [
            {"metric": "acc", "weight_by_size": False},
            {"metric": "exact_match", "filter_list": ["vote"]},
        ],
    },
    "own_outer": {
        "group": "own_outer",
        "task": ["own_inner", "mrpc", {"task": "anagrams1", "task_alias": "other name"}],
        "aggregate_metric_list": [{"metric": "acc", "weight_by_size": True}, {"metric": "exact_match"}],
    },
}
"""Task files in lm-eval's dialect, for what its own tasks with rows here do not use."""

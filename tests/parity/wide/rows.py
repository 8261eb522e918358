"""Made-up rows in the shape of data sets that lm-eval's tasks load and that the fixtures do not have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.extensions.lm_eval.rows import make_data_root, write

Row = dict[str, Any]
THINGS = ("lamp", "river", "bakery", "violin", "orchard", "harbour", "lantern", "meadow")
COUNT, MANY = 7, 40


def _text(number: int, what: str = "") -> str:
    return f"The {THINGS[number % len(THINGS)]} {what or 'stands'} near the {THINGS[(number * 3 + 1) % len(THINGS)]}."


def _pair(number: int) -> Row:
    return {"sentence1": _text(number), "sentence2": _text(number + 1, "lies"), "label": number % 2, "idx": number}


def _gpqa(number: int) -> Row:
    wrong = {f"Incorrect Answer {n}": f"{number + n} apples" for n in (1, 2, 3)}
    question = {"Question": f"How many apples are {number} apples?", "Explanation": f"Count them. {number}."}
    return {**question, **wrong, "Correct Answer": f"{number} apples"}


def _mmlu(number: int) -> Row:
    return {"question": f"What is {number}?", "subject": "things", "choices": list(THINGS[:4]), "answer": number % 4}


def _wsc(number: int) -> Row:
    text = f"The {THINGS[number % 8]} fell on the table because it was heavy ."
    return {"text": text, "span1_text": THINGS[number % 8], "span2_text": "it", "span2_index": 7, "label": number % 2}


def _race(number: int) -> Row:
    problem = {"question": f"What stands there, {number}?", "answer": "ABCD"[number % 4], "options": list(THINGS[:4])}
    first = {**problem, "question": "The text is about  _  ."}
    return {"article": _text(number), "problems": repr([first, problem])}


def _bbq(number: int) -> Row:
    kinds = {0: ["Ann", "F"], 1: ["Bob", "M"], 2: ["Not known", "unknown"]}
    return {
        "example_id": number,
        "question_index": "1",
        "question_polarity": "neg" if number % 2 else "nonneg",
        "context_condition": "ambig" if number % 3 else "disambig",
        "category": "Gender_identity",
        "answer_info": {f"ans{n}": kind for n, kind in kinds.items()},
        "additional_metadata": {"subcategory": "None", "stereotyped_groups": "['F']", "version": "a", "source": "x"},
        "context": _text(number),
        "question": "Who stands there?",
        **{f"ans{n}": kind[0] for n, kind in kinds.items()},
        "answer_label": number % 3,
        "label": number % 3,
    }


def _discrim(number: int) -> Row:
    return {
        "filled_template": f"Case {number}: may {THINGS[number % 8]} pass?",
        "race": ("white", "black", "Asian", "hispanic", "native american")[number % 5],
        "gender": ("male", "female", "non-binary")[number % 3],
        "age": 20 + 10 * (number % 4),
        "decision_question_id": 1 + number % 2,
    }


def _choices(number: int, letters: str = "ABCDE") -> Row:
    return {"text": [f"{THINGS[(number + n) % 8]}" for n in range(len(letters))], "label": list(letters)}


MAKERS: dict[str, Callable[[int], Row]] = {
    "nyu-mll/glue/sst2/train,validation": lambda n: {"sentence": _text(n), "label": n % 2},
    "nyu-mll/glue/qnli/train,validation": lambda n: {"question": f"Which {n}?", "sentence": _text(n), "label": n % 2},
    "nyu-mll/glue/qqp/train,validation": lambda n: {"question1": f"Which {n}?", "question2": _text(n), "label": n % 2},
    "nyu-mll/glue/rte/train,validation": _pair,
    "nyu-mll/glue/wnli/train,validation": _pair,
    "aps/super_glue/copa/train,validation": lambda n: {
        "premise": _text(n), "choice1": _text(n + 1), "choice2": _text(n + 2, "lies"),
        "question": ("cause", "effect")[n % 2], "label": n % 2, "idx": n,
    },
    "aps/super_glue/wic/train,validation": lambda n: {**_pair(n), "start1": 4, "end1": 9, "word": "lamp"},
    "aps/super_glue/wsc.fixed/train,validation": _wsc,
    "aps/super_glue/boolq/train,validation": lambda n: {"passage": _text(n), "question": f"is it {n}", "label": n % 2},
    "aps/super_glue/multirc/train,validation": lambda n: {
        "paragraph": _text(n), "question": f"What, {n}?", "answer": THINGS[n % 8], "label": n % 2,
        "idx": {"paragraph": n // 2, "question": n // 2, "answer": n},
    },
    "Idavidrein/gpqa/gpqa_main/train": _gpqa,
    "Idavidrein/gpqa/gpqa_diamond/train": _gpqa,
    "Idavidrein/gpqa/gpqa_extended/train": _gpqa,
    "Anthropic/discrim-eval/explicit/train": _discrim,
    "allenai/swag/regular/train,validation": lambda n: {
        "startphrase": f"The {THINGS[n % 8]}", "label": n % 4, **{f"ending{k}": _text(n + k) for k in range(4)},
    },
    "EleutherAI/logiqa/logiqa/train,validation,test": lambda n: {
        "context": _text(n), "question": f"What follows from {n}?", "options": list(THINGS[:4]), "label": "abcd"[n % 4],
    },
    "EleutherAI/race/high/test": _race,
    "EleutherAI/headqa/en/train,validation,test": lambda n: {
        "qtext": _text(n), "ra": 1 + n % 4, "answers": [{"aid": k + 1, "atext": THINGS[k]} for k in range(4)],
    },
    "EleutherAI/asdiv/default/validation": lambda n: {
        "body": f"Ann has {n} apples.", "question": "How many?", "answer": f"{n} (apples)",
    },
    "EleutherAI/hendrycks_ethics/commonsense/train,test": lambda n: {"input": _text(n), "label": n % 2},
    "EleutherAI/hendrycks_ethics/justice/train,test": lambda n: {"scenario": _text(n), "label": n % 2},
    "EleutherAI/hendrycks_ethics/deontology/train,test": lambda n: {
        "scenario": _text(n), "excuse": _text(n + 1), "label": n % 2,
    },
    "EleutherAI/hendrycks_ethics/virtue/train,test": lambda n: {"scenario": _text(n), "trait": "calm", "label": n % 2},
    "Muennighoff/babi/default/train,valid,test": lambda n: {
        "passage": _text(n) + "\n", "question": "Where is it?", "answer": THINGS[n % 8], "task": 1,
    },
    "oskarvanderwal/bbq/All/test": _bbq,
    "skg/toxigen-data/annotated/train,test": lambda n: {
        "text": _text(n), "toxicity_ai": float(n % 5), "toxicity_human": float(n % 4),
    },
    "tau/commonsense_qa/default/train,validation": lambda n: {
        "question": f"What is {n}?", "choices": _choices(n), "answerKey": "ABCDE"[n % 5],
    },
    "openlifescienceai/medmcqa/default/train,validation": lambda n: {
        "question": f"What is {n}?", "opa": "one", "opb": "two", "opc": "three", "opd": "four", "cop": n % 4,
    },
    "bigbio/pubmed_qa/pubmed_qa_labeled_fold0_source/train,validation,test": lambda n: {
        "CONTEXTS": [_text(n), _text(n + 1)], "QUESTION": f"Is it {n}?",
        "final_decision": ("yes", "no", "maybe")[n % 3],
    },
    "LSDSem/story_cloze/2018/validation,test": lambda n: {
        **{f"input_sentence_{k}": _text(n + k) for k in range(1, 5)}, "answer_right_ending": 1 + n % 2,
        "sentence_quiz1": _text(n + 5), "sentence_quiz2": _text(n + 6),
    },
    "community-datasets/qa4mre/2011.main.EN/train": lambda n: {
        "document_str": _text(n), "question_str": f"What is {n}?", "correct_answer_id": str(1 + n % 4),
        "answer_options": {"answer_id": ["1", "2", "3", "4"], "answer_str": list(THINGS[:4])},
    },
    "facebook/anli/default/train_r1,dev_r1,test_r1": lambda n: {
        "premise": _text(n), "hypothesis": _text(n + 1), "label": n % 3,
    },
    "hazyresearch/based-swde-v2/default/validation": lambda n: {"text": f"{_text(n)} name:", "value": THINGS[n % 8]},
    "hazyresearch/based-fda/default/validation": lambda n: {"text": f"{_text(n)} name:", "value": THINGS[n % 8]},
    "juletxara/mgsm/en/train,test": lambda n: {
        "question": f"Question: What is {n} and 1?", "answer": f"Step-by-Step Answer: The answer is {n + 1}.",
        "answer_number": n + 1, "equation_solution": "",
    },
    "juletxara/mgsm/fr/train,test": lambda n: {
        "question": f"Question : combien font {n} et 1 ?",
        "answer": f"Réponse étape par étape : La réponse est {n + 1}.", "answer_number": n + 1, "equation_solution": "",
    },
    "nyu-mll/blimp/wh_island/train": lambda n: {"sentence_good": _text(n), "sentence_bad": _text(n, "stand")},
    "nyu-mll/blimp/principle_A_case_1/train": lambda n: {"sentence_good": _text(n), "sentence_bad": _text(n, "stand")},
    "facebook/xnli/en/train,validation": lambda n: {"premise": _text(n), "hypothesis": _text(n + 1), "label": n % 3},
    "facebook/xnli/fr/train": lambda n: {"premise": _text(n), "hypothesis": _text(n + 1), "label": n % 3},
    "stanfordnlp/web_questions/default/train": lambda n: {"question": f"What is {n}?", "answers": [THINGS[n % 8]]},
    "truthfulqa/truthful_qa/generation/validation": lambda n: {
        "type": "x", "category": "y", "question": f"What is {n}?", "best_answer": THINGS[n % 8],
        "correct_answers": list(THINGS[:2]), "incorrect_answers": list(THINGS[2:4]), "source": "",
    },
    "lighteval/squad_v2/default/train,validation": lambda n: {
        "id": str(n), "title": "t", "context": _text(n), "question": f"What is {n}?",
        "answers": {"text": [THINGS[n % 8]] if n % 2 else [], "answer_start": [4] if n % 2 else []},
    },
    "ambean/lingOly/default/test": lambda n: {
        "overall_question_n": n, "obfuscated": "False", "preamble": _text(n), "context": _text(n),
        "questions": json.dumps([{"prompt": "p", "question_n": "1", "subprompts": [
            {"questionpart_n": "a", "question": "q", "answer": THINGS[n % 8]}]}]),
    },
    "own/questions/default/train,test": lambda n: {
        "question": f"What stands near the {THINGS[n % 8]}, {n}?", "passage": _text(n), "options": list(THINGS[:3]),
        "gold": n % 3, "letter": "ABC"[n % 3], "is_right": bool(n % 2), "golds": [n % 3, 2], "which": n % 2,
        "answer": THINGS[n % 4], "answers": [THINGS[n % 4], f"the {THINGS[n % 4]}"],
    },
    "cais/mmlu/world_religions/dev,test": _mmlu,
    "cais/mmlu/anatomy/validation": _mmlu,
    "cais/mmlu/professional_law/validation": _mmlu,
    "EleutherAI/lambada_openai/en/test": lambda n: {"text": f"{_text(n)} It was a {THINGS[n % 8]}"},
}  # fmt: skip
"""`<org>/<name>/<config>/<splits>` → what makes a row of a number."""
FILES: dict[str, Callable[[int], Row]] = {
    "EleutherAI/arithmetic/data/two_digit_addition": lambda n: {
        "context": f"Question: What is {n} plus 1?\nAnswer:", "completion": f" {n + 1}",
    },
    "corypaik/prost/data/default": lambda n: {
        "context": _text(n), "ex_question": "Which?", "label": n % 4,
        "A": "one", "B": "two", "C": "three", "D": "four",
    },
}  # fmt: skip
"""The same of files that tasks name by their address."""


def data_root(folder: Path, given: Path | None = None) -> Path:
    """A data root with the fixtures, the rows of the tests of `lm_eval:` tasks, and those of this file.

    A configuration that `given` holds with all splits that would be made up stands in their place.
    """
    root = make_data_root(folder)
    for config in () if given is None else given.glob("*/*/*"):
        _take(config, root / config.relative_to(config.parents[2]))
    for place, make in _places():
        target = root / f"{place}.jsonl"
        for linked in (target.parent.parent, target.parent):
            if linked.is_symlink() and not target.exists():
                _own_folder(linked)
        if not target.exists():
            write(target, [make(number) for number in range(MANY if make is _discrim else COUNT)])
    return root


def _take(config: Path, to: Path) -> None:
    """Links a configuration of another data root, unless one here has a split that is not there."""
    splits = {file.name for file in to.glob("*.jsonl")} | {
        f"{split}.jsonl" for place, _ in _places() for folder, _, split in [place.rpartition("/")] if to.match(folder)
    }
    if not config.is_dir() or not splits <= {file.name for file in config.glob("*.jsonl")}:
        return
    if to.parent.is_symlink():
        _own_folder(to.parent)
    if to.is_symlink():
        to.unlink()
    to.parent.mkdir(parents=True, exist_ok=True)
    to.symlink_to(config.resolve(), target_is_directory=True)


def _own_folder(linked: Path) -> None:
    """A folder of links to what is inside, where a link to the folder stood: others may lie beside that."""
    target = linked.resolve()
    linked.unlink()
    linked.mkdir()
    for inner in target.iterdir():
        (linked / inner.name).symlink_to(inner, target_is_directory=inner.is_dir())


def _places() -> Iterator[tuple[str, Callable[[int], Row]]]:
    for place, make in MAKERS.items():
        folder, _, splits = place.rpartition("/")
        yield from ((f"{folder}/{split}", make) for split in splits.split(","))
    yield from FILES.items()

"""Facts about a small world, spelled out in Czech or French: statements, questions, and what is kept for the tasks.

Every row of a table (a country, an animal) is said in several wordings. One question wording of some rows, and one
combined statement of most things, never reaches the training text: those become the items of the demo tasks.
"""

from __future__ import annotations

import csv
import json
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchbench.core.types import Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


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
    choice_items: tuple[Mapping[str, Json], ...]
    trivia_items: tuple[Mapping[str, Json], ...]


def read_text(name: str) -> str:
    """Text of a file of the demo's `data` folder."""
    return files("benchbench.extensions.demo").joinpath("data", *name.split("/")).read_text(encoding="utf-8")


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


def _thing_statements(things: Sequence[Row], templates: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Json]]]:
    documents: list[str] = []
    items: list[dict[str, Json]] = []
    for index, row in enumerate(things):
        documents += [wording.format(**row) for wording in templates["statements"]]
        if _shows_combination(index):
            documents.append(templates["held_out"].format(**row))
        else:
            items.append(_choice_item(row, things, templates["held_out"]))
    return documents, items


def _shows_combination(index: int) -> bool:
    return index % (HELD_OUT_THINGS + 1) == HELD_OUT_THINGS


def _choice_item(row: Row, things: Sequence[Row], wording: str) -> dict[str, Json]:
    """How does this thing's sentence go on? The wrong endings belong to other things of its domain."""
    rng = random.Random(f"choice {row['entity']}")  # noqa: S311 - a fixed shuffle
    ending = wording.removeprefix("{Entity} ")
    others = [other for other in things if other["domain"] == row["domain"] and other is not row]
    picked = [row, *rng.sample(others, CHOICES - 1)]
    rng.shuffle(picked)
    choices: list[Json] = [ending.format(**one) for one in picked]
    return {"stem": row["Entity"], "choices": choices, "label": picked.index(row), "domain": row["domain"]}


def _thing_questions(things: Sequence[Row], templates: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Json]]]:
    documents: list[str] = []
    items: list[dict[str, Json]] = []
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
) -> tuple[list[str], list[dict[str, Json]]]:
    documents: list[str] = []
    items: list[dict[str, Json]] = []
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


TRAINING_PAIRS = 560
TEST_PAIRS = 80
VOWELS = "aeiouyhéèêœ"
"""French nouns of the lists that begin so take `l'` (their h is mute)."""


@cache
def sentence_pairs() -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    """(pairs to train on, pairs of the task): (Czech, French) sentences, no Czech or French sentence in both."""
    words = json.loads(read_text("pairs.json"))
    pairs = sorted({*_actions(words), *_deeds(words)})
    random.Random("sentence pairs").shuffle(pairs)  # noqa: S311 - a fixed shuffle
    test, rest = pairs[:TEST_PAIRS], pairs[TEST_PAIRS:]
    shown = {text for pair in test for text in pair}
    training = [pair for pair in rest if not shown & set(pair)]
    return tuple(training[:TRAINING_PAIRS]), tuple(test)


def pair_documents() -> list[str]:
    """The training pairs as documents: all from Czech to French, every third also back."""
    words = json.loads(read_text("pairs.json"))
    documents = []
    for index, (czech, french) in enumerate(sentence_pairs()[0]):
        wording = words["forward"][1 if index % 4 == 3 else 0]
        documents.append(wording.format(cs=czech, fr=french))
        if index % 3 == 0:
            documents.append(words["backward"].format(cs=czech, fr=french))
    return documents


def _actions(words: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Somebody does something somewhere: `Malý pes spí v zahradě.`"""
    for subject, action, place in product(words["subjects"], words["actions"], words["places"]):
        if subject["kind"] in action["kinds"]:
            for czech, french in _noun_phrases(subject, words["adjectives"]):
                yield _sentence(f"{czech} {action['cs']} {place['cs']}", f"{french} {action['fr']} {place['fr']}")


def _deeds(words: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Somebody does something to a thing, perhaps at a time: `Večer babička čte knihu.`"""
    people = [subject for subject in words["subjects"] if subject["kind"] == "person"]
    for subject, deed in product(people, words["deeds"]):
        for thing in deed["objects"]:
            verbs = f"{deed['cs']} {thing}", f"{deed['fr']} {words['objects'][thing]}"
            for czech, french in _noun_phrases(subject, words["adjectives"]):
                yield _sentence(f"{czech} {verbs[0]}", f"{french} {verbs[1]}")
            for time in words["times"]:
                czech, french = next(_noun_phrases(subject, ()))
                yield _sentence(f"{time['cs']} {czech} {verbs[0]}", f"{time['fr']}, {french} {verbs[1]}")


def _noun_phrases(subject: Mapping[str, Any], adjectives: Any) -> Iterator[tuple[str, str]]:
    """The subject alone and with each adjective that suits it, agreeing in gender."""
    noun, gender = subject["fr"], subject["fr_gender"]
    plain = f"l'{noun}" if noun[0] in VOWELS else f"{_article(gender)} {noun}"
    yield subject["cs"], plain
    for adjective in adjectives:
        if subject["kind"] in adjective["kinds"]:
            czech = f"{adjective['cs'][subject['cs_gender']]} {subject['cs']}"
            described = adjective["fr"][gender]
            before = f"{_article(gender)} {described} {noun}"
            yield czech, before if adjective["before"] else f"{plain} {described}"


def _article(gender: str) -> str:
    return "la" if gender == "f" else "le"


def _sentence(czech: str, french: str) -> tuple[str, str]:
    return capitalise(czech) + ".", capitalise(french) + "."


@cache
def corpus() -> tuple[str, ...]:
    """Every training document once, in a fixed order."""
    documents = [document for language in LANGUAGES for document in facts(language).documents]
    return tuple(dict.fromkeys(documents + pair_documents()))


def task_items() -> dict[str, Sequence[Mapping[str, Json]]]:
    """File name (without `.jsonl`) → the docs of that demo task."""
    trivia = [{"language": language, **item} for language in LANGUAGES for item in facts(language).trivia_items]
    return {
        "choice_cs": facts("cs").choice_items,
        "choice_fr": facts("fr").choice_items,
        "trivia": trivia,
        "translation": [{"cs": czech, "fr": french} for czech, french in sentence_pairs()[1]],
    }


def write_items(folder: Path) -> None:
    """Write the items as `<name>.jsonl` into `folder`, one JSON object per line."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, docs in task_items().items():
        text = "".join(json.dumps(doc, ensure_ascii=False) + "\n" for doc in docs)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_items(Path(sys.argv[1]))


END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(documents: Iterable[str], *, vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Learn `vocab_size` tokens (256 bytes, the end-of-text token and merges). Same text, same tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=END_OF_TEXT,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )

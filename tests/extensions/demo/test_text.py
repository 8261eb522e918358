import json
import unicodedata
from collections import Counter

import pytest

from benchbench.extensions.demo.text import (
    LANGUAGES,
    capitalise,
    corpus,
    facts,
    read_table,
    read_text,
    sentence_pairs,
    task_items,
    write_items,
)
from tests.conftest import REPO

TASKS = REPO / "tasks" / "demo"
CZECH = set("aábcčdďeéěfghiíjklmnňoópqrřsštťuúůvwxyýzž")
FRENCH = set("aàâbcçdeéèêëfghiîïjklmnoôœpqrstuùûvwxyz")
TABLES = ("countries", "young", "order", "opposites", "colours", "materials", "numbers")


def simple(text):
    """Lower case, single spaces: a copy with another first letter is still a copy."""
    return " ".join(text.lower().split())


@pytest.fixture(scope="module")
def trained_on():
    return "\n\n".join(map(simple, corpus()))


def test_the_corpus_has_some_thousand_distinct_documents():
    assert 3000 <= len(corpus()) <= 8000
    assert len(set(map(simple, corpus()))) == len(corpus())


def test_every_text_is_in_composed_form_and_has_no_stray_space():
    items = [json.dumps(doc, ensure_ascii=False) for docs in task_items().values() for doc in docs]
    for text in [*corpus(), *items]:
        assert unicodedata.is_normalized("NFC", text), text
        assert "  " not in text, text
        assert text == text.strip(), text
        assert "{" not in text or text in items, text


def test_czech_and_french_use_their_own_letters():
    for language, letters in (("cs", CZECH), ("fr", FRENCH)):
        text = read_text(f"{language}/stories.txt") + read_text(f"{language}/things.tsv")
        strange = {letter for letter in text.lower() if letter.isalpha()} - letters
        assert not strange, (language, strange)
    for czech, french in (pair for part in sentence_pairs() for pair in part):
        assert {letter for letter in czech.lower() if letter.isalpha()} <= CZECH, czech
        assert {letter for letter in french.lower() if letter.isalpha()} <= FRENCH, french


def test_no_item_stands_in_the_training_text(trained_on):
    items = task_items()
    assert min(map(len, items.values())) >= 30
    for name in ("choice_cs", "choice_fr"):
        for doc in items[name]:
            assert simple(f"{doc['stem']} {doc['choices'][doc['label']]}") not in trained_on, doc
            assert simple(doc["choices"][doc["label"]]).removesuffix(".") not in trained_on, doc
    for doc in items["trivia"]:
        assert simple(doc["question"]) not in trained_on, doc
    for doc in items["translation"]:
        assert not any(doc["cs"] in document or doc["fr"] in document for document in corpus()), doc


def test_what_the_items_ask_for_is_taught_in_other_words(trained_on):
    assert len(task_items()["trivia"]) >= 30
    for doc in task_items()["trivia"]:
        assert simple(doc["answer"]) in trained_on, doc
    for language in LANGUAGES:
        for row in read_table(f"{language}/things.tsv"):
            for half in ("first", "second"):
                assert simple(f"{row['entity']} {row[half]}.") in trained_on, row


def test_questions_with_one_wording_have_one_answer():
    asked = {}
    for document in corpus():
        if document.startswith(("Otázka: ", "Question : ")):
            question, answer = document.split("\n")
            asked.setdefault(question, set()).add(answer)
    for doc in task_items()["trivia"]:
        head = "Otázka: " if doc["language"] == "cs" else "Question : "
        assert head + doc["question"] not in asked
    assert asked
    assert all(len(answers) == 1 for answers in asked.values()), [q for q, a in asked.items() if len(a) > 1]


def test_every_fact_has_one_value_in_its_table():
    assert list(LANGUAGES) == ["cs", "fr"]
    for language in LANGUAGES:
        for table in TABLES:
            rows = read_table(f"{language}/{table}.tsv")
            first = [tuple(row.values())[1 if table == "order" else 0] for row in rows]
            assert len(set(first)) == len(first), (language, table)
            assert all(value.strip() for row in rows for value in row.values()), (language, table)
        things = read_table(f"{language}/things.tsv")
        said = Counter(row[half] for row in things for half in ("first", "second"))
        joined = Counter((row["domain"], row["first"], row["second"]) for row in things)
        assert max(joined.values()) == 1
        assert len({row["entity"] for row in things}) == len(things)
        assert [half for half, count in said.items() if count > 2] == []


def test_both_languages_say_the_same_of_the_world():
    assert [len(read_table(f"cs/{table}.tsv")) for table in TABLES] == [
        len(read_table(f"fr/{table}.tsv")) for table in TABLES
    ]
    order = read_table("cs/order.tsv")
    successors = {row["x"]: row["next"] for row in order}
    day = "pondělí"
    for _ in range(7):
        day = successors[day]
    assert day == "pondělí"
    month = "leden"
    for _ in range(12):
        month = successors[month]
    assert month == "leden"


def test_choice_docs_have_four_different_choices_and_one_is_their_own():
    assert list(LANGUAGES) == ["cs", "fr"]
    for language in LANGUAGES:
        things = {row["Entity"]: row for row in read_table(f"{language}/things.tsv")}
        docs = facts(language).choice_items
        assert 60 <= len(docs) <= 100
        for doc in docs:
            row = things[doc["stem"]]
            own = doc["choices"][doc["label"]]
            assert row["first"] in own
            assert row["second"] in own
            assert len(set(doc["choices"])) == 4
            for choice in set(doc["choices"]) - {own}:
                assert row["first"] not in choice or row["second"] not in choice
        labels = Counter(doc["label"] for doc in docs)
        assert max(labels.values()) <= len(docs) * 0.4, labels


def test_translations_are_functions_of_the_sentence():
    training, test = sentence_pairs()
    assert 60 <= len(test) <= 100
    assert len({czech for czech, _ in training + test}) == len(training + test)
    for czech, french in training + test:
        assert czech == capitalise(czech)
        assert french.endswith(".")
        for wrong in ("le o", "le ho", "le e", "la e", "le a", "de le ", "le vieux o"):
            assert f" {wrong}" not in f" {french.lower()}", french


def test_the_task_files_are_what_the_generator_writes(tmp_path):
    write_items(tmp_path)
    assert {path.stem for path in tmp_path.iterdir()} == set(task_items()) != set()
    for name in task_items():
        assert (tmp_path / f"{name}.jsonl").read_bytes() == (TASKS / f"{name}.jsonl").read_bytes(), (
            f"{name}.jsonl is not what the word lists give: python -m benchbench.extensions.demo.text tasks/demo"
        )

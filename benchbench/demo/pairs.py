"""Czech sentences with their French translations, made from word lists; some are kept for the translation task."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any

from benchbench.demo.facts import capitalise, read_text

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

"""Exact match, word F1 and inclusion of short answers, with the normalisations of lm-eval, SQuAD and FrenchBench."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from benchbench.core.errors import TaskError, did_you_mean

ARTICLES = {"squad": ("a", "an", "the"), "french": ("un", "une", "des", "le", "la", "les")}
"""Words that an answer may have or lack. French as in FrenchBench: l' and d' stay."""

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_DIGITS = str.maketrans("", "", string.digits)


def normalize_answer(text: str, language: str) -> str:
    """Lower case, no ASCII punctuation, no articles, single spaces; `none` leaves the text as it is.

    Source: SQuAD's evaluation script (Rajpurkar et al., arXiv 1606.05250) and FrenchBench's copy of it.

    Raises:
        TaskError: no normalisation of this name.
    """
    if language == "none":
        return text
    if language not in ARTICLES:
        known = [*ARTICLES, "none"]
        raise TaskError(
            f"No normalization named {language!r}.{did_you_mean(language, known)} Known: {', '.join(known)}."
        )
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(_articles(language).sub(" ", bare).split())


@lru_cache
def _articles(language: str) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(ARTICLES[language])})\b")


def simplify(
    text: str,
    *,
    regexes_to_ignore: Sequence[str] | None = None,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    normalization: str = "none",
) -> str:
    """A text as exact match compares it: patterns removed in order, then case, punctuation and digits.

    Raises:
        TaskError: a pattern is no regular expression, or no normalisation has this name.
    """
    for pattern in regexes_to_ignore or ():
        text = _compiled(pattern).sub("", text)
    if ignore_case:
        text = text.lower()
    if ignore_punctuation:
        text = text.translate(_PUNCTUATION)
    if ignore_numbers:
        text = text.translate(_DIGITS)
    return normalize_answer(text, normalization)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise TaskError(f"regexes_to_ignore: {pattern!r} is no regular expression: {error}.") from error


def exact_match(prediction: str, targets: Sequence[str], **options: Any) -> float:
    """1 if the text equals a target, both simplified alike; the options are those of `simplify`."""
    answer = simplify(prediction, **options)
    return float(any(answer == simplify(target, **options) for target in targets))


def is_included(prediction: str, targets: Sequence[str], **options: Any) -> float:
    """1 if the text contains a target, both simplified alike; the options are those of `simplify`."""
    answer = simplify(prediction, **options)
    return float(any(simplify(target, **options) in answer for target in targets))


def f1(prediction: str, targets: Sequence[str], *, normalization: str = "squad") -> float:
    """Best F1 of shared words over the targets. Two empty texts match, an empty and a full one do not."""
    words = normalize_answer(prediction, normalization).split()
    return max((_word_f1(words, normalize_answer(target, normalization).split()) for target in targets), default=0.0)


def _word_f1(words: list[str], target: list[str]) -> float:
    if not words or not target:
        return float(words == target)
    shared = sum((Counter(words) & Counter(target)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(words), shared / len(target)
    return 2 * precision * recall / (precision + recall)

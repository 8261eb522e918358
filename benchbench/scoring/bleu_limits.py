"""Texts of which BLEU says little: fewer than four tokens, or a script that its tokenizer does not know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from benchbench.core.types import Json
from benchbench.scoring.generation import corpus_score

FOUR = 4
_NO_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese: words without spaces between them."""
SHARE = 0.2
"""Of a text's signs in such a script, from which it is in it."""
_WITH_SPACES = ("13a", "intl", "none")


def limits_of_bleu(pairs: Sequence[tuple[str, Sequence[str]]], options: Mapping[str, Json]) -> Iterator[str]:
    """Sentences on BLEU of right answers, each with its targets. Source: Post 2018, arXiv 1804.08771."""
    answers = [answer for answer, _ in pairs]
    value = corpus_score("bleu", answers, [targets for _, targets in pairs], options).estimate.value
    short = sum(_words(answer) < FOUR for answer in answers)
    tokenizer = options.get("tokenize") or "13a"
    if tokenizer in _WITH_SPACES and 2 * sum(map(_has_no_spaces, answers)) > len(answers):
        yield (
            f"bleu: the tokenizer {tokenizer!r} knows no words of a script without spaces: each sentence is one token; "
            "give `tokenize: zh` (Chinese), char or flores200"
        )
    elif value < 100 - 1e-6 or 2 * short > len(answers):
        yield (
            f"bleu: the gold answers get {value:.2f} of 100: {short:,} of {len(answers):,} have fewer than four words, "
            "and BLEU counts runs of four; chrf suits short texts"
        )


def _words(text: str) -> int:
    return len(_NO_SPACES.findall(text)) or len(text.split())


def _has_no_spaces(text: str) -> bool:
    return len(_NO_SPACES.findall(text)) > SHARE * max(len(text), 1)

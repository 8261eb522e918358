"""ROUGE by Google's rouge-score, loaded when first used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from benchbench.core.errors import TaskError
from benchbench.scoring.plugins import TextMetric

TOKENIZERS = ("default", "unicode")


class UnicodeTokenizer:
    """Lower-cased runs of letters and digits of any script.

    rouge-score's own tokenizer knows a to z and 0 to 9 only: it cuts Czech and French words at every
    accent. It stays the default, because published numbers use it.
    """

    def tokenize(self, text: str) -> list[str]:
        """Words of a text."""
        return re.findall(r"\w+", text.lower())


def rouge(name: str) -> TextMetric:
    """The metric rouge1, rouge2, rougeL or rougeLsum: best F-measure over the targets, 0 to 1."""

    def metric(
        prediction: str, targets: Sequence[str], *, use_stemmer: bool = False, tokenizer: str = "default"
    ) -> float:
        scorer = _scorer(name, use_stemmer, tokenizer)
        return max((float(scorer.score(target, prediction)[name].fmeasure) for target in targets), default=0.0)

    return metric


@lru_cache(maxsize=16)
def _scorer(name: str, use_stemmer: bool, tokenizer: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    if tokenizer not in TOKENIZERS:
        raise TaskError(f"{name} has no tokenizer {tokenizer!r}; it has {' and '.join(TOKENIZERS)}.")
    if tokenizer == "unicode" and use_stemmer:
        raise TaskError(f"{name}: the stemmer is English and goes with tokenizer default only.")
    return RougeScorer([name], use_stemmer, tokenizer=UnicodeTokenizer() if tokenizer == "unicode" else None)

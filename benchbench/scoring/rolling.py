"""Likelihood of whole texts: perplexity per word and per byte, and bits per byte.

Words and bytes are counted as lm-eval counts them, on the doc's first target. That is the text itself,
or another text where the benchmark says so: wikitext lets the model read the detokenised page, but
counts on the original one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from benchbench.core.types import ItemScore, Loglikelihood, RenderedDoc, ScoringSpec
from benchbench.scoring.choice import count_bytes
from benchbench.scoring.columns import columns


def count_words(text: str) -> int:
    """Pieces between white space; an empty text and one at a text's edge count too, as in lm-eval."""
    return len(re.split(r"\s+", text))


def units(metric: str, text: str) -> int:
    """How many words (word_perplexity) or UTF-8 bytes (all others) a text has."""
    return count_words(text) if metric == "word_perplexity" else count_bytes(text)


def score_rolling(spec: ScoringSpec, rendered: RenderedDoc, responses: Sequence[Loglikelihood]) -> ItemScore:
    """Each text's own perplexities; None where a text has no bytes or the value exceeds a float."""
    total = math.fsum(response.total for response in responses)
    text = rendered.targets[0]
    scores = {
        column.name: _item_score(column.metric.name, total, units(column.metric.name, text)) for column in columns(spec)
    }
    return ItemScore(scores, None, "answered")


def _item_score(metric: str, total: float, count: int) -> float | None:
    if count == 0:
        return None
    if metric == "bits_per_byte":
        return -total / count / math.log(2)
    try:
        return math.exp(-total / count)
    except OverflowError:
        return None

"""BLEU, chrF, chrF++ and TER by sacrebleu, loaded when first used.

Items get sentence scores; a task's row is sacrebleu's corpus score, recomputed with each segment left
out from sacrebleu's own sufficient statistics, so that 3,000 segments take a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchbench.core.errors import TaskError
from benchbench.core.types import Json
from benchbench.scoring.filters import TextMetric
from benchbench.stats.influence import Estimate, jackknife_sums

FOUR_GRAMS = 5
"""Their place in sacrebleu's sufficient statistics of BLEU: two lengths, then matches of one to four words."""


class CorpusScore(NamedTuple):
    """A corpus score with its influence values, and the signature that says how it was computed."""

    estimate: Estimate
    signature: str
    lengths: tuple[int, ...]
    """Characters of each segment's first target: how much it weighs, about."""
    matches: int | None = None
    """Four-grams that match a target, in all segments; of BLEU alone."""


def sentence_score(name: str) -> TextMetric:
    """The item metric bleu, chrf, chrf++ or ter: sacrebleu's sentence score against all targets."""

    def metric(prediction: str, targets: Sequence[str], **options: Json) -> float:
        engine = _engine(name, options, sentence=True)
        return float(engine.sentence_score(prediction, list(targets)).score)

    return metric


def corpus_score(
    name: str, predictions: Sequence[str], targets: Sequence[Sequence[str]], options: Mapping[str, Json]
) -> CorpusScore:
    """sacrebleu's corpus score of the predictions, each against its own targets (at least one).

    Raises:
        TaskError: sacrebleu does not accept an option.
    """
    engine = _engine(name, options, sentence=False)
    most = max(len(right) for right in targets)
    streams = [[right[k] if k < len(right) else None for right in targets] for k in range(most)]
    statistics = engine._extract_corpus_statistics(list(predictions), streams)
    estimate = jackknife_sums(statistics, lambda sums: float(engine._compute_score_from_stats(sums).score))
    lengths = tuple(1 + len(right[0]) for right in targets)
    matches = int(sum(row[FOUR_GRAMS] for row in statistics)) if name == "bleu" else None
    return CorpusScore(estimate, f"{name}|{engine.get_signature()}", lengths, matches)


def _engine(name: str, options: Mapping[str, Json], *, sentence: bool) -> Any:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    chosen: dict[str, Any] = dict(options)
    try:
        match name:
            case "bleu":
                return BLEU(effective_order=sentence, force=True, **chosen)
            case "chrf":
                return CHRF(**chosen)
            case "chrf++":
                return CHRF(word_order=2, **chosen)
            case "ter":
                return TER(**chosen)
    except (TypeError, ValueError, AssertionError) as error:
        raise TaskError(f"sacrebleu refuses {name} with {chosen}: {error}.") from error
    raise TaskError(f"No translation metric named {name!r}; there are bleu, chrf, chrf++ and ter.")

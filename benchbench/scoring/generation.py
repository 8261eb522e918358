"""Generated text against its targets: exact match, word F1, inclusion, ROUGE; BLEU, chrF, chrF++ and TER by sacrebleu.

Answers are normalised as in lm-eval, SQuAD and FrenchBench. Of sacrebleu's metrics items get sentence scores; a task's
row is the corpus score, recomputed with each segment left out from sacrebleu's own sufficient statistics, so that 3,000
segments take a second.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from benchbench.core import patterns
from benchbench.core.errors import BenchbenchError, TaskError, did_you_mean
from benchbench.core.registry import METRIC_GROUP
from benchbench.core.task_scoring import ScoreColumn, columns
from benchbench.core.types import Completion, ItemScore, Json, Outcome, RenderedDoc, ScoringSpec
from benchbench.scoring.filters import FilterContext, Filtered, TextMetric, apply_filter, find_by_name
from benchbench.scoring.typography import plain_numbers, plain_signs, without_punctuation
from benchbench.stats.influence import Estimate, jackknife_sums

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


def simplify(  # noqa: PLR0913 - the first options are lm-eval's
    text: str,
    *,
    regexes_to_ignore: Sequence[str] | None = None,
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    normalization: str | None = None,
    ignore_typography: bool = False,
    numbers: str | None = None,
) -> str:
    """A text as exact match compares it: patterns removed in order, then case, punctuation and digits.

    With `ignore_typography` texts that look equal are equal, and all of Unicode's punctuation counts as such.

    Raises:
        TaskError: a pattern is no regular expression, or no normalisation has this name.
    """
    for pattern in regexes_to_ignore or ():
        text = _without(pattern, text)
    if ignore_typography:
        text = plain_signs(text)
    if numbers is not None:
        text = plain_numbers(text, numbers)
    if ignore_case:
        text = text.lower()
    if ignore_punctuation:
        text = without_punctuation(text) if ignore_typography else text.translate(_PUNCTUATION)
    if ignore_numbers:
        text = text.translate(_DIGITS)
    if normalization not in (None, "none"):
        text = normalize_answer(without_punctuation(text) if ignore_typography else text, str(normalization))
    return " ".join(text.split()) if ignore_typography else text


def _without(pattern: str, text: str) -> str:
    try:
        return patterns.sub(pattern, "", text)
    except re.error as error:
        raise TaskError(f"regexes_to_ignore: {pattern!r} is no regular expression: {error}.") from error


def exact_match(prediction: str, targets: Sequence[str], **options: Any) -> float:
    """1 if the text equals a target, both simplified alike; the options are those of `simplify`.

    A target of which a normalisation of ours leaves nothing ("Un" without its articles) is compared as it is; lm-eval's
    own options are kept to the letter, and there it equals every text of which they leave nothing.
    """
    answer = simplify(prediction, **options)
    kept = options.get("normalization") in (None, "none") and not options.get("ignore_typography")
    for target in targets:
        wanted = simplify(target, **options)
        if answer == wanted and (kept or wanted or _same(prediction, target)):
            return 1.0
    return 0.0


def is_included(prediction: str, targets: Sequence[str], **options: Any) -> float:
    """1 if the text contains a target, both simplified alike; the options are those of `simplify`.

    A target of which they leave nothing has to be there as it is, as a word.
    """
    answer = simplify(prediction, **options)
    for target in targets:
        wanted = simplify(target, **options)
        is_there = wanted in answer if wanted.strip() else _holds_word(_bare(prediction), _bare(target))
        if is_there:
            return 1.0
    return 0.0


NORMALIZED = ("exact_match", "is_included", "f1")
"""Metrics that compare simplified texts."""


def simplified(metric: str, text: str, options: Mapping[str, Json]) -> str:
    """A text as one of NORMALIZED compares it."""
    chosen: dict[str, Any] = {"normalization": "squad"} if metric == "f1" else {}
    return simplify(text, **{**chosen, **options})


def _bare(text: str) -> str:
    """What two texts are compared by where a normalisation leaves nothing of one."""
    return " ".join(plain_signs(text).lower().split())


def _same(text: str, target: str) -> bool:
    """Whether two texts of which nothing is left are the same; a target without any text is every such text's."""
    return not target.strip() or _bare(text) == _bare(target)


def _holds_word(text: str, word: str) -> bool:
    return not word or re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def f1(
    prediction: str,
    targets: Sequence[str],
    *,
    normalization: str | None = "squad",
    ignore_typography: bool = False,
    numbers: str | None = None,
) -> float:
    """Best F1 of shared words over the targets. Two empty texts match, an empty and a full one do not.

    A target of which the normalisation leaves nothing is compared as it is.
    """
    language = normalization or "squad"

    def split(text: str) -> list[str]:
        if not ignore_typography and numbers is None:
            return normalize_answer(text, language).split()
        return simplify(text, normalization=language, ignore_typography=ignore_typography, numbers=numbers).split()

    words, best = split(prediction), 0.0
    for target in targets:
        wanted = split(target)
        if not wanted and not words:
            best = max(best, float(_same(prediction, target)))
        else:
            best = max(best, _word_f1(words, wanted))
    return best


def _word_f1(words: list[str], target: list[str]) -> float:
    if not words or not target:
        return float(words == target)
    shared = sum((Counter(words) & Counter(target)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(words), shared / len(target)
    return 2 * precision * recall / (precision + recall)


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
        _check_table(prediction, targets)
        return max((float(scorer.score(target, prediction)[name].fmeasure) for target in targets), default=0.0)

    return metric


MAX_TABLE = 50_000_000
"""Words of a text times words of a target: ROUGE-L compares each with each, and keeps all of it."""


def _check_table(prediction: str, targets: Sequence[str]) -> None:
    words = max((len(target.split()) for target in targets), default=0) * len(prediction.split())
    if words > MAX_TABLE:
        raise patterns.TooMuchWorkError(f"compares texts of more than {MAX_TABLE:,} pairs of words")


@lru_cache(maxsize=16)
def _scorer(name: str, use_stemmer: bool, tokenizer: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    if tokenizer not in TOKENIZERS:
        raise TaskError(f"{name} has no tokenizer {tokenizer!r}; it has {' and '.join(TOKENIZERS)}.")
    if tokenizer == "unicode" and use_stemmer:
        raise TaskError(f"{name}: the stemmer is English and goes with tokenizer default only.")
    return RougeScorer([name], use_stemmer, tokenizer=UnicodeTokenizer() if tokenizer == "unicode" else None)


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


TEXT_METRICS: dict[str, TextMetric] = {
    "exact_match": exact_match,
    "f1": f1,
    "is_included": is_included,
    **{name: rouge(name) for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")},
    **{name: sentence_score(name) for name in ("bleu", "chrf", "chrf++", "ter")},
}


def score_text(spec: ScoringSpec, rendered: RenderedDoc, completions: Sequence[Completion]) -> ItemScore:
    """Score one doc from its completions, one per repeat.

    Where a pipeline keeps several texts, an item's score is the mean of theirs: repeats of one doc are
    never counted as independent docs. The prediction is the first filter's first text. Text that ran into
    the token limit is scored all the same, as in lm-eval, and its item is `truncated`; an item in whose
    texts no filter found anything is `unanswered`.
    """
    context = FilterContext(_choices(rendered))
    texts = [completion.text for completion in completions]
    filtered: dict[str | None, Filtered] = {}
    for chosen in spec.filters or (None,):
        filtered[None if chosen is None else chosen.name] = apply_filter(chosen, texts, context)
    scores, broken = _scores(spec, filtered, rendered)
    first = next(iter(filtered.values()))
    outcome = _outcome(completions, list(filtered.values()))
    return ItemScore(scores, first.texts[0] if first.texts else None, outcome, explanation=broken)


def _scores(
    spec: ScoringSpec, filtered: Mapping[str | None, Filtered], rendered: RenderedDoc
) -> tuple[dict[str, float | None], str | None]:
    """The score of each column, and what some of them raised; these have None. What all raise is raised."""
    scores: dict[str, float | None] = {}
    broken: dict[str, Exception] = {}
    for column in columns(spec):
        try:
            scores[column.name] = _mean_score(
                column, filtered[None if column.filter is None else column.filter.name], rendered
            )
        except (BenchbenchError, patterns.TooMuchWorkError):
            raise
        except Exception as error:  # noqa: BLE001 - a metric that breaks costs its own column
            scores[column.name], broken[column.name] = None, error
    if broken and len(broken) == len(scores):
        raise next(iter(broken.values()))
    told = "; ".join(f"{name} raised {type(error).__name__}: {error}" for name, error in broken.items())
    return scores, told or None


def _mean_score(column: ScoreColumn, filtered: Filtered, rendered: RenderedDoc) -> float | None:
    metric = find_by_name(column.metric.name, TEXT_METRICS, METRIC_GROUP, "metric")
    options: dict[str, Json] = dict(column.metric.kwargs)
    found = [metric(text, rendered.targets, **options) for text in filtered.texts or ("",)]
    known = [float(value) for value in found if value is not None]
    return sum(known) / len(known) if known else None


def _outcome(completions: Sequence[Completion], filtered: Sequence[Filtered]) -> Outcome:
    if any(completion.finish_reason == "length" for completion in completions):
        return "truncated"
    return "answered" if any(result.found for result in filtered) else "unanswered"


def _choices(rendered: RenderedDoc) -> tuple[str, ...]:
    """Choices for filters that look for one: as rendered, else the doc's own field `choices`."""
    if rendered.choices:
        return rendered.choices
    listed = rendered.doc.fields.get("choices")
    return tuple(str(choice) for choice in listed) if isinstance(listed, list) else ()

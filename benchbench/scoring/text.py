"""Generated text: filters, then metrics of one text against the right texts.

Of several right texts the best counts. lm-eval reduces every metric with several targets to "any is not
zero", which turns an F1 of 0.1 into 1; for exact match both rules agree.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.core.types import Completion, ItemScore, Json, Outcome, RenderedDoc, ScoringSpec
from benchbench.scoring.columns import Column, columns
from benchbench.scoring.filters import Filtered, apply_filter
from benchbench.scoring.generation import exact_match, f1, is_included
from benchbench.scoring.plugins import FilterContext, TextMetric, find_metric
from benchbench.scoring.rouge import rouge
from benchbench.scoring.translation import sentence_score

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
    the token limit is judged all the same, as in lm-eval, and its item is `truncated`; an item in whose
    texts no filter found anything is `unanswered`.
    """
    context = FilterContext(_choices(rendered))
    texts = [completion.text for completion in completions]
    judged = columns(spec)
    filtered: dict[str | None, Filtered] = {}
    for chosen in spec.filters or (None,):
        filtered[None if chosen is None else chosen.name] = apply_filter(chosen, texts, context)
    scores = {
        column.name: _mean_score(column, filtered[None if column.filter is None else column.filter.name], rendered)
        for column in judged
    }
    first = next(iter(filtered.values()))
    return ItemScore(scores, first.texts[0] if first.texts else None, _outcome(completions, list(filtered.values())))


def _mean_score(column: Column, filtered: Filtered, rendered: RenderedDoc) -> float | None:
    metric = find_metric(column.metric.name, TEXT_METRICS)
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

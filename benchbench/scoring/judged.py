"""Scores of tasks whose answers are judged by code that is not ours (lm-eval's tasks): values in, items and rows out.

Every number is the judge's own. Where a formula of ours gives the same one (means, perplexities, F1, Matthews, BLEU,
chrF, TER), it also gives the standard error and each doc's influence; all other numbers get their interval from a
bootstrap over the docs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from benchbench.core.errors import BenchbenchError
from benchbench.core.judge import Judge
from benchbench.core.registry import influence_column, metric_bounds, metric_range
from benchbench.core.types import (
    Completion,
    Item,
    ItemScore,
    Loglikelihood,
    MetricResult,
    MetricSpec,
    Outcome,
    RenderedDoc,
    Response,
    ScoringSpec,
)
from benchbench.scoring.aggregation import Aggregate, as_row
from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.columns import Column
from benchbench.scoring.estimates import (
    AGREEMENTS,
    CORPUS,
    Clusters,
    corpus_uncertainty,
    mean_uncertainty,
    ratio_uncertainty,
)
from benchbench.scoring.score import why_failed
from benchbench.scoring.translation import corpus_score
from benchbench.stats.influence import Estimate, mean, ratio
from benchbench.stats.intervals import Uncertainty, exponential
from benchbench.stats.scores import bootstrap, median_interval, positive, score_uncertainty

Bounds: TypeAlias = tuple[float, float] | None
Values = Mapping[str, object]
"""Column → the judge's value of one doc."""
CORPUS_DRAWS, PYTHON_DRAWS, DRAWS = 100, 200, 1000
"""Bootstrap draws: of sacrebleu's scores as many as lm-eval makes, of a stranger's function, which may take long, and
of all others."""
AGREES = 1e-9
"""Relative difference up to which our formula gives the judge's number."""


def score_judged(judge: Judge, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
    """Judge the responses to one doc. Values that are no numbers have no item score; they are made again from the
    responses when rows are made. Failed responses make a failed item; so does a judge that raises.
    """
    ordered = sorted(responses, key=lambda response: response.request.index)
    reason = why_failed(rendered, ordered)
    if reason is None:
        try:
            values = judge.values(rendered, ordered)
            prediction = judge.prediction(rendered, ordered)
        except BenchbenchError:
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's code that breaks on one doc becomes a record of it
            reason = f"scoring raised {type(error).__name__}: {error}"
    if reason is not None:
        return ItemScore({}, None, "failed", explanation=reason)
    scores = {name: number(value) for name, value in values.items()}
    return ItemScore(scores, prediction, _outcome(ordered, prediction), _tie(rendered, ordered))


def number(value: object) -> float | None:
    """The value as an item score; None if it is no single number."""
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        return float(value)
    return None


def _outcome(responses: Sequence[Response], prediction: str | None) -> Outcome:
    texts = [response for response in responses if isinstance(response, Completion)]
    if any(text.finish_reason == "length" for text in texts):
        return "truncated"
    return "unanswered" if texts and not any(text.text.strip() for text in texts) else "answered"


def _tie(rendered: RenderedDoc, responses: Sequence[Response]) -> bool:
    totals = [r.total for r in responses if isinstance(r, Loglikelihood)][: len(rendered.choices)]
    return len(totals) > 1 and totals.count(max(totals)) > 1


def judged_rows(
    judge: Judge, spec: ScoringSpec, items: Sequence[Item], values: Sequence[Values], *, seed: int
) -> list[MetricResult]:
    """One row per column. `items` are those that did not fail, `values` the judge's for each of them."""
    rows = []
    for name in _names(spec, values):
        column = Column(name, MetricSpec(name, judge.aggregation(name), judge.higher_is_better(name)))
        having = _having(name, items, values)
        column = _unbounded(column, having[1])
        bounds = metric_bounds(column.metric.name)
        try:
            found = _aggregate(judge, name, *having, seed, bounds) if having[0] else "no item was scored"
        except Exception as error:  # noqa: BLE001 - a stranger's aggregation; the other rows stand
            found = f"its aggregation raised {type(error).__name__}: {error}"
        rows.append(as_row(spec.task, column, found))
    return rows


def with_judged_influence(
    judge: Judge, items: Sequence[Item], judged: Sequence[Item], values: Sequence[Values]
) -> list[Item]:
    """The items with an influence value beside the scores of every metric that has a formula and is no mean by name.

    Where a mean is taken of what lm-eval makes of a pair (Brier scores, say), that also becomes the item score.
    """
    added: dict[int, dict[str, float | None]] = {item.doc_id: {} for item in items}
    for name in dict.fromkeys(name for one in values for name in one):
        aggregation = judge.aggregation(name)
        mine, theirs = _having(name, judged, values)
        if aggregation in SCORED or not mine:
            continue
        found = None
        with contextlib.suppress(Exception):  # a stranger's aggregation; its row will say what it raised
            found = _estimate(judge, name, theirs)
        if found is None:
            continue
        for place, item in enumerate(mine):
            added[item.doc_id][influence_column(name)] = float(found.estimate.influence[place])
            if found.alone is not None and name in item.scores and item.scores[name] is None:
                added[item.doc_id][name] = found.alone[place]
    columns = dict.fromkeys(column for extra in added.values() for column in extra)
    nothing: dict[str, float | None] = dict.fromkeys(column for column in columns if column.endswith("_influence"))
    return [replace(item, scores={**item.scores, **nothing, **added[item.doc_id]}) for item in items]


def _names(spec: ScoringSpec, values: Sequence[Values]) -> list[str]:
    """Those that a doc has a value for; if none was scored, those that the task announces."""
    found = list(dict.fromkeys(name for one in values for name in one))
    several = len(spec.filters) > 1
    announced = [f"{m.name},{f.name}" if several else m.name for f in spec.filters for m in spec.metrics]
    return found or list(dict.fromkeys(announced))


def _having(name: str, items: Sequence[Item], values: Sequence[Values]) -> tuple[list[Item], list[object]]:
    """The items that have a value in the column, and their values."""
    having = [(item, one[name]) for item, one in zip(items, values, strict=True) if name in one]
    return [item for item, _ in having], [value for _, value in having]


def _unbounded(column: Column, values: Sequence[object]) -> Column:
    """The column under a name without bounds if its values do not keep to those of our metric of that name."""
    bounds = metric_range(column.name)
    inside = bounds is not None and all(
        score is not None and bounds[0] <= score <= bounds[1] for score in map(number, values)
    )
    return column if inside else replace(column, metric=replace(column.metric, name=""))


def _aggregate(
    judge: Judge, name: str, items: Sequence[Item], values: Sequence[object], seed: int, bounds: Bounds
) -> Aggregate:
    value, clusters = judge.value(name, values), [item.cluster for item in items]
    found = _estimate(judge, name, values)
    if found is not None:
        known, method = found.uncertainty(clusters, bounds)
        return Aggregate(value, known, method, found.estimate.influence.size)
    known = bootstrap(
        np.arange(len(values)),
        lambda picks: judge.value(name, [values[int(pick)] for pick in picks]),
        clusters,
        seed=seed,
        draws=_draws(judge.aggregation(name)),
    )
    scores = [score for score in map(number, values) if score is not None]
    if judge.aggregation(name) == "median" and len(scores) == len(values) and known.stderr is not None:
        interval, reason = median_interval(scores, clusters)
        known = known._replace(interval=interval, reason=reason)
    return Aggregate(value, known, "bootstrap", len(values))


def _draws(aggregation: str) -> int:
    if aggregation in CORPUS:
        return CORPUS_DRAWS
    return PYTHON_DRAWS if aggregation.startswith("python:") else DRAWS


@dataclass(frozen=True, slots=True)
class Known:
    """A formula that gives the judge's number."""

    estimate: Estimate
    """Of a perplexity: of its logarithm."""
    method: str
    error: Callable[[Clusters, Bounds], Uncertainty]
    """Standard error and interval of the estimate, from the docs' clusters and the metric's bounds."""
    alone: tuple[float, ...] | None = None
    """What each doc is worth alone, where the number is their mean."""
    is_log: bool = False

    def uncertainty(self, clusters: Clusters, bounds: Bounds) -> tuple[Uncertainty, str]:
        """Of the judge's number, and how it was made."""
        known = self.error(clusters, bounds)
        if self.is_log:
            _, known = exponential(self.estimate.value, known)
        if known.n_clusters is not None:
            return known, "cluster"
        return known, "wilson" if self.alone is not None and set(self.alone) <= {0.0, 1.0} else self.method


def _estimate(judge: Judge, name: str, values: Sequence[object]) -> Known | None:
    """Value and influence of each doc by a formula of ours, if one gives the judge's number."""
    aggregation, value = judge.aggregation(name), judge.value(name, values)
    if aggregation in RATIOS:
        found = _ratio(aggregation, values)
    elif aggregation in AGREEMENTS:
        found = _agreement(AGREEMENTS[aggregation], values)
    elif aggregation in CORPUS:
        found = _corpus(aggregation, values)
    elif aggregation == "perplexity":
        found = _perplexity(values)
    elif aggregation == "median":
        found = None
    else:
        found = _mean(judge, name, values)
    if found is None:
        return None
    ours = math.exp(found.estimate.value) if found.is_log else found.estimate.value
    return found if math.isclose(ours, value, rel_tol=AGREES, abs_tol=AGREES) else None


def _mean(judge: Judge, name: str, values: Sequence[object]) -> Known | None:
    """The mean of what the aggregation makes of each doc alone, if it is that on the halves of the docs, too."""
    try:
        alone = [judge.value(name, [value]) for value in values]
        halves = [(judge.value(name, values[k::2]), alone[k::2]) for k in (0, 1) if values[k::2]]
    except Exception:  # noqa: BLE001 - a stranger's aggregation that needs several docs is no mean
        return None
    if any(math.isnan(one) for one in alone):
        return None
    if any(not math.isclose(half, math.fsum(part) / len(part), abs_tol=AGREES) for half, part in halves):
        return None
    return Known(
        mean(alone), "clt", lambda clusters, bounds: mean_uncertainty(alone, clusters, bounds)[0], tuple(alone)
    )


def _perplexity(values: Sequence[object]) -> Known | None:
    scores = [score for score in map(number, values) if score is not None]
    if len(scores) < len(values):
        return None
    found = mean([-score for score in scores])
    return Known(found, "clt", lambda clusters, _: score_uncertainty(found, clusters, positive), is_log=True)


def _pairs(values: Sequence[object]) -> list[tuple[Any, Any]] | None:
    pairs = [(value[0], value[1]) for value in values if isinstance(value, (tuple, list)) and len(value) == 2]
    return pairs if len(pairs) == len(values) else None


def _ratio(aggregation: str, values: Sequence[object]) -> Known | None:
    pairs = _pairs(values)
    if pairs is None or sum(units for _, units in pairs) <= 0:
        return None
    counts = [float(units) for _, units in pairs]
    nats = ratio([-float(nats) for nats, _ in pairs], counts)
    is_log = aggregation == "weighted_perplexity"
    found = nats if is_log else Estimate(nats.value / math.log(2), nats.influence / math.log(2))
    return Known(found, "ratio", lambda clusters, _: ratio_uncertainty(found, clusters, counts), is_log=is_log)


def _agreement(metric: str, values: Sequence[object]) -> Known | None:
    """Gold and predicted choices."""
    pairs = _pairs(values)
    if pairs is None or any(number(part) is None or part < 0 for pair in pairs for part in pair):
        return None
    gold, predicted = [int(one) for one, _ in pairs], [int(two) for _, two in pairs]
    if metric == "f1" and max(*gold, *predicted) > 1:
        return None
    found = agreement(metric, gold, predicted)
    return Known(
        found, "jackknife", lambda clusters, _: agreement_uncertainty(metric, found, gold, predicted, clusters)
    )


def _corpus(metric: str, values: Sequence[object]) -> Known | None:
    """Right texts and the one that was written."""
    pairs = _pairs(values)
    if pairs is None or not all(isinstance(text, str) for _, text in pairs):
        return None
    targets = [[right] if isinstance(right, str) else [*right] for right, _ in pairs]
    if not all(right and all(isinstance(one, str) for one in right) for right in targets):
        return None
    found = corpus_score(metric, [text for _, text in pairs], targets, {})
    return Known(found.estimate, "jackknife", lambda clusters, _: corpus_uncertainty(metric, found, clusters))


SCORED = ("mean", "nanmean", "perplexity", "median")
"""Aggregations whose item scores are all that a comparison needs, or that cannot be compared at all."""
RATIOS = ("weighted_perplexity", "bits_per_byte")

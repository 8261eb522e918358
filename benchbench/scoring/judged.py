"""Scores of tasks whose answers are judged by code that is not ours (lm-eval's tasks): values in, items and rows out.

A mean over items, a perplexity, words or bytes per nat have their standard error as everywhere. Any other aggregation
gives the number, and a bootstrap over the docs its interval. Every number is the judge's own; where our formula and the
judge's disagree, the judge's stands and the bootstrap is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchbench.core.errors import BenchbenchError
from benchbench.core.judge import Judge
from benchbench.core.registry import influence_column
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
from benchbench.scoring.columns import Column
from benchbench.scoring.score import why_failed
from benchbench.stats.bootstrap import bootstrap
from benchbench.stats.influence import Estimate, mean, ratio
from benchbench.stats.intervals import exponential, uncertainty, wilson

Values = Mapping[str, object]
"""Column → the judge's value of one doc."""
DRAWS = {"bleu": 100, "chrf": 100, "chrf++": 100, "ter": 100}
"""Bootstrap draws of the aggregations that take long, as many as lm-eval makes; all others 1000."""
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
    columns = _columns(spec, values)
    if not values:
        return [as_row(spec.task, _column(judge, name), "no item was scored") for name in columns]
    return [_row(judge, spec.task, name, items, values, seed) for name in columns]


def _columns(spec: ScoringSpec, values: Sequence[Values]) -> list[str]:
    """Those that a doc has a value for; if none was scored, those that the task announces."""
    found = list(dict.fromkeys(name for one in values for name in one))
    several = len(spec.filters) > 1
    return found or [f"{m.name},{f.name}" if several else m.name for f in spec.filters or (None,) for m in spec.metrics]  # type: ignore[union-attr]


def _column(judge: Judge, name: str) -> Column:
    return Column(name, MetricSpec(name, judge.aggregation(name), judge.higher_is_better(name)))


def _row(
    judge: Judge, task: str, name: str, items: Sequence[Item], values: Sequence[Values], seed: int
) -> MetricResult:
    having = [(item, one[name]) for item, one in zip(items, values, strict=True) if name in one]
    column = _column(judge, name)
    try:
        return as_row(task, column, _aggregate(judge, column, [i for i, _ in having], [v for _, v in having], seed))
    except BenchbenchError as error:
        return as_row(task, column, str(error))
    except Exception as error:  # noqa: BLE001 - a stranger's aggregation; the other rows stand
        return as_row(task, column, f"the aggregation raised {type(error).__name__}: {error}")


def _aggregate(judge: Judge, column: Column, items: Sequence[Item], values: Sequence[object], seed: int) -> Aggregate:
    value = judge.value(column.name, values)
    ours = _ours(column.metric.aggregation, values, [item.cluster for item in items])
    if ours is not None and math.isclose(ours.value, value, rel_tol=AGREES, abs_tol=AGREES):
        return replace(ours, value=value)
    draws = DRAWS.get(column.metric.aggregation, 1000)
    known = bootstrap(
        np.arange(len(values)),
        lambda picks: judge.value(column.name, [values[int(i)] for i in picks]),
        [item.cluster for item in items],
        seed=seed,
        draws=draws,
    )
    return Aggregate(value, known, "bootstrap", len(values))


def _ours(aggregation: str, values: Sequence[object], clusters: Sequence[str | None]) -> Aggregate | None:
    """The same number with its standard error, for the aggregations that we have a formula for."""
    estimate = estimate_of(aggregation, values)
    if estimate is None:
        return None
    known = uncertainty(estimate, clusters)
    method = "cluster" if known.n_clusters is not None else "ratio" if aggregation in RATIOS else "clt"
    value = estimate.value
    if aggregation in LOGS:
        value, known = exponential(value, known)
    elif known.n_clusters is None and method == "clt" and {number(value) for value in values} <= {0.0, 1.0}:
        right = int(sum(number(value) or 0.0 for value in values))
        known, method = known._replace(interval=wilson(right, len(values))), "wilson"
    return Aggregate(value, known, method, len(values))


LOGS = ("perplexity", "weighted_perplexity")
RATIOS = ("weighted_perplexity", "bits_per_byte")


def estimate_of(aggregation: str, values: Sequence[object]) -> Estimate | None:
    """Value and influence of each doc (of perplexities: of the logarithm); None where there is no formula."""
    if aggregation in RATIOS:
        pairs = [value for value in values if isinstance(value, (tuple, list)) and len(value) == 2]
        if len(pairs) < len(values) or sum(units for _, units in pairs) <= 0:
            return None
        found = ratio([-float(nats) for nats, _ in pairs], [float(units) for _, units in pairs])
        scale = 1 / math.log(2) if aggregation == "bits_per_byte" else 1.0
        return Estimate(found.value * scale, found.influence * scale)
    numbers = [score for score in map(number, values) if score is not None]
    if aggregation not in ("mean", "nanmean", "perplexity") or len(numbers) < len(values):
        return None
    if any(math.isnan(score) for score in numbers):
        return None
    return mean([-score for score in numbers] if aggregation == "perplexity" else numbers)


def with_judged_influence(
    judge: Judge, items: Sequence[Item], judged: Sequence[Item], values: Sequence[Values]
) -> list[Item]:
    """The items with an influence value beside the scores of every metric that has a formula and is no mean."""
    found: dict[str, dict[int, float]] = {}
    for name in dict.fromkeys(name for one in values for name in one):
        aggregation = judge.aggregation(name)
        if aggregation in RATIOS:
            having = [(item, one[name]) for item, one in zip(judged, values, strict=True) if name in one]
            estimate = estimate_of(aggregation, [value for _, value in having])
            pulls = [] if estimate is None else estimate.influence.tolist()
            found[influence_column(name)] = {item.doc_id: pull for (item, _), pull in zip(having, pulls, strict=False)}
    return [
        replace(item, scores={**item.scores, **{name: pulls.get(item.doc_id) for name, pulls in found.items()}})
        for item in items
    ]

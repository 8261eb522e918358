"""Scores of lm-eval's tasks: its results of each doc in, items and rows out.

Every number is lm-eval's own. Where a formula of ours gives the same one (means, perplexities, F1, Matthews, BLEU,
chrF, TER), it also gives the standard error and each doc's influence; all other numbers get their interval from a
bootstrap over the docs.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchbench.core import patterns
from benchbench.core.errors import BenchbenchError
from benchbench.core.registry import influence_column, metric_bounds, metric_range
from benchbench.core.task_scoring import Group, GroupMetric, ScoreColumn, ScoredTask
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
from benchbench.extensions.lm_eval.results import Bounds, UpstreamResults, formula_of, number
from benchbench.scoring.aggregation import Aggregate, aggregate_group, as_row
from benchbench.scoring.estimates import CORPUS, Clusters
from benchbench.scoring.score import kept_responses, too_much, why_failed
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Uncertainty
from benchbench.stats.scores import bootstrap, median_interval

Values = Mapping[str, object]
"""Column → lm-eval's value of one doc."""
CORPUS_DRAWS, PYTHON_DRAWS, DRAWS = 100, 200, 1000
"""Bootstrap draws: of sacrebleu's scores as many as lm-eval makes, of a stranger's function, which may take long, and
of all others."""


class UpstreamScoring:
    """See `core.task_scoring.TaskScoring`."""

    def __init__(self, spec: ScoringSpec, results: UpstreamResults, docs: Sequence[RenderedDoc]) -> None:
        """`docs` are those of the prepared task."""
        self.spec = spec
        self._results = results
        self._docs = {rendered.doc.id: rendered for rendered in docs}

    def score(self, rendered: RenderedDoc, responses: Sequence[Response]) -> ItemScore:
        """See TaskScoring. Values that are no numbers have no item score; rows make them again from the responses."""
        ordered = sorted(responses, key=lambda response: response.request.index)
        reason = why_failed(rendered, ordered)
        if reason is None:
            try:
                with patterns.one_doc():
                    values, prediction = self._results.of_doc(rendered, ordered)
            except BenchbenchError:
                raise
            except patterns.TooMuchWorkError as error:
                reason = too_much(error)
            except Exception as error:  # noqa: BLE001 - a stranger's code that breaks on one doc becomes a record of it
                reason = f"scoring raised {type(error).__name__}: {error}"
        if reason is not None:
            return ItemScore({}, None, "failed", explanation=reason)
        scores = {name: number(value) for name, value in values.items()}
        return ItemScore(scores, prediction, _outcome(ordered), _tie(rendered, ordered))

    def with_influence(self, items: Sequence[Item]) -> list[Item]:
        """See TaskScoring: beside the scores of every metric that has a formula and is no mean by name.

        Where a mean is taken of what lm-eval makes of a pair (Brier scores, say), that also becomes the item score.
        """
        scored, values = self._scored(items)
        added: dict[int, dict[str, float | None]] = {item.doc_id: {} for item in items}
        for name in dict.fromkeys(name for one in values for name in one):
            aggregation = self._results.aggregation(name)
            having, own_values = _having(name, scored, values)
            if aggregation in SCORED or not having:
                continue
            found = None
            with contextlib.suppress(Exception):  # a stranger's aggregation; its row will say what it raised
                found = formula_of(self._results, name, own_values)
            if found is None:
                continue
            for place, item in enumerate(having):
                added[item.doc_id][influence_column(name)] = float(found.estimate.influence[place])
                if found.item_scores is not None and name in item.scores and item.scores[name] is None:
                    added[item.doc_id][name] = found.item_scores[place]
        columns = dict.fromkeys(column for extra in added.values() for column in extra)
        nothing: dict[str, float | None] = dict.fromkeys(column for column in columns if column.endswith("_influence"))
        return [replace(item, scores={**item.scores, **nothing, **added[item.doc_id]}) for item in items]

    def rows(self, items: Sequence[Item], seed: int) -> list[MetricResult]:
        """See TaskScoring: one row per column."""
        scored, values = self._scored(items)
        rows = []
        for name in _names(self.spec, values):
            having = _having(name, scored, values)
            column = _unbounded(ScoreColumn(name, self._metric(name, name)), having[1])
            bounds = metric_bounds(column.metric.name)
            try:
                found = _aggregate(self._results, name, *having, seed, bounds) if having[0] else "no item was scored"
            except Exception as error:  # noqa: BLE001 - a stranger's aggregation; the other rows stand
                found = f"its aggregation raised {type(error).__name__}: {error}"
            rows.append(as_row(self.spec.task, column, found))
        return rows

    def complete(self, rows: Sequence[MetricResult]) -> ScoringSpec:
        """See TaskScoring: `process_results` may give metrics that the task's definition does not name."""
        several = len(self.spec.filters) > 1
        columns = {row.metric.rpartition(",")[0] if several else row.metric: row.metric for row in rows}
        known = {metric.name for metric in self.spec.metrics}
        more = (self._metric(name, column) for name, column in columns.items() if name not in known)
        return replace(self.spec, metrics=(*self.spec.metrics, *more))

    def group_rows(self, group: Group, members: Mapping[str, ScoredTask]) -> list[MetricResult]:
        """See TaskScoring: by lm-eval's rule, each stated metric under each filter, over the tasks that have it."""
        found = []
        for stated in group.metrics or ():
            of_filter = _by_filter(stated, members)
            for pipeline, rows in of_filter.items():
                name = f"{stated.metric},{pipeline}" if len(of_filter) > 1 else stated.metric
                named = {task: [replace(row, metric=name)] for task, row in rows.items()}
                (result,) = aggregate_group(group.name, named, weight_by_size=stated.weight_by_size)
                without = [task for task in members if task not in rows]
                left_out = f"{len(without)} tasks without it left out, e.g. {without[0]}" if without else None
                notes = (result.note, left_out, group.note)
                found.append(replace(result, note="; ".join(note for note in notes if note)))
        return found

    def _metric(self, name: str, column: str) -> MetricSpec:
        return MetricSpec(name, self._results.aggregation(column), self._results.higher_is_better(column))

    def _scored(self, items: Sequence[Item]) -> tuple[list[Item], list[Values]]:
        """The items whose responses were kept, and lm-eval's values of each."""
        scored: list[Item] = []
        values: list[Values] = []
        for item in items:
            rendered = self._docs[item.doc_id]
            responses = kept_responses(item, rendered.requests)
            if responses is not None:
                scored.append(item)
                values.append(self._results.of_doc(rendered, responses)[0])
        return scored, values


def _outcome(responses: Sequence[Response]) -> Outcome:
    texts = [response for response in responses if isinstance(response, Completion)]
    if any(text.finish_reason == "length" for text in texts):
        return "truncated"
    return "unanswered" if texts and not any(text.text.strip() for text in texts) else "answered"


def _tie(rendered: RenderedDoc, responses: Sequence[Response]) -> bool:
    totals = [r.total for r in responses if isinstance(r, Loglikelihood)][: len(rendered.choices)]
    return len(totals) > 1 and totals.count(max(totals)) > 1


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


def _unbounded(column: ScoreColumn, values: Sequence[object]) -> ScoreColumn:
    """The column under a name without bounds if its values do not keep to those of our metric of that name."""
    bounds = metric_range(column.name)
    inside = bounds is not None and all(
        score is not None and bounds[0] <= score <= bounds[1] for score in map(number, values)
    )
    return column if inside else replace(column, metric=replace(column.metric, name=""))


def _aggregate(
    results: UpstreamResults, name: str, items: Sequence[Item], values: Sequence[object], seed: int, bounds: Bounds
) -> Aggregate:
    value, clusters = results.value(name, values), [item.cluster for item in items]
    found = formula_of(results, name, values)
    if found is not None:
        known, method = found.uncertainty(clusters, bounds)
        return Aggregate(value, known, method, found.estimate.influence.size)
    known = _resampled(results, name, values, clusters, seed)
    scores = [score for score in map(number, values) if score is not None]
    if results.aggregation(name) == "median" and len(scores) == len(values) and known.stderr is not None:
        interval, reason = median_interval(scores, clusters)
        known = known._replace(interval=interval, reason=reason)
    return Aggregate(value, known, "bootstrap", len(values))


def _resampled(
    results: UpstreamResults, name: str, values: Sequence[object], clusters: Clusters, seed: int
) -> Uncertainty:
    """By a bootstrap; nothing where the function has no value for some draws, as one that compares groups of docs."""

    def drawn(picks: Floats) -> float:
        return results.value(name, [values[int(pick)] for pick in picks])

    draws = _draws(results.aggregation(name))
    try:
        known = bootstrap(np.arange(len(values)), drawn, clusters, seed=seed, draws=draws)
    except Exception as error:  # noqa: BLE001 - a stranger's aggregation; the value of all docs stands
        said = f"{type(error).__name__}: {error}"
        return Uncertainty(None, None, None, 0, f"no interval: its aggregation raised on draws of the docs, {said}")
    if known.stderr is not None and math.isnan(known.stderr):
        return Uncertainty(None, None, known.n_clusters, 0, "no interval: its aggregation is undefined on draws")
    return known


def _draws(aggregation: str) -> int:
    if aggregation in CORPUS:
        return CORPUS_DRAWS
    return PYTHON_DRAWS if aggregation.startswith("python:") else DRAWS


SCORED = ("mean", "nanmean", "perplexity", "median")
"""Aggregations whose item scores are all that a comparison needs, or that cannot be compared at all."""


def _by_filter(stated: GroupMetric, members: Mapping[str, ScoredTask]) -> dict[str, dict[str, MetricResult]]:
    """Filter → task → its row of the metric. A task weighs as many docs as its best filled row has, as in lm-eval."""
    found: dict[str, dict[str, MetricResult]] = {}
    for task, member in members.items():
        pipelines = [pipeline.name for pipeline in member.spec.filters] or ["none"]
        most = max((row.n for row in member.rows), default=0)
        by_name = {row.metric: row for row in member.rows}
        for pipeline in pipelines:
            row = by_name.get(stated.metric if len(pipelines) == 1 else f"{stated.metric},{pipeline}")
            if row is not None and (stated.filters is None or pipeline in stated.filters):
                found.setdefault(pipeline, {})[task] = replace(row, n=most)
    return dict(sorted(found.items()))

"""What lm-eval makes of answers of our backends: its filters, its `process_results`, its aggregations.

And the formula of ours that gives the number of an aggregation, where there is one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from benchbench.core.errors import TaskError
from benchbench.core.types import Completion, Loglikelihood, RenderedDoc, Response, RollingRequest
from benchbench.extensions.lm_eval.library import inside
from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.estimates import (
    AGREEMENTS,
    CORPUS,
    Clusters,
    corpus_uncertainty,
    mean_uncertainty,
    ratio_uncertainty,
)
from benchbench.scoring.generation import corpus_score
from benchbench.stats.influence import Estimate, mean, ratio
from benchbench.stats.intervals import Uncertainty, exponential
from benchbench.stats.scores import positive, score_uncertainty

Bounds: TypeAlias = tuple[float, float] | None
RATIOS = ("weighted_perplexity", "bits_per_byte")
AGREES = 1e-9
"""Relative difference up to which our formula gives lm-eval's number."""


class UpstreamResults:
    """Results of a prepared task's docs, as lm-eval computes them.

    The column of a metric is its name; `metric,filter` where there are several filters.
    """

    def __init__(self, task: Any, docs: Mapping[int, Sequence[Any]], requests: Mapping[int, Sequence[int]]) -> None:
        """`task` is lm-eval's; `docs` its `Instance`s per doc; `requests` the instance that each request asks for."""
        self._task, self._docs, self._requests = task, docs, requests
        self._several = len(getattr(task, "_filters", ())) > 1

    def of_doc(self, rendered: RenderedDoc, responses: Sequence[Response]) -> tuple[dict[str, object], str | None]:
        """Column → value (a number, or whatever `value` takes), and what the model answered, to show.

        That is the index of a choice, or a text; None if the filters left nothing. `responses` are in request order.
        """
        with inside():
            instances = self._answered(rendered.doc.id, responses)
            prediction = _prediction(rendered, responses, instances[-1])
            found: dict[str, object] = {}
            for pipeline in instances[0].filtered_resps:
                results = self._task.process_results(
                    instances[0].doc, [instance.filtered_resps[pipeline] for instance in instances]
                )
                for metric, value in results.items():
                    found[f"{metric},{pipeline}" if self._several else str(metric)] = value
            return found, prediction

    def value(self, column: str, values: Sequence[object]) -> float:
        """One number over the values of several docs. TaskError if lm-eval's function does not give a number."""
        with inside():
            found = self._function(column)(list(values))
        try:
            return float(found)
        except (TypeError, ValueError) as error:
            raise TaskError(f"the aggregation of {column} gives a {type(found).__name__}, not a number.") from error

    def aggregation(self, column: str) -> str:
        """Name of what `value` does: one of `core.registry.AGGREGATIONS` if it is that, else `python:` and its name."""
        from lm_eval.api.registry import AGGREGATION_REGISTRY

        function = self._function(column)
        known = {id(theirs): name for name, theirs in AGGREGATION_REGISTRY.items()}
        return known.get(id(function)) or f"python:{getattr(function, '__name__', 'function')}"

    def higher_is_better(self, column: str) -> bool:
        """By lm-eval's definition of the task; True where it does not say."""
        return bool(self._task.higher_is_better().get(self._metric(column), True))

    def _function(self, column: str) -> Callable[[list[object]], Any]:
        """lm-eval takes the mean where a metric has no aggregation."""
        from lm_eval.api.metrics import mean

        function: Callable[[list[object]], Any] = self._task.aggregation().get(self._metric(column)) or mean
        return function

    def _metric(self, column: str) -> str:
        return column.rpartition(",")[0] if self._several else column

    def _answered(self, doc_id: int, responses: Sequence[Response]) -> list[Any]:
        """Fresh instances of a doc with its answers, filtered. The doc is a copy: lm-eval's Python may change it."""
        source = self._docs[doc_id]
        doc = copy.deepcopy(source[0].doc)
        instances = [copy.copy(instance) for instance in source]
        for instance in instances:
            instance.doc, instance.resps, instance.filtered_resps = doc, [], {}
        for place, response in zip(self._requests[doc_id], responses, strict=True):
            instance = instances[place]
            again = 1 if isinstance(response, Completion) else int(instance.repeats or 1)
            instance.resps += [_answer(response)] * again
        for pipeline in self._task._filters:
            pipeline.apply(instances)
        return instances


def _prediction(rendered: RenderedDoc, responses: Sequence[Response], last: Any) -> str | None:
    """`last` is the doc's last instance, with its filtered answers."""
    if rendered.choices:
        totals = [r.total for r in responses if isinstance(r, Loglikelihood)][: len(rendered.choices)]
        return str(int(np.argmax(totals))) if totals else None
    if not any(isinstance(response, Completion) for response in responses):
        return None
    kept = next(iter(last.filtered_resps.values()))
    while isinstance(kept, (list, tuple)) and kept:
        kept = kept[0]
    return kept if isinstance(kept, str) else None


def _answer(response: Response) -> Any:
    """What lm-eval's models give: text; (log-likelihood, greedy); for whole texts the log-likelihood alone."""
    if isinstance(response, Completion):
        return response.text
    if isinstance(response, Loglikelihood):
        whole = isinstance(response.request, RollingRequest)
        return response.total if whole else (response.total, response.is_greedy)
    raise TypeError(f"a {type(response).__name__} has no answer")


def number(value: object) -> float | None:
    """The value as an item score; None if it is no single number."""
    if isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        return float(value)
    return None


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that gives lm-eval's number."""

    estimate: Estimate
    """Of a perplexity: of its logarithm."""
    method: str
    error: Callable[[Clusters, Bounds], Uncertainty]
    """Standard error and interval of the estimate, from the docs' clusters and the metric's bounds."""
    item_scores: tuple[float, ...] | None = None
    """What each doc is worth alone, where the number is their mean."""
    is_log: bool = False

    def uncertainty(self, clusters: Clusters, bounds: Bounds) -> tuple[Uncertainty, str]:
        """Of lm-eval's number, and how it was made."""
        known = self.error(clusters, bounds)
        if self.is_log:
            _, known = exponential(self.estimate.value, known)
        if known.n_clusters is not None:
            return known, "cluster"
        return known, "wilson" if self.item_scores is not None and set(self.item_scores) <= {0.0, 1.0} else self.method


def formula_of(results: UpstreamResults, name: str, values: Sequence[object]) -> Formula | None:
    """Value and influence of each doc by a formula of ours, if one gives lm-eval's number."""
    aggregation, value = results.aggregation(name), results.value(name, values)
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
        found = _mean(results, name, values)
    if found is None:
        return None
    ours = math.exp(found.estimate.value) if found.is_log else found.estimate.value
    return found if math.isclose(ours, value, rel_tol=AGREES, abs_tol=AGREES) else None


def _mean(results: UpstreamResults, name: str, values: Sequence[object]) -> Formula | None:
    """The mean of what the aggregation makes of each doc alone, if it is that on the halves of the docs, too."""
    try:
        alone = [results.value(name, [value]) for value in values]
        halves = [(results.value(name, values[k::2]), alone[k::2]) for k in (0, 1) if values[k::2]]
    except Exception:  # noqa: BLE001 - a stranger's aggregation that needs several docs is no mean
        return None
    if any(math.isnan(one) for one in alone):
        return None
    if any(not math.isclose(half, math.fsum(part) / len(part), abs_tol=AGREES) for half, part in halves):
        return None
    return Formula(
        mean(alone), "clt", lambda clusters, bounds: mean_uncertainty(alone, clusters, bounds)[0], tuple(alone)
    )


def _perplexity(values: Sequence[object]) -> Formula | None:
    scores = [score for score in map(number, values) if score is not None]
    if len(scores) < len(values):
        return None
    found = mean([-score for score in scores])
    return Formula(found, "clt", lambda clusters, _: score_uncertainty(found, clusters, positive), is_log=True)


def _pairs(values: Sequence[object]) -> list[tuple[Any, Any]] | None:
    pairs = [(value[0], value[1]) for value in values if isinstance(value, (tuple, list)) and len(value) == 2]
    return pairs if len(pairs) == len(values) else None


def _ratio(aggregation: str, values: Sequence[object]) -> Formula | None:
    pairs = _pairs(values)
    if pairs is None or sum(units for _, units in pairs) <= 0:
        return None
    counts = [float(units) for _, units in pairs]
    nats = ratio([-float(nats) for nats, _ in pairs], counts)
    is_log = aggregation == "weighted_perplexity"
    found = nats if is_log else Estimate(nats.value / math.log(2), nats.influence / math.log(2))
    return Formula(found, "ratio", lambda clusters, _: ratio_uncertainty(found, clusters, counts), is_log=is_log)


def _agreement(metric: str, values: Sequence[object]) -> Formula | None:
    """Gold and predicted choices."""
    pairs = _pairs(values)
    if pairs is None or any(number(part) is None or part < 0 for pair in pairs for part in pair):
        return None
    gold, predicted = [int(one) for one, _ in pairs], [int(two) for _, two in pairs]
    if metric == "f1" and max(*gold, *predicted) > 1:
        return None
    found = agreement(metric, gold, predicted)
    return Formula(
        found, "jackknife", lambda clusters, _: agreement_uncertainty(metric, found, gold, predicted, clusters)
    )


def _corpus(metric: str, values: Sequence[object]) -> Formula | None:
    """Right texts and the one that was written."""
    pairs = _pairs(values)
    if pairs is None or not all(isinstance(text, str) for _, text in pairs):
        return None
    targets = [[right] if isinstance(right, str) else [*right] for right, _ in pairs]
    if not all(right and all(isinstance(one, str) for one in right) for right in targets):
        return None
    found = corpus_score(metric, [text for _, text in pairs], targets, {})
    return Formula(found.estimate, "jackknife", lambda clusters, _: corpus_uncertainty(metric, found, clusters))

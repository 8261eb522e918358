"""What lm-eval makes of answers of our backends: its filters, its `process_results`, its aggregations."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchbench.core.errors import TaskError
from benchbench.core.types import Completion, Loglikelihood, RenderedDoc, Response, RollingRequest
from benchbench.extensions.lm_eval.library import inside


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

"""Items of judged tasks: their values are made again from the responses that were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchbench.core.judge import Judge
from benchbench.core.types import Item, MetricResult, MetricSpec, ScoringSpec
from benchbench.runner.items import kept_responses

if TYPE_CHECKING:
    from benchbench.tasks.index import Group, GroupMetric
    from benchbench.tasks.prepare import PreparedTask


def rows_of(prepared: PreparedTask, judge: Judge, items: Sequence[Item], seed: int) -> list[MetricResult]:
    """The task's rows, over the items that did not fail."""
    from benchbench.scoring.judged import judged_rows

    judged, values = _values(prepared, judge, items)
    return judged_rows(judge, prepared.task.scoring, judged, values, seed=seed)


def complete_scoring(prepared: PreparedTask, rows: Sequence[MetricResult]) -> ScoringSpec:
    """The task's scoring, with the metrics that a judge gave without announcing them."""
    spec, judge = prepared.task.scoring, prepared.judge
    if judge is None:
        return spec
    several = len(spec.filters) > 1
    columns = {row.metric.rpartition(",")[0] if several else row.metric: row.metric for row in rows}
    known = {metric.name for metric in spec.metrics}
    more = (
        MetricSpec(name, judge.aggregation(column), judge.higher_is_better(column))
        for name, column in columns.items()
        if name not in known
    )
    return replace(spec, metrics=(*spec.metrics, *more))


def judged_items(prepared: PreparedTask, judge: Judge, items: Sequence[Item]) -> list[Item]:
    """The items with their influence on metrics that are no means."""
    from benchbench.scoring.judged import with_judged_influence

    judged, values = _values(prepared, judge, items)
    return with_judged_influence(judge, items, judged, values)


def judged_group_rows(
    group: Group, members: Mapping[str, Sequence[MetricResult]], specs: Mapping[str, ScoringSpec]
) -> list[MetricResult]:
    """A group's rows by lm-eval's rule: each stated metric under each filter, over the tasks that have it."""
    from benchbench.scoring import aggregate_group

    found = []
    for stated in group.metrics or ():
        of_filter = _by_filter(stated, members, specs)
        for pipeline, rows in of_filter.items():
            name = f"{stated.metric},{pipeline}" if len(of_filter) > 1 else stated.metric
            named = {task: [replace(row, metric=name)] for task, row in rows.items()}
            (result,) = aggregate_group(group.name, named, weight_by_size=stated.weight_by_size)
            without = [task for task in members if task not in rows]
            left_out = f"{len(without)} tasks without it left out, e.g. {without[0]}" if without else None
            found.append(replace(result, note="; ".join(note for note in (result.note, left_out) if note)))
    return found


def _by_filter(
    stated: GroupMetric, members: Mapping[str, Sequence[MetricResult]], specs: Mapping[str, ScoringSpec]
) -> dict[str, dict[str, MetricResult]]:
    """Filter → task → its row of the metric. A task weighs as many docs as its best filled row has, as in lm-eval."""
    found: dict[str, dict[str, MetricResult]] = {}
    for task, rows in members.items():
        pipelines = [pipeline.name for pipeline in specs[task].filters] or ["none"]
        most = max((row.n for row in rows), default=0)
        by_name = {row.metric: row for row in rows}
        for pipeline in pipelines:
            row = by_name.get(stated.metric if len(pipelines) == 1 else f"{stated.metric},{pipeline}")
            if row is not None and (stated.filters is None or pipeline in stated.filters):
                found.setdefault(pipeline, {})[task] = replace(row, n=most)
    return dict(sorted(found.items()))


def _values(prepared: PreparedTask, judge: Judge, items: Sequence[Item]) -> tuple[list[Item], list[dict[str, object]]]:
    docs = {rendered.doc.id: rendered for rendered in prepared.docs}
    judged, values = [], []
    for item in items:
        responses = kept_responses(item, docs[item.doc_id].requests)
        if responses is not None:
            judged.append(item)
            values.append(dict(judge.values(docs[item.doc_id], responses)))
    return judged, values

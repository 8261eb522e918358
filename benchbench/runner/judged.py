"""Items of judged tasks: their values are made again from the responses that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.core.judge import Judge
from benchbench.core.types import Item, MetricResult
from benchbench.runner.items import kept_responses

if TYPE_CHECKING:
    from benchbench.tasks.prepare import PreparedTask


def rows_of(prepared: PreparedTask, judge: Judge, items: Sequence[Item], seed: int) -> list[MetricResult]:
    """The task's rows, over the items that did not fail."""
    from benchbench.scoring.judged import judged_rows

    judged, values = _values(prepared, judge, items)
    return judged_rows(judge, prepared.task.scoring, judged, values, seed=seed)


def judged_items(prepared: PreparedTask, items: Sequence[Item]) -> list[Item]:
    """The items with their influence on metrics that are no means."""
    from benchbench.scoring.judged import with_judged_influence

    assert prepared.judge is not None
    judged, values = _values(prepared, prepared.judge, items)
    return with_judged_influence(prepared.judge, items, judged, values)


def _values(prepared: PreparedTask, judge: Judge, items: Sequence[Item]) -> tuple[list[Item], list[dict[str, object]]]:
    docs = {rendered.doc.id: rendered for rendered in prepared.docs}
    judged, values = [], []
    for item in items:
        responses = kept_responses(item, docs[item.doc_id].requests)
        if responses is not None:
            judged.append(item)
            values.append(dict(judge.values(docs[item.doc_id], responses)))
    return judged, values

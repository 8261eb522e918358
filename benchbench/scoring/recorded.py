"""A task's scoring as a run's record tells it, and corpus metrics worked out anew on some of its docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchbench.core.errors import StoreError
from benchbench.core.types import FilterSpec, Item, MetricSpec, ScoringSpec
from benchbench.scoring.columns import columns
from benchbench.scoring.estimates import ESTIMATORS, NoValueError, Usable
from benchbench.stats.influence import Estimate


def recorded_spec(record: Mapping[str, Any], task: str) -> ScoringSpec:
    """The scoring of a task as a run's record tells it. StoreError if it does not."""
    try:
        said = record["tasks"][task]["scoring"]
        return ScoringSpec(
            task=task,
            output_type=said["output_type"],
            metrics=tuple(MetricSpec(**metric) for metric in said["metrics"]),
            filters=tuple(
                FilterSpec(one["name"], tuple((step[0], step[1]) for step in one["steps"])) for one in said["filters"]
            ),
            chance=said.get("chance"),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise StoreError(f"the record says too little of how {task} was scored ({error!r}).") from error


def corpus_estimate(spec: ScoringSpec, name: str, items: Sequence[Item]) -> dict[int, float]:
    """doc id → value of a corpus metric on these items, plus how far the doc pulls it; the mean is the value.

    Raises:
        StoreError: the metric is none of ours, or has no value on these docs.
    """
    column = next((column for column in columns(spec) if column.name == name), None)
    if column is None or column.metric.aggregation not in ESTIMATORS:
        raise StoreError(f"{name} cannot be worked out anew on the docs that both sides have: it is not benchbench's.")
    usable = Usable(column, tuple(items), column.filter == (spec.filters[0] if spec.filters else None))
    try:
        estimate, counted = ESTIMATORS[column.metric.aggregation](usable)
    except NoValueError as error:
        raise StoreError(f"{name} has no value on the docs that all sides have: {error}.") from error
    return _by_doc(counted, estimate)


def _by_doc(items: Sequence[Item], estimate: Estimate) -> dict[int, float]:
    pulls = (estimate.value + estimate.influence).tolist()
    return {item.doc_id: pull for item, pull in zip(items, pulls, strict=True)}

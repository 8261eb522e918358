"""Corpus metrics worked out anew on some of a recorded task's docs, and how the errors of tasks go together."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchbench.core.errors import StoreError
from benchbench.core.parallel import unit_names
from benchbench.core.registry import influence_column
from benchbench.core.task_scoring import ScoredTask
from benchbench.core.types import Item, ScoringSpec
from benchbench.scoring.columns import columns
from benchbench.scoring.estimates import ESTIMATORS, ColumnItems, NoValueError
from benchbench.stats.groups import error_correlation
from benchbench.stats.influence import Estimate, Floats


def corpus_estimate(spec: ScoringSpec, name: str, items: Sequence[Item]) -> dict[int, float]:
    """doc id → value of a corpus metric on these items, plus how far the doc pulls it; the mean is the value.

    Raises:
        StoreError: the metric is none of ours, or has no value on these docs.
    """
    column = next((column for column in columns(spec) if column.name == name), None)
    if column is None or column.metric.aggregation not in ESTIMATORS:
        raise StoreError(f"{name} cannot be worked out anew on the docs that both sides have: it is not benchbench's.")
    usable = ColumnItems(column, tuple(items), column.filter == (spec.filters[0] if spec.filters else None))
    try:
        estimate, counted = ESTIMATORS[column.metric.aggregation](usable)
    except NoValueError as error:
        raise StoreError(f"{name} has no value on the docs that all sides have: {error}.") from error
    return _by_doc(counted, estimate)


def _by_doc(items: Sequence[Item], estimate: Estimate) -> dict[int, float]:
    pulls = (estimate.value + estimate.influence).tolist()
    return {item.doc_id: pull for item, pull in zip(items, pulls, strict=True)}


NO_INFLUENCE = ("median",)


def correlations(members: Sequence[ScoredTask]) -> dict[str, NDArray[np.float64]]:
    """Metric → correlation of the errors of the members' values, shape (members, members).

    Empty where no two members are of one family, whose values then are independent.
    """
    families = [member.family for member in members if member.family is not None]
    if len(set(families)) == len(families):
        return {}
    tables = [_influences(member) for member in members]
    shared = [metric for metric in tables[0] if all(metric in table for table in tables)]
    return {metric: error_correlation(*zip(*(table[metric] for table in tables), strict=True)) for metric in shared}


_Pulls = tuple[Floats, tuple[Hashable | None, ...] | None]


def _influences(member: ScoredTask) -> dict[str, _Pulls]:
    """Of each metric that has them: how each doc pulls its value, and the docs' units."""
    found: dict[str, _Pulls] = {}
    for column in columns(member.spec):
        aggregation = column.metric.aggregation
        name = influence_column(column.name) if aggregation in ESTIMATORS else column.name
        known = [(score, item.cluster) for item in member.items if (score := item.scores.get(name)) is not None]
        scores = np.array([score for score, _ in known], dtype=np.float64)
        counted = np.isfinite(scores)
        if aggregation not in NO_INFLUENCE and counted.any():
            clusters = [cluster for (_, cluster), counts in zip(known, counted, strict=True) if counts]
            pulls = np.asarray(scores[counted] - scores[counted].mean())
            found[column.name] = pulls, unit_names(member.family, clusters)
    return found

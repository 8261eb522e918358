"""Scores on the docs that are not in the corpus, beside those on all docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchbench.core.errors import StoreError
from benchbench.core.registry import ITEM_MEANS
from benchbench.extensions.leaks.search import DocFlag
from benchbench.stats.difference import paired_difference
from benchbench.stats.influence import Estimate, mean
from benchbench.stats.intervals import Interval
from benchbench.store.find import finished_runs
from benchbench.store.folder import FinishedRun


@dataclass(frozen=True, slots=True)
class CleanScore:
    """One model on one task."""

    model: str
    task: str
    metric: str
    docs: int
    clean: int
    """Docs that are not in the corpus; those too short to be looked for are among them."""
    value: float
    """On all docs."""
    on_clean: float | None
    """None: no doc is clean."""
    interval: Interval | None
    """95 % interval of clean less all."""


def clean_scores(results: Path, flags: Mapping[str, Sequence[DocFlag]]) -> list[CleanScore]:
    """Every finished run in `results` that has items of these tasks, by model; metrics that are means of docs."""
    found = []
    for run in finished_runs(results):
        for task in run.record.tasks:
            if task in flags:
                one = _of(run, task, flags[task])
                found += [one] if one is not None else []
    return sorted(found, key=lambda one: (one.task, one.model))


def _of(run: FinishedRun, task: str, flags: Sequence[DocFlag]) -> CleanScore | None:
    rows = run.record.rows_of(task)
    if not rows or run.is_imported:
        return None
    metric = rows[0].metric
    spec = next((one for one in run.record.tasks[task].scoring.metrics if one.name == metric.partition(",")[0]), None)
    if spec is not None and spec.aggregation not in ITEM_MEANS:
        return None
    leaked = {flag.doc_hash for flag in flags if flag.is_leaked}
    try:
        items = [item for item in run.folder.items(task) if item.scores.get(metric) is not None]
    except StoreError:
        return None
    scores = np.array([item.scores[metric] for item in items], dtype=np.float64)
    kept = np.array([item.doc_hash not in leaked for item in items], dtype=bool)
    clusters = [item.cluster for item in items]
    if not len(scores):
        return None
    value, on_clean, interval = difference_on_clean(scores, kept, clusters)
    return CleanScore(run.record.model, task, metric, len(scores), int(kept.sum()), value, on_clean, interval)


def difference_on_clean(
    scores: np.ndarray[tuple[int], np.dtype[np.float64]],
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]],
    clusters: Sequence[str | None] | None = None,
) -> tuple[float, float | None, Interval | None]:
    """Mean of all, mean of the docs kept, and the 95 % interval of the second less the first, from the same docs."""
    every = mean(scores)
    if not kept.any():
        return every.value, None, None
    part = float(scores[kept].mean())
    influence = np.where(kept, (scores - part) * (len(scores) / kept.sum()), 0.0)
    found = paired_difference(every, Estimate(part, influence), clusters)
    return every.value, part, found.interval() if kept.sum() > 1 else None

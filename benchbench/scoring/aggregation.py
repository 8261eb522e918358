"""Many items → one row per metric, with a standard error and a 95 % interval.

How the standard error is made (`se_method`):
- `wilson`: a mean of 0/1 scores without clusters: the central limit theorem's (ddof 1), as lm-eval prints it, and the
  interval is Wilson's (`SHARES` in `stats/intervals.py`; a metric may name another in the registry).
- `clt`: any other mean, sd/√n. `delong`: areas under ROC curves, from DeLong's placements.
- `ratio`, `jackknife`: from influence values of a ratio of sums, or of a corpus metric.
- `cluster`: any of these where docs share a passage or source: cluster-robust.
- `bootstrap`: the median. `group`: a mean over tasks.
The interval is no multiple of the standard error: it keeps to the metric's range and holds with few docs, few clusters
and near the bounds, too (`scoring/estimates.py`, `stats/scores.py`), or is not given. What is not defined is None and
`note` says why; never 0, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import cast

from numpy.typing import ArrayLike

from benchbench.core.item_table import answered
from benchbench.core.json_record import finite
from benchbench.core.registry import bounds_of, metric_bounds, share_interval
from benchbench.core.task_scoring import ScoreColumn, columns
from benchbench.core.types import Item, MetricResult, ScoringSpec
from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.estimates import (
    AGREEMENTS,
    CORPUS,
    ColumnItems,
    NoValueError,
    Places,
    auroc_estimate,
    bits_per_unit,
    choice_scores,
    corpus_uncertainty,
    mean_uncertainty,
    nats_per_unit,
    predicted_choices,
    ratio_uncertainty,
    scored_corpus,
    unit_counts,
)
from benchbench.stats.auroc import macro_auroc_uncertainty
from benchbench.stats.groups import group_mean
from benchbench.stats.influence import mean
from benchbench.stats.intervals import Interval, Uncertainty, exponential
from benchbench.stats.scores import bootstrap, median_interval, positive, score_uncertainty


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A value over items, before it becomes a row."""

    value: float
    known: Uncertainty
    method: str
    n: int
    notes: tuple[str, ...] = ()


def aggregate(spec: ScoringSpec, items: Sequence[Item], seed: int = 1234) -> list[MetricResult]:
    """One row per column of the task, over items of one prompt. Failed items are left out of `n`.

    Args:
        seed: for the bootstrap of medians; all other rows are without chance.
    """
    usable = answered(items)
    return [
        as_row(spec.task, column, _aggregate(ColumnItems.of(spec, column, usable, seed))) for column in columns(spec)
    ]


def aggregate_group(
    group: str,
    members: Mapping[str, Sequence[MetricResult]],
    *,
    weight_by_size: bool,
    correlations: Mapping[str, ArrayLike] | None = None,
) -> list[MetricResult]:
    """One row per metric that every member task has: the mean of their values, equal or by size.

    A member whose value is undefined leaves the group's undefined, with a note that names it; so does one without an
    interval the group's interval.

    Args:
        group: name of the group.
        members: task name → its rows.
        weight_by_size: weigh tasks by their numbers of docs.
        correlations: metric → correlation matrix of the members' errors, in their order (`groups.error_correlation`);
            metrics that are not named are averaged as if the tasks were independent.
    """
    by_name = [{row.metric: row for row in rows} for rows in members.values()]
    if not by_name:
        return []
    shared = [name for name in by_name[0] if all(name in rows for rows in by_name)]
    known = correlations or {}
    return [_group_row(group, [rows[name] for rows in by_name], weight_by_size, known.get(name)) for name in shared]


def _group_row(
    group: str, rows: Sequence[MetricResult], weight_by_size: bool, correlation: ArrayLike | None
) -> MetricResult:
    metric, n, better = rows[0].metric, sum(row.n for row in rows), rows[0].higher_is_better
    values = [row.value for row in rows if row.value is not None]
    if len(values) < len(rows):
        names = ", ".join(row.task for row in rows if row.value is None)
        return MetricResult(group, metric, None, None, None, None, n, None, None, better, f"no value for {names}")
    clustered = any(row.n_clusters is not None for row in rows)
    counts = [row.n if row.n_clusters is None else row.n_clusters for row in rows]
    found = group_mean(
        values,
        [row.stderr for row in rows],
        [max(1, count - 1) for count in counts],
        [float(row.n) for row in rows] if weight_by_size else None,
        intervals=[_interval(row) for row in rows],
        correlation=correlation,
    )
    low, high = _clamped(metric_bounds(metric), found.interval)
    return MetricResult(
        group,
        metric,
        found.value,
        found.stderr,
        low,
        high,
        n,
        sum(counts) if clustered else None,
        "group" if found.stderr is not None or low is not None else None,
        better,
        "; ".join(_group_notes(rows, weight_by_size, correlation is not None)),
    )


def _interval(row: MetricResult) -> Interval | None:
    return None if row.ci_low is None or row.ci_high is None else Interval(row.ci_low, row.ci_high)


def _group_notes(rows: Sequence[MetricResult], weight_by_size: bool, correlated: bool) -> list[str]:
    weights = "weighted by size" if weight_by_size else "equal weights"
    error = "docs that tasks share are counted once" if correlated else "error as if the tasks were independent"
    notes = [f"mean of {len(rows)} tasks, {weights}; {error}"]
    for what, missing in (
        ("standard error", [row.task for row in rows if row.stderr is None]),
        ("interval", [row.task for row in rows if row.stderr is not None and _interval(row) is None]),
    ):
        if missing:
            notes.append(f"no {what} for {', '.join(missing)}")
    return notes


def _aggregate(usable: ColumnItems) -> Aggregate | str:
    """The value over items, or the reason why there is none."""
    if not len(usable.items):
        return "no item was scored"
    try:
        return AGGREGATORS[usable.column.metric.aggregation](usable)
    except NoValueError as error:
        return str(error)


def as_row(task: str, column: ScoreColumn, found: Aggregate | str) -> MetricResult:
    """A row of the results table; `found` may be the reason why there is no value."""
    better = column.metric.higher_is_better
    if isinstance(found, str):
        return MetricResult(task, column.name, None, None, None, None, 0, None, None, better, found)
    notes = [*found.notes, *([found.known.reason] if found.known.reason else [])]
    if not math.isfinite(found.value):
        notes.append("the value is too large for a float")
    low, high = _clamped(bounds_of(column.metric), found.known.interval)
    return MetricResult(
        task,
        column.name,
        finite(found.value),
        finite(found.known.stderr),
        low,
        high,
        found.n,
        found.known.n_clusters,
        found.method if low is not None or found.known.stderr is not None else None,
        better,
        "; ".join(notes) or None,
    )


def _clamped(bounds: tuple[float, float] | None, interval: Interval | None) -> tuple[float | None, float | None]:
    """An interval that ends where the metric's values end."""
    if interval is None:
        return None, None
    least, most = bounds or (-math.inf, math.inf)
    return finite(max(least, interval.low)), finite(min(most, interval.high))


def _scored(usable: ColumnItems) -> tuple[list[float], list[str | None], tuple[str, ...]]:
    """Item scores that have a value, their clusters, and a note on those that have none."""
    scores, clusters = usable.items.scores(usable.column.name), usable.clusters
    if None not in scores:
        numbers = cast("list[float]", scores)
        if not math.isnan(sum(numbers)):
            return numbers, clusters, ()
    has_value = [score is not None and not math.isnan(score) for score in scores]
    known = [score for score in scores if score is not None and not math.isnan(score)]
    if not known:
        raise NoValueError("no item has a value")
    missing = len(scores) - len(known)
    notes = (f"{missing} of {len(scores)} items have no value",) if missing else ()
    return known, [*compress(clusters, has_value)], notes


def _method(known: Uncertainty, alone: str) -> str:
    return alone if known.n_clusters is None else "cluster"


def _mean(usable: ColumnItems) -> Aggregate:
    values, clusters, notes = _scored(usable)
    metric = usable.column.metric
    known, method = mean_uncertainty(values, clusters, bounds_of(metric), share_interval(metric.name))
    return Aggregate(mean(values).value, known, method, len(values), notes)


def _perplexity(usable: ColumnItems) -> Aggregate:
    values, clusters, notes = _scored(usable)
    estimate = mean([-value for value in values])
    value, known = exponential(estimate.value, score_uncertainty(estimate, clusters, positive))
    return Aggregate(value, known, _method(known, "clt"), len(values), notes)


def _median(usable: ColumnItems) -> Aggregate:
    values, clusters, notes = _scored(usable)

    def upper_median(x: Sequence[float]) -> float:
        return float(sorted(x)[len(x) // 2])

    known = bootstrap(values, lambda x: upper_median(x.tolist()), clusters, seed=usable.seed)
    interval, reason = median_interval(values, clusters)
    if known.stderr is not None:
        known = known._replace(interval=interval, reason=reason)
    return Aggregate(upper_median(values), known, "bootstrap", len(values), notes)


def _weighted_perplexity(usable: ColumnItems) -> Aggregate:
    estimate, places = nats_per_unit(usable)
    value, known = exponential(estimate.value, ratio_uncertainty(estimate, usable.clusters, unit_counts(usable)))
    return Aggregate(value, known, _method(known, "ratio"), len(places))


def _bits_per_byte(usable: ColumnItems) -> Aggregate:
    bits, places = bits_per_unit(usable)
    known = ratio_uncertainty(bits, usable.clusters, unit_counts(usable))
    return Aggregate(bits.value, known, _method(known, "ratio"), len(places))


def _agreement(usable: ColumnItems) -> Aggregate:
    metric, found = AGREEMENTS[usable.column.metric.aggregation], predicted_choices(usable)
    estimate, clusters = agreement(metric, found.gold, found.predicted), _at(usable.clusters, found.places)
    known = agreement_uncertainty(metric, estimate, found.gold, found.predicted, clusters, choices=found.choices)
    return Aggregate(estimate.value, known, _method(known, "jackknife"), len(found.places))


def _at(clusters: Sequence[str | None], places: Places) -> list[str | None]:
    return [clusters[place] for place in places]


def _auroc(usable: ColumnItems) -> Aggregate:
    estimate, scored = auroc_estimate(usable)
    gold, table, _ = choice_scores(usable)
    known = macro_auroc_uncertainty(gold, table, _at(usable.clusters, scored))
    return Aggregate(estimate.value, known, _method(known, "delong"), len(scored))


def _corpus(usable: ColumnItems) -> Aggregate:
    found = scored_corpus(usable)
    known = corpus_uncertainty(usable.column.metric.aggregation, found, usable.clusters)
    return Aggregate(found.estimate.value, known, _method(known, "jackknife"), len(usable.items), (found.signature,))


AGGREGATORS: dict[str, Callable[[ColumnItems], Aggregate]] = {
    "mean": _mean,
    "nanmean": _mean,
    "brier_score": _mean,
    "median": _median,
    "perplexity": _perplexity,
    "weighted_perplexity": _weighted_perplexity,
    "bits_per_byte": _bits_per_byte,
    "macro_auroc": _auroc,
    **dict.fromkeys(AGREEMENTS, _agreement),
    **dict.fromkeys(CORPUS, _corpus),
}

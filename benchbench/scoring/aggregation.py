"""Many items → one row per metric, with a standard error and a 95 % interval.

How the interval is made (`se_method`):
- `wilson`: a mean of 0/1 scores without clusters: Wilson's interval; the standard error beside it is
  the central limit theorem's (ddof 1), as lm-eval prints it.
- `clt`: any other mean, sd/√n and Student's t; for perplexity on the log scale, then exp.
- `delong`: areas under ROC curves, from DeLong's placements.
- `ratio`, `jackknife`: from influence values of a ratio of sums, or of a corpus metric.
- `cluster`: any of these where docs share a passage or source: cluster-robust, t with C − 1 degrees.
- `bootstrap`: the median. `group`: a mean over tasks.
A value that is not defined is None and `note` says why; never 0, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchbench.core.registry import METRICS
from benchbench.core.types import Item, MetricResult, ScoringSpec
from benchbench.scoring.columns import Column, columns
from benchbench.scoring.estimates import (
    AGREEMENTS,
    CORPUS,
    NoValueError,
    Usable,
    agreement_estimate,
    auroc_estimate,
    bits_per_unit,
    nats_per_unit,
    scored_corpus,
)
from benchbench.stats.bootstrap import bootstrap
from benchbench.stats.groups import group_mean
from benchbench.stats.influence import Estimate, mean
from benchbench.stats.intervals import Interval, Uncertainty, exponential, uncertainty, wilson


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
    usable = tuple(item for item in items if item.outcome != "failed")
    rows = []
    first = spec.filters[0] if spec.filters else None
    for column in columns(spec):
        found = _aggregate(Usable(column, usable, column.filter == first, seed))
        rows.append(as_row(spec.task, column, found))
    return rows


def aggregate_group(
    group: str, members: Mapping[str, Sequence[MetricResult]], *, weight_by_size: bool
) -> list[MetricResult]:
    """One row per metric that every member task has: the mean of their values, equal or by size.

    A member whose value is undefined leaves the group's undefined, with a note that names it.
    """
    by_name = [{row.metric: row for row in rows} for rows in members.values()]
    if not by_name:
        return []
    shared = [name for name in by_name[0] if all(name in rows for rows in by_name)]
    return [_group_row(group, name, [rows[name] for rows in by_name], weight_by_size) for name in shared]


def _group_row(group: str, metric: str, rows: Sequence[MetricResult], weight_by_size: bool) -> MetricResult:
    n = sum(row.n for row in rows)
    better = rows[0].higher_is_better
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
    )
    low, high = _clamped(metric, found.interval)
    weights = "weighted by size" if weight_by_size else "equal weights"
    notes = [f"mean of {len(rows)} tasks, {weights}; error as if the tasks were independent"]
    if found.stderr is None:
        notes.append(f"no standard error for {', '.join(row.task for row in rows if row.stderr is None)}")
    return MetricResult(
        group,
        metric,
        found.value,
        found.stderr,
        low,
        high,
        n,
        sum(counts) if clustered else None,
        "group" if found.stderr is not None else None,
        better,
        "; ".join(notes),
    )


def _aggregate(usable: Usable) -> Aggregate | str:
    """The value over items, or the reason why there is none."""
    if not usable.items:
        return "no item was scored"
    try:
        return AGGREGATORS[usable.column.metric.aggregation](usable)
    except NoValueError as error:
        return str(error)


def as_row(task: str, column: Column, found: Aggregate | str) -> MetricResult:
    """A row of the results table; `found` may be the reason why there is no value."""
    better = column.metric.higher_is_better
    if isinstance(found, str):
        return MetricResult(task, column.name, None, None, None, None, 0, None, None, better, found)
    notes = [*found.notes, *([found.known.reason] if found.known.reason else [])]
    if found.known.stderr == 0 and found.method != "wilson":
        notes.append("all items pull alike: the interval is too narrow")
    if not math.isfinite(found.value):
        notes.append("the value is too large for a float")
    low, high = _clamped(column.metric.name, found.known.interval)
    return MetricResult(
        task,
        column.name,
        _finite(found.value),
        _finite(found.known.stderr),
        low,
        high,
        found.n,
        found.known.n_clusters,
        None if low is None and high is None else found.method,
        better,
        "; ".join(notes) or None,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _clamped(metric: str, interval: Interval | None) -> tuple[float | None, float | None]:
    """An interval that ends where the metric's values end."""
    if interval is None:
        return None, None
    info = METRICS.get(metric.split(",", maxsplit=1)[0])
    least, most = (-math.inf, math.inf) if info is None or info.bounds is None else info.bounds
    return _finite(max(least, interval.low)), _finite(min(most, interval.high))


def _scored(usable: Usable) -> tuple[list[float], list[str | None], tuple[str, ...]]:
    """Item scores that have a value, their clusters, and a note on those that have none."""
    pairs = [(item.scores.get(usable.column.name), item.cluster) for item in usable.items]
    known = [(score, cluster) for score, cluster in pairs if score is not None and not math.isnan(score)]
    if not known:
        raise NoValueError("no item has a value")
    missing = len(pairs) - len(known)
    notes = (f"{missing} of {len(pairs)} items have no value",) if missing else ()
    return [score for score, _ in known], [cluster for _, cluster in known], notes


def _with_method(estimate: Estimate, clusters: Sequence[str | None], method: str) -> tuple[Uncertainty, str]:
    known = uncertainty(estimate, clusters)
    return known, method if known.n_clusters is None else "cluster"


def _mean(usable: Usable) -> Aggregate:
    values, clusters, notes = _scored(usable)
    estimate = mean(values)
    known, method = _with_method(estimate, clusters, "clt")
    if known.n_clusters is None and set(values) <= {0.0, 1.0}:
        known, method = known._replace(interval=wilson(int(sum(values)), len(values))), "wilson"
    return Aggregate(estimate.value, known, method, len(values), notes)


def _perplexity(usable: Usable) -> Aggregate:
    values, clusters, notes = _scored(usable)
    estimate = mean([-value for value in values])
    known, method = _with_method(estimate, clusters, "clt")
    value, known = exponential(estimate.value, known)
    return Aggregate(value, known, method, len(values), notes)


def _median(usable: Usable) -> Aggregate:
    values, clusters, notes = _scored(usable)

    def upper_median(x: Sequence[float]) -> float:
        return float(sorted(x)[len(x) // 2])

    known = bootstrap(values, lambda x: upper_median(x.tolist()), clusters, seed=usable.seed)
    return Aggregate(upper_median(values), known, "bootstrap", len(values), notes)


def _weighted_perplexity(usable: Usable) -> Aggregate:
    estimate, items = nats_per_unit(usable)
    known, method = _with_method(estimate, usable.clusters, "ratio")
    value, known = exponential(estimate.value, known)
    return Aggregate(value, known, method, len(items))


def _bits_per_byte(usable: Usable) -> Aggregate:
    bits, items = bits_per_unit(usable)
    known, method = _with_method(bits, usable.clusters, "ratio")
    return Aggregate(bits.value, known, method, len(items))


def _agreement(usable: Usable) -> Aggregate:
    estimate, judged = agreement_estimate(usable)
    known, method = _with_method(estimate, [item.cluster for item in judged], "jackknife")
    return Aggregate(estimate.value, known, method, len(judged))


def _auroc(usable: Usable) -> Aggregate:
    estimate, judged = auroc_estimate(usable)
    known, method = _with_method(estimate, [item.cluster for item in judged], "delong")
    return Aggregate(estimate.value, known, method, len(judged))


def _corpus(usable: Usable) -> Aggregate:
    found = scored_corpus(usable)
    known, method = _with_method(found.estimate, usable.clusters, "jackknife")
    return Aggregate(found.estimate.value, known, method, len(usable.items), (found.signature,))


AGGREGATORS: dict[str, Callable[[Usable], Aggregate]] = {
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

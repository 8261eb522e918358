"""Many items → one row per metric, with a standard error and a 95 % interval.

How the interval is made (`se_method`):
- `wilson`: a mean of 0/1 scores without clusters: Wilson's interval; the standard error beside it is
  the central limit theorem's (ddof 1), as lm-eval prints it.
- `clt`: any other mean, sd/√n and Student's t; for perplexity on the log scale, then exp.
- `ratio`, `jackknife`: from influence values of a ratio of sums, or of a corpus metric.
- `cluster`: any of these where docs share a passage or source: cluster-robust, t with C − 1 degrees.
- `bootstrap`: the median. `group`: a mean over tasks.
A value that is not defined is None and `note` says why; never 0, never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchbench.core.registry import METRICS, influence_column
from benchbench.core.types import Item, MetricResult, ScoringSpec
from benchbench.scoring.agreement import agreement
from benchbench.scoring.columns import Column, columns
from benchbench.scoring.filters import apply_filter
from benchbench.scoring.plugins import FilterContext
from benchbench.scoring.rolling import units
from benchbench.scoring.translation import CorpusScore, corpus_score
from benchbench.stats.bootstrap import bootstrap
from benchbench.stats.groups import group_mean
from benchbench.stats.influence import Estimate, mean, ratio
from benchbench.stats.intervals import Interval, Uncertainty, exponential, uncertainty, wilson


class NoValueError(Exception):
    """A value over items is not defined; the message says why."""


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A value over items, before it becomes a row."""

    value: float
    known: Uncertainty
    method: str
    n: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usable:
    """The items of a task that were not failures, and what aggregations need beside them."""

    column: Column
    items: tuple[Item, ...]
    """At least one."""
    is_first_filter: bool
    seed: int

    @property
    def clusters(self) -> list[str | None]:
        """Cluster name of each item, None for an item of its own."""
        return [item.cluster for item in self.items]


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
        rows.append(_row(spec.task, column, found))
    return rows


def with_influence(spec: ScoringSpec, items: Sequence[Item]) -> list[Item]:
    """The items with an influence value beside the scores of every corpus metric: how far a doc pulls the value.

    Two runs are compared by these where the metric is not a mean of item scores (BLEU, F1, bits per byte); for
    perplexities they are those of the logarithm. None for items that do not count.
    """
    usable = tuple(item for item in items if item.outcome != "failed")
    found: dict[str, dict[int, float]] = {}
    for column in columns(spec):
        if usable and column.metric.aggregation in ESTIMATORS:
            chosen = Usable(column, usable, column.filter == (spec.filters[0] if spec.filters else None), seed=0)
            found[influence_column(column.name)] = _influence(chosen)
    if not found:
        return list(items)
    return [
        replace(item, scores={**item.scores, **{name: values.get(id(item)) for name, values in found.items()}})
        for item in items
    ]


def _influence(usable: Usable) -> dict[int, float]:
    """id(item) → influence value, of the items that count; empty where the metric has no value."""
    try:
        estimate, judged = ESTIMATORS[usable.column.metric.aggregation](usable)
    except NoValueError:
        return {}
    return {id(item): value for item, value in zip(judged, estimate.influence.tolist(), strict=True)}


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


def _row(task: str, column: Column, found: Aggregate | str) -> MetricResult:
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


def _nats_per_unit(usable: Usable) -> tuple[Estimate, tuple[Item, ...]]:
    """Total nats over total words or bytes, counted again on the stored targets."""
    nats = [-math.fsum(item.loglikelihoods) for item in usable.items]
    counts = [units(usable.column.metric.name, item.targets[0]) for item in usable.items]
    if sum(counts) == 0:
        raise NoValueError("the texts have no bytes")
    return ratio(nats, counts), usable.items


def _bits_per_unit(usable: Usable) -> tuple[Estimate, tuple[Item, ...]]:
    nats, items = _nats_per_unit(usable)
    return Estimate(nats.value / math.log(2), nats.influence / math.log(2)), items


def _weighted_perplexity(usable: Usable) -> Aggregate:
    estimate, items = _nats_per_unit(usable)
    known, method = _with_method(estimate, usable.clusters, "ratio")
    value, known = exponential(estimate.value, known)
    return Aggregate(value, known, method, len(items))


def _bits_per_byte(usable: Usable) -> Aggregate:
    bits, items = _bits_per_unit(usable)
    known, method = _with_method(bits, usable.clusters, "ratio")
    return Aggregate(bits.value, known, method, len(items))


def _agreement_estimate(usable: Usable) -> tuple[Estimate, tuple[Item, ...]]:
    metric = AGREEMENTS[usable.column.metric.aggregation]
    judged = tuple(item for item in usable.items if item.gold is not None and item.prediction is not None)
    if not judged:
        raise NoValueError("no item has a right choice")
    predicted = [int(item.prediction or 0) for item in judged]
    gold = [
        guess if item.scores.get("acc") == 1.0 else int(item.gold or 0)
        for item, guess in zip(judged, predicted, strict=True)
    ]
    if metric == "f1" and max(*gold, *predicted) > 1:
        raise NoValueError("f1 is defined for two choices")
    return agreement(metric, gold, predicted), judged


def _agreement(usable: Usable) -> Aggregate:
    estimate, judged = _agreement_estimate(usable)
    known, method = _with_method(estimate, [item.cluster for item in judged], "jackknife")
    return Aggregate(estimate.value, known, method, len(judged))


def _corpus_score(usable: Usable) -> CorpusScore:
    texts = [_prediction(usable, item) for item in usable.items]
    metric = usable.column.metric
    return corpus_score(metric.aggregation, texts, [item.targets for item in usable.items], metric.kwargs)


def _corpus(usable: Usable) -> Aggregate:
    found = _corpus_score(usable)
    known, method = _with_method(found.estimate, usable.clusters, "jackknife")
    return Aggregate(found.estimate.value, known, method, len(usable.items), (found.signature,))


def _corpus_estimate(usable: Usable) -> tuple[Estimate, tuple[Item, ...]]:
    return _corpus_score(usable).estimate, usable.items


def _prediction(usable: Usable, item: Item) -> str:
    """The text that this column's filter leaves; the stored prediction is the first filter's."""
    if usable.is_first_filter:
        return item.prediction or ""
    filtered = apply_filter(usable.column.filter, item.texts, FilterContext())
    return filtered.texts[0] if filtered.texts else ""


AGREEMENTS = {"f1": "f1", "matthews_corrcoef": "matthews_corrcoef", "mcc": "matthews_corrcoef"}
CORPUS = ("bleu", "chrf", "chrf++", "ter")
AGGREGATORS: dict[str, Callable[[Usable], Aggregate]] = {
    "mean": _mean,
    "nanmean": _mean,
    "brier_score": _mean,
    "median": _median,
    "perplexity": _perplexity,
    "weighted_perplexity": _weighted_perplexity,
    "bits_per_byte": _bits_per_byte,
    **dict.fromkeys(AGREEMENTS, _agreement),
    **dict.fromkeys(CORPUS, _corpus),
}
ESTIMATORS: dict[str, Callable[[Usable], tuple[Estimate, tuple[Item, ...]]]] = {
    "weighted_perplexity": _nats_per_unit,
    "bits_per_byte": _bits_per_unit,
    **dict.fromkeys(AGREEMENTS, _agreement_estimate),
    **dict.fromkeys(CORPUS, _corpus_estimate),
}
"""Aggregations that are not means of item scores: the estimate and the items it rests on."""

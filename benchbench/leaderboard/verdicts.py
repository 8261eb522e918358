"""What a sweep's curves allow one to say: the verdict of each task, and of each group over its tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchbench.core.errors import StoreError
from benchbench.core.registry import metric_range
from benchbench.leaderboard.curves import Curve
from benchbench.leaderboard.metrics import Metric, metric_of
from benchbench.stats.power import DELTA
from benchbench.store.scores import Paired, pair, read_scores

if TYPE_CHECKING:
    from benchbench.stats.series import Series
    from benchbench.stats.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Said:
    """A curve with its verdict."""

    curve: Curve
    verdict: Verdict | None
    sentence: str
    """The verdict in words; without a verdict, why there is none."""


def verdicts(found: Sequence[Curve], *, among: Sequence[Curve] | None = None, delta: float | None = None) -> list[Said]:
    """A verdict for each of the curves. Reads stored items only; those of a group's tasks are looked for in `among`.

    `delta` is the margin below which a gain counts as none, in the metric's own unit; None is half a percent of the
    metric's range, or of the last value where it has no bounds.
    """
    known = {(curve.series, curve.task, curve.metric): curve for curve in among or found if not curve.is_group}
    return [_verdict(curve, known, delta) for curve in found]


def suite_verdicts(found: Sequence[Curve], *, delta: float | None = None) -> list[Said]:
    """For each series a verdict on all its tasks together: the mean of their main metrics, each from chance (0) to the
    best score (1), as if their docs were independent. None for a series with fewer than two such tasks.
    """
    said = []
    for name in dict.fromkeys(curve.series for curve in found):
        own = [curve for curve in found if curve.series == name and curve.is_main and not curve.is_group]
        metrics = [_metric(curve) for curve in own]
        ranges = [(m.floor, m.ceiling) if m.higher_is_better else None for m in metrics]
        scaled = [
            (curve, (bounds[0], bounds[1]))
            for curve, bounds in zip(own, ranges, strict=True)
            if bounds is not None and bounds[0] is not None and bounds[1] is not None and _is_whole(curve, own)
        ]
        if len(scaled) > 1:
            said.append(_suite(scaled, left_out=len(own) - len(scaled), delta=delta or DELTA))
    return said


def _is_whole(curve: Curve, own: Sequence[Curve]) -> bool:
    """It has a point wherever any task of the series has one."""
    return len(curve.points) == max(len(other.points) for other in own)


def _suite(scaled: Sequence[tuple[Curve, tuple[float, float]]], *, left_out: int, delta: float) -> Said:
    from benchbench.stats.series import series_of_tasks
    from benchbench.stats.verdict import series_verdict

    first = scaled[0][0]
    name = f"{len(scaled)} tasks" if left_out == 0 else f"{len(scaled)} of {len(scaled) + left_out} tasks"
    curve = replace(first, task=name, metric="normalised", points=(), n=sum(c.n for c, _ in scaled), chance=None)
    try:
        series = series_of_tasks([task_series(c) for c, _ in scaled], ranges=[bounds for _, bounds in scaled])
        verdict = series_verdict(series, delta=delta)
    except (StoreError, ValueError) as error:
        return Said(curve, None, f"{name} normalised: no verdict: {str(error).rstrip('.')}.")
    points = tuple(
        replace(point, value=value, low=None, high=None)
        for point, value in zip(first.points, verdict.values, strict=True)
    )
    return Said(
        replace(curve, points=points, n=verdict.n), verdict, verdict.sentence(name, "normalised", is_share=True)
    )


def _verdict(curve: Curve, known: Mapping[tuple[str, str, str], Curve], delta: float | None) -> Said:
    from benchbench.stats.verdict import series_verdict

    try:
        series = _group_series(curve, known) if curve.is_group else task_series(curve)
        verdict = series_verdict(
            series,
            chance=None if curve.is_group else curve.chance,
            delta=delta or _margin(curve),
            higher_is_better=curve.higher_is_better,
        )
    except (StoreError, ValueError) as error:
        return Said(curve, None, f"{curve.task} {curve.metric}: no verdict: {str(error).rstrip('.')}.")
    is_share = metric_range(curve.metric) == (0.0, 1.0)
    return Said(curve, verdict, verdict.sentence(curve.task, _label(curve), is_share=is_share))


def task_series(curve: Curve) -> Series:
    """The curve's scores on the docs that every checkpoint has a score for. StoreError where there are none."""
    from benchbench.stats.influence import Estimate
    from benchbench.stats.series import series_of_estimates, series_of_items

    metric = _metric(curve)
    if metric.kind is None:
        raise StoreError(f"{curve.metric} is a median, which has no influence values.")
    paired = pair([read_scores(point.run, curve.task, metric.column) for point in curve.points])
    if not paired.keys:
        raise StoreError(f"no doc of {curve.task} has a {curve.metric} at every checkpoint.")
    steps = [point.step for point in curve.points]
    better = metric.higher_is_better
    if metric.kind == "mean":
        return series_of_items(steps, list(paired.values), _clusters(paired), higher_is_better=better)
    if metric.kind == "log mean":
        return series_of_items(steps, list(-paired.values), _clusters(paired), higher_is_better=better)
    values = [point.value for point in curve.points]
    if any(value is None for value in values):
        raise StoreError(f"{curve.metric} has no value at some checkpoint.")
    turned = [math.log(v) if metric.is_log else v for v in values if v is not None]
    estimates = [Estimate(value, row - row.mean()) for value, row in zip(turned, paired.values, strict=True)]
    return series_of_estimates(steps, estimates, _clusters(paired), higher_is_better=better)


def _group_series(curve: Curve, known: Mapping[tuple[str, str, str], Curve]) -> Series:
    """The weighted mean of the members' series, as if their docs were independent."""
    from benchbench.stats.series import series_of_tasks

    members = [known.get((curve.series, task, curve.metric)) for task in curve.members]
    if any(member is None for member in members):
        raise StoreError(f"not every task of {curve.task} has a {curve.metric}.")
    parts = [task_series(member) for member in members if member is not None]
    return series_of_tasks(parts, [part.n for part in parts] if curve.weight_by_size else None)


def _metric(curve: Curve) -> Metric:
    return metric_of(curve.last.run.record(), curve.task, curve.metric)


def _clusters(paired: Paired) -> list[str | None] | None:
    return list(paired.clusters) if any(name is not None for name in paired.clusters) else None


def _margin(curve: Curve) -> float:
    """Half a percent of the metric's range, or of the last value; some margin even where that is 0."""
    if curve.is_group:
        return DELTA * max(1.0, abs(curve.last.value or 0.0))
    return _metric(curve).margin(*(point.value for point in curve.points[-1:] if point.value)) or DELTA


def _label(curve: Curve) -> str:
    """Perplexities are compared by their logarithms, and their figures are those."""
    return f"log {curve.metric}" if not curve.is_group and _metric(curve).is_log else curve.metric

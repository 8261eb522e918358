"""What a sweep's curves allow one to say: the verdict of each task, and of each group over its tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchbench.core.errors import StoreError
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
    return Said(curve, verdict, verdict.sentence(curve.task, _label(curve)))


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
    from benchbench.stats.series import Series

    members = [known.get((curve.series, task, curve.metric)) for task in curve.members]
    whole = [member for member in members if member is not None]
    if len(whole) < len(members) or not whole:
        raise StoreError(f"not every task of {curve.task} has a {curve.metric}.")
    steps = tuple(point.step for point in curve.points)
    if any(tuple(point.step for point in member.points) != steps for member in whole):
        raise StoreError(f"some task of {curve.task} was not asked at every checkpoint.")
    parts = [task_series(member) for member in whole]
    sizes = [part.n if curve.weight_by_size else 1 for part in parts]
    weights = [size / sum(sizes) for size in sizes]
    mean = replace(parts[0], right=None)
    return Series(
        steps=mean.steps,
        values=sum(w * part.values for w, part in zip(weights, parts, strict=True)),  # type: ignore[arg-type]
        covariance=sum(w * w * part.covariance for w, part in zip(weights, parts, strict=True)),  # type: ignore[arg-type]
        degrees=sum(part.degrees for part in parts),
        n=sum(part.n for part in parts),
        n_clusters=None,
    )


def _metric(curve: Curve) -> Metric:
    return metric_of(curve.last.run.record(), curve.task, curve.metric)


def _clusters(paired: Paired) -> list[str | None] | None:
    return list(paired.clusters) if any(name is not None for name in paired.clusters) else None


def _margin(curve: Curve) -> float:
    if not curve.is_group:
        metric = _metric(curve)
        if metric.is_log:
            return DELTA
        if metric.delta is not None:
            return metric.delta
    elif curve.higher_is_better and all(point.value is not None and 0 <= point.value <= 1 for point in curve.points):
        return DELTA
    return DELTA * abs(curve.last.value or 1.0) or DELTA


def _label(curve: Curve) -> str:
    """Perplexities are compared by their logarithms, and their figures are those."""
    return f"log {curve.metric}" if not curve.is_group and _metric(curve).is_log else curve.metric

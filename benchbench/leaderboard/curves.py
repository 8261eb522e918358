"""From the finished units of a sweep to its curves: one per series, task and metric, a point per step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.core.checkpoint_names import Axis, axis_of
from benchbench.core.errors import ArgumentError, StoreError, did_you_mean
from benchbench.leaderboard.metrics import metric_of
from benchbench.store.folder import RunFolder
from benchbench.store.sweeps import Done, SweepFolder

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's value with its 95 % interval."""

    step: int
    """Where it stands on the curve's axis."""
    tokens_seen: int | None
    value: float | None
    low: float | None
    high: float | None
    run: RunFolder


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of a task or group over the steps of one series."""

    series: str
    task: str
    metric: str
    points: tuple[Point, ...]
    """By step."""
    n: int
    """Docs at the last step."""
    chance: float | None
    higher_is_better: bool
    is_main: bool
    """The task's first metric: the one that it is known by."""
    members: tuple[str, ...] = ()
    """Tasks of a group, as recorded at the last step; empty for a task."""
    weight_by_size: bool = False
    axis: str = "step"
    """What the points' steps count: `billion tokens` and the like where the checkpoints' names tell no steps."""

    @property
    def is_group(self) -> bool:
        """An aggregate of several tasks."""
        return bool(self.members)

    @property
    def last(self) -> Point:
        """The point of the highest step."""
        return self.points[-1]


def curves(sweep: SweepFolder) -> list[Curve]:
    """Every curve of the sweep, series by series, groups before tasks, else in the order of the runs' rows.

    Steps at which other tasks, documents or prompts were asked than at the last one are left out.
    """
    done = sweep.all_done()
    latest = {(one.series, one.group): one.asked for one in done}
    same = [one for one in done if one.asked == latest[one.series, one.group]]
    return list(_curves([(one, RunFolder(sweep.output / one.run)) for one in same]))


def _curves(units: Iterable[tuple[Done, RunFolder]]) -> Iterable[Curve]:
    found: dict[tuple[str, str, str, bool], list[tuple[Done, RunFolder, Row]]] = {}
    records: dict[str, dict[str, Any]] = {}
    for done, run in units:
        records[done.run] = run.record()
        for row in records[done.run]["rows"]:
            found.setdefault((done.series, row["task"], row["metric"], row["is_group"]), []).append((done, run, row))
    main: dict[tuple[str, str, bool], str] = {}
    for series, task, metric, is_group in found:
        main.setdefault((series, task, is_group), metric)
    for key in sorted(found, key=lambda key: not key[3]):
        series, task, metric, is_group = key
        yield _curve(found[key], records[found[key][-1][0].run], is_main=main[series, task, is_group] == metric)


def _curve(points: list[tuple[Done, RunFolder, Row]], record: Row, *, is_main: bool) -> Curve:
    done, _, row = points[-1]
    group: Mapping[str, Any] = next((g for g in record["groups"] if row["is_group"] and g["name"] == row["task"]), {})
    axis = _axis([one for one, _, _ in points])
    return Curve(
        series=done.series,
        task=row["task"],
        metric=row["metric"],
        points=tuple(_point(place, *point) for place, point in zip(axis.places, points, strict=True)),
        axis=axis.name,
        n=row["n"],
        chance=None if row["is_group"] else metric_of(record, row["task"], row["metric"]).floor or None,
        higher_is_better=row["higher_is_better"],
        is_main=is_main,
        members=tuple(group.get("tasks", ())),
        weight_by_size=bool(group.get("weight_by_size", False)),
    )


def _axis(done: Sequence[Done]) -> Axis:
    try:
        return axis_of((one.step, one.tokens_seen) for one in done)
    except ValueError as error:
        raise StoreError(f"of the checkpoints of {done[0].series} {error}. Sweep them apart.") from None


def _point(place: int, done: Done, run: RunFolder, row: Row) -> Point:
    return Point(place, done.tokens_seen, row["value"], row["ci_low"], row["ci_high"], run)


def chosen_curves(found: Sequence[Curve], *, tasks: Sequence[str] | None, metric: str | None) -> list[Curve]:
    """The curves of these tasks (None: all) and this metric (None: each task's main one). ArgumentError if none is."""
    names = list(dict.fromkeys(curve.task for curve in found))
    for task in tasks or ():
        if task not in names:
            raise ArgumentError(
                f"the sweep has no task {task!r}; it has {', '.join(names[:8])}.{did_you_mean(task, names)}"
            )
    of_tasks = [curve for curve in found if tasks is None or curve.task in tasks]
    chosen = [curve for curve in of_tasks if (curve.is_main if metric is None else curve.metric == metric)]
    if not chosen:
        metrics = list(dict.fromkeys(curve.metric for curve in of_tasks))
        what = "nothing is done yet" if metric is None else f"no task here has a metric {metric!r}"
        known = f"; there are {', '.join(metrics)}" if metrics else ""
        raise ArgumentError(f"{what}{known}.{did_you_mean(metric or '', metrics)}")
    return chosen


def main_curves(found: Iterable[Curve]) -> list[Curve]:
    """The curve that each task and group is known by."""
    return [curve for curve in found if curve.is_main]

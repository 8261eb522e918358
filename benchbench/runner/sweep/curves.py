"""From the finished units of a sweep to its curves: one per series, task and metric, a point per step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.runner.sweep.folder import Done, SweepFolder
from benchbench.store.folder import RunFolder


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's value with its 95 % interval."""

    step: int
    tokens_seen: int | None
    value: float | None
    low: float | None
    high: float | None
    run: str
    """Path of the run folder, from the results folder."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of a task over the steps of one series."""

    series: str
    task: str
    metric: str
    points: tuple[Point, ...]
    """By step."""
    n: int
    chance: float | None
    higher_is_better: bool
    is_main: bool
    """The task's first metric: the one that its summary is made of."""
    is_group: bool


def curves(sweep: SweepFolder) -> list[Curve]:
    """Every curve of the sweep, series by series, groups first, in the order of the runs' rows."""
    records = [(done, RunFolder(sweep.output / done.run).record()) for done in sweep.all_done()]
    return curves_of(records)


def curves_of(records: Sequence[tuple[Done, Mapping[str, Any]]]) -> list[Curve]:
    """The curves of these units and their run records, which are in the order of their steps."""
    rows: dict[tuple[str, str, str], list[tuple[Done, Mapping[str, Any]]]] = {}
    chances: dict[str, float | None] = {}
    for done, record in records:
        for row in sorted(record["rows"], key=lambda row: not row["is_group"]):
            rows.setdefault((done.series, row["task"], row["metric"]), []).append((done, row))
        chances.update({name: task["scoring"].get("chance") for name, task in record["tasks"].items()})
    main: dict[tuple[str, str], str] = {}
    for series, task, metric in rows:
        main.setdefault((series, task), metric)
    return [
        Curve(
            series=series,
            task=task,
            metric=metric,
            points=tuple(_point(done, row) for done, row in points),
            n=points[-1][1]["n"],
            chance=chances.get(task),
            higher_is_better=points[-1][1]["higher_is_better"],
            is_main=main[series, task] == metric,
            is_group=points[-1][1]["is_group"],
        )
        for (series, task, metric), points in rows.items()
    ]


def _point(done: Done, row: Mapping[str, Any]) -> Point:
    return Point(done.step, done.tokens_seen, row["value"], row["ci_low"], row["ci_high"], done.run)

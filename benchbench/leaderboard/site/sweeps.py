"""A training run's checkpoints: curves, verdicts, and how good each task is for watching the training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchbench.core.chart import Dot, Line, Panel
from benchbench.core.checkpoint_names import Axis, axis_of
from benchbench.core.registry import metric_range
from benchbench.leaderboard.metrics import metric_of
from benchbench.leaderboard.site.board import Benchmark, weights_of
from benchbench.leaderboard.site.items import ItemScores, Paired
from benchbench.leaderboard.site.records import Cell, Entry, Variant, finite
from benchbench.leaderboard.site.text import name
from benchbench.stats.power import DELTA
from benchbench.stats.series import Series, series_of_items, series_of_scores, series_of_tasks
from benchbench.stats.verdict import Verdict, series_verdict

SMOOTH = "bpb_gold"
"""Shown beside the main metric where it was measured: it moves early in training."""
LOG_FROM = 50
"""Steps that span more than this factor stand on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's value with its 95 % interval."""

    step: int
    """Where it stands on the axis."""
    value: float | None
    low: float | None
    high: float | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class SweepTask:
    """One metric of one task over the checkpoints."""

    variant: Variant
    metric: str
    points: tuple[Point, ...]
    chance: float | None
    verdict: Verdict | None
    sentence: str
    has_items: bool
    is_main: bool
    series: Series | None
    axis: str = "step"

    @property
    def panel(self) -> Panel:
        """The curve."""
        dots = tuple(Dot(p.step, p.value, p.low, p.high) for p in self.points if p.value is not None)
        title = f"{name(self.variant.task)} {name(self.metric)}"
        log = is_log([point.step for point in self.points])
        lines = (Line(title, dots),)
        return Panel(
            title, lines, f"{self.axis} (log)" if log else self.axis, self.chance, note=self.sentence, log_x=log
        )


@dataclass(frozen=True, slots=True)
class Sweep:
    """A training run."""

    name: str
    entries: tuple[Entry, ...]
    tasks: tuple[SweepTask, ...]
    """In order of tasks; the main metric of each first."""
    overall: SweepTask | None
    """The mean of all tasks, each from chance (0) to the best score (1)."""
    axis: Axis
    """Where the entries stand."""


def is_log(steps: Sequence[int]) -> bool:
    """The steps want a logarithmic axis."""
    known = sorted(step for step in steps if step > 0)
    return len(known) > 3 and known[-1] > LOG_FROM * known[0]


def make_sweep(name: str, entries: Sequence[Entry], items: ItemScores, groups: Sequence[Benchmark] = ()) -> Sweep:
    """Curves and verdicts of one series; `entries` by step."""
    ordered, axis = tuple(entries), axis_of((entry.step, entry.tokens_seen) for entry in entries)
    found: list[SweepTask] = []
    for variant in sorted({variant for entry in ordered for variant in entry.cells}):
        members = [entry for entry in ordered if variant in entry.cells]
        if len(members) > 1:
            placed = _Placed(members, axis, tuple(axis.places[ordered.index(entry)] for entry in members))
            found.append(_task(variant, placed, [entry.cells[variant] for entry in members], items, is_main=True))
            smooth = [_by_metric(entry.cells[variant], SMOOTH) for entry in members]
            known = [cell for cell in smooth if cell is not None]
            if len(known) == len(members) and variant.metric != SMOOTH:
                found.append(_task(variant, placed, known, items, is_main=False))
    return Sweep(name, ordered, tuple(found), _overall(ordered, found, groups, axis), axis)


@dataclass(frozen=True, slots=True)
class _Placed:
    """Checkpoints and where they stand."""

    entries: Sequence[Entry]
    axis: Axis
    places: tuple[int, ...]


def _by_metric(cell: Cell, metric: str) -> Cell | None:
    """The cell, seen by another of its metrics."""
    rows = [row for row in cell.rows if row["metric"] == metric]
    if not rows:
        return None
    others = tuple(row for row in cell.rows if row["metric"] != metric)
    made = metric_of(cell.source.record, cell.variant.task, metric)
    return replace(cell, metric=made, rows=(rows[0], *others))


def _task(variant: Variant, placed: _Placed, cells: Sequence[Cell], items: ItemScores, *, is_main: bool) -> SweepTask:
    first = cells[0]
    points = tuple(
        Point(place, cell.value, finite(cell.row["ci_low"]), finite(cell.row["ci_high"]), entry)
        for place, entry, cell in zip(placed.places, placed.entries, cells, strict=True)
    )
    chance = first.metric.floor or None
    paired = items.paired_cells(variant, cells)
    metric = str(first.row["metric"])
    label = f"log {metric}" if first.metric.is_log and paired is not None else metric
    series: Series | None = None
    verdict: Verdict | None = None
    try:
        series = _series(points, cells, paired)
        values = [cell.value for cell in cells if cell.value is not None]
        delta = first.metric.margin(*values[-1:]) if paired is not None or not first.metric.is_log else None
        verdict = series_verdict(
            series,
            chance=chance,
            delta=delta or DELTA * max(1.0, *map(abs, values)),
            higher_is_better=first.metric.higher_is_better,
        )
        sentence = verdict.sentence(name(variant.task), name(label), is_share=metric_range(metric) == (0.0, 1.0))
    except ValueError as error:
        sentence = f"{name(variant.task)} {name(metric)}: no verdict: {str(error).rstrip('.')}."
    has_items, axis = paired is not None, placed.axis.name
    return SweepTask(variant, metric, points, chance, verdict, sentence, has_items, is_main, series, axis)


def _series(points: Sequence[Point], cells: Sequence[Cell], paired: Paired | None) -> Series:
    """From items where every checkpoint has them, else from values and standard errors."""
    steps = [point.step for point in points]
    better = cells[0].metric.higher_is_better
    if paired is not None:
        return series_of_items(steps, list(paired.scores), paired.clusters, higher_is_better=better)
    values, errors = [cell.value for cell in cells], [cell.stderr for cell in cells]
    counts = [row["n"] for cell in cells for row in cell.rows if row["n"] is not None]
    if any(value is None for value in values):
        raise ValueError("a checkpoint has no value")
    if any(error is None for error in errors):
        raise ValueError("a checkpoint has no standard error")
    if not counts:
        raise ValueError("it is not known how many docs there were")
    known = [value for value in values if value is not None], [error for error in errors if error is not None]
    return series_of_scores(steps, *known, min(counts), higher_is_better=better)


def _overall(
    entries: Sequence[Entry], tasks: Sequence[SweepTask], groups: Sequence[Benchmark], axis: Axis
) -> SweepTask | None:
    """The verdict on all tasks that have a best score and every checkpoint."""
    last = entries[-1]
    whole = [
        task
        for task in tasks
        if task.is_main and task.series is not None and len(task.points) == len(entries)
        and last.cells[task.variant].range is not None
    ]  # fmt: skip
    if len(whole) < 2:
        return None
    weights = weights_of([task.variant for task in whole], last, groups)
    ranges = [last.cells[task.variant].range or (0.0, 1.0) for task in whole]
    members = [task.series for task in whole if task.series is not None]
    try:
        series = series_of_tasks(members, [weights[task.variant] for task in whole], ranges=ranges)
        verdict = series_verdict(series, delta=DELTA)
    except ValueError:
        return None
    half = 1.959963984540054 * np.sqrt(np.diag(series.covariance))
    points = tuple(
        Point(place, value, value - float(h), value + float(h), entry)
        for place, entry, value, h in zip(axis.places, entries, verdict.values, half, strict=True)
    )
    title = f"{len(whole)} tasks"
    variant = replace(whole[0].variant, task=title, metric="normalised")
    paired = all(task.has_items for task in whole)
    sentence = verdict.sentence(title, "normalised", is_share=True)
    return SweepTask(variant, "normalised", points, 0.0, verdict, sentence, paired, True, series, axis.name)

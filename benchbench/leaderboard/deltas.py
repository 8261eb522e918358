"""What one model, or a group of trainings, gains over another on each benchmark: the row that papers print."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.core.record import GroupRecord
from benchbench.leaderboard.comparison import SEED, difference_of_runs
from benchbench.leaderboard.metrics import Metric, metric_of
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import cell_of
from benchbench.stats.combined import answer_noise, training_spread, widened
from benchbench.stats.duel import Duel, duel, duel_of_estimates, duel_of_tasks
from benchbench.stats.intervals import Interval
from benchbench.store.find import ModelRuns
from benchbench.store.folder import FinishedRun


@dataclass(frozen=True, slots=True)
class Side:
    """One column of the table: a model, or several trainings that count as one."""

    name: str
    models: tuple[ModelRuns, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """B against A on one benchmark: a task, or a group of them. Scores are means over a side's models."""

    benchmark: str
    """As its file calls it for people."""
    task: str
    """Its name, or that of the group."""
    metric: str
    a: float
    b: float
    difference: float
    """b − a. This and the scores are in percent where the metric lies between 0 and 1, else in its own unit."""
    interval: Interval | None
    """95 %: over docs, and over a side's trainings where there are several."""
    is_percent: bool
    higher_is_better: bool
    num_docs: int
    num_tasks: int = 1
    dropped: int = 0
    """Docs left out because a model has no score for them."""


@dataclass(frozen=True, slots=True)
class Deltas:
    """A table of them."""

    a: Side
    b: Side
    rows: tuple[Delta, ...]
    left_out: tuple[str, ...]
    """What is not in it, and why: sentences without their full stop."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One task on both sides."""

    duel: Duel
    metric: Metric
    means: tuple[tuple[float, ...], tuple[float, ...]]
    """The score of each model of either side."""
    noise: tuple[float, float]
    """What of their variance comes from the answers alone."""
    alias: str
    dropped: int


def deltas(a: Side, b: Side, only: Collection[str] | None = None) -> Deltas:
    """The table of two sides over the tasks that all of their models were asked alike.

    Args:
        only: names of tasks; None: all that they share.

    Raises:
        ArgumentError: a model is on both sides.
        StoreError: there is no such task.
    """
    _check(a, b)
    models, items = (*a.models, *b.models), ItemScores()
    shared = [task for task in models[0].tasks() if all(task in model.tasks() for model in models[1:])]
    wanted = [task for task in shared if only is None or task in only]
    left = [f"{task}: not every model was asked it" for task in only or () if task not in shared]
    tasks: dict[str, _Task] = {}
    groups: dict[str, GroupRecord] = {}
    for name in wanted:
        found = _task(a, b, name, items)
        if isinstance(found, str):
            left.append(f"{name}: {found}")
            continue
        tasks[name] = found
        for run in (run for model in models for run in model.runs):
            groups |= {group.name: group for group in run.record.groups if name in group.tasks}
    if not tasks:
        raise StoreError(f"{a.name} and {b.name} have no task in common that can be compared. {'; '.join(left)}.")
    whole = {name: group for name, group in groups.items() if len(group.tasks) > 1 and {*group.tasks} <= {*tasks}}
    return Deltas(a, b, tuple(_rows(tasks, whole)), tuple(left))


def _check(a: Side, b: Side) -> None:
    places = [model.runs[0].folder.path.resolve() for side in (a, b) for model in side.models]
    for place in places:
        if places.count(place) > 1:
            raise ArgumentError(f"the run {place} is named twice.")


def _rows(tasks: Mapping[str, _Task], groups: Mapping[str, GroupRecord]) -> list[Delta]:
    """A row for each group whose every task is there, in the place of its first; for other tasks one of their own."""
    home = {task: group for group in reversed(list(groups.values())) for task in group.tasks}
    rows: dict[str, Delta] = {}
    for name, task in tasks.items():
        group = home.get(name)
        if group is None:
            rows[name] = _row(name, task.alias, task, [task], [1.0])
        elif group.name not in rows:
            members = [tasks[one] for one in group.tasks]
            if any(one.metric.identity != members[0].metric.identity for one in members):
                rows |= {one: _row(one, tasks[one].alias, tasks[one], [tasks[one]], [1.0]) for one in group.tasks}
                continue
            weights = [float(one.duel.n) if group.weight_by_size else 1.0 for one in members]
            rows[group.name] = _row(group.name, group.name, members[0], members, weights)
    return list(rows.values())


def _row(name: str, alias: str, first: _Task, members: Sequence[_Task], weights: Sequence[float]) -> Delta:
    metric = first.metric
    found = first.duel if len(members) == 1 else duel_of_tasks([one.duel for one in members], weights)
    value, interval = found.difference.value, found.interval
    a, b = (
        [float(np.average(one, weights=weights)) for one in zip(*(task.means[side] for task in members), strict=True)]
        for side in (0, 1)
    )
    shares = np.asarray(weights) / sum(weights)
    noise_a, noise_b = (
        float(sum(share**2 * task.noise[side] for share, task in zip(shares, members, strict=True))) for side in (0, 1)
    )
    spread = training_spread(a, b, (noise_a, noise_b))
    if interval is not None and spread is not None:
        interval = widened(value, interval, spread)
    is_percent = metric.bounds is not None and metric.bounds[1] <= 1
    scale = 100.0 if is_percent else 1.0
    return Delta(
        benchmark=alias,
        task=name,
        metric=metric.name,
        a=scale * found.score_a,
        b=scale * found.score_b,
        difference=scale * value,
        interval=None if interval is None else Interval(scale * interval.low, scale * interval.high),
        is_percent=is_percent,
        higher_is_better=metric.higher_is_better,
        num_docs=sum(one.duel.n for one in members),
        num_tasks=len(members),
        dropped=sum(one.dropped for one in members),
    )


def _task(a: Side, b: Side, name: str, items: ItemScores) -> _Task | str:
    """The task on both sides by its first metric, or why not."""
    runs = _alike([*a.models, *b.models], name)
    if isinstance(runs, str):
        return runs
    cells = [cell_of(run, name) for run in runs]
    metric = metric_of(runs[0].record, name, cells[0].metric.name)
    if any(cell.metric.identity != metric.identity for cell in cells):
        return f"{metric.name} is computed differently (normalisation, filters or options differ)"
    if metric.kind is None or metric.is_log:
        return f"{metric.name} has no percentage points; `benchbench compare` without --deltas compares it"
    if not metric.is_mean and len(cells) > 2:
        return f"{metric.name} is no mean over docs, and so no mean over trainings is made of it"
    try:
        paired = items.paired(cells)
    except StoreError as error:
        return str(error).rstrip(".")
    better, scale, count = metric.higher_is_better, metric.scale, len(a.models)
    if metric.is_mean:
        x, y = paired.scores[:count].mean(axis=0), paired.scores[count:].mean(axis=0)
        found = duel(x, y, paired.clusters, seed=SEED, higher_is_better=better, scale=scale)
    else:
        one, two = paired.estimates
        found = duel_of_estimates(one, two, paired.clusters, seed=SEED, higher_is_better=better, scale=scale)
    means = tuple(map(float, paired.scores.mean(axis=1)))
    alias = str(runs[0].record.tasks[name].resolved.get("task_alias") or name)
    noise = answer_noise(paired.scores[:count]), answer_noise(paired.scores[count:])
    return _Task(found, metric, (means[:count], means[count:]), noise, alias, paired.dropped)


def _alike(models: Sequence[ModelRuns], task: str) -> list[FinishedRun] | str:
    """The newest run of each model that asked the task as one of the first model's did, or what differs."""
    reason = ""
    for first in (run for run in models[0].runs if task in run.record.tasks):
        found = [first]
        for model in models[1:]:
            reasons = {
                run.folder.path: difference_of_runs(first, run, task) for run in model.runs if task in run.record.tasks
            }
            fits = next((run for run in model.runs if reasons.get(run.folder.path, "") is None), None)
            if fits is None:
                reason = reason or str(next(iter(reasons.values()))).rstrip(".")
                break
            found.append(fits)
        if len(found) == len(models):
            return found
    return reason

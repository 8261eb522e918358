"""The checkpoints of a training: a curve for every task and metric, with the verdict on what the training bought.

`trainings.py` makes them; terminal, site and JSON read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchbench.core.checkpoint_names import Axis
from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.registry import metric_range
from benchbench.leaderboard.chart import Dot, Line, Panel
from benchbench.leaderboard.records import Entry, Variant
from benchbench.leaderboard.weights import RULES, Weighting
from benchbench.stats.difference import Reach
from benchbench.stats.sentence import Verdict, failed
from benchbench.stats.series import Series

SMOOTH = "bpb_gold"
"""Judged beside the main metric where it was measured: it moves early in training, where accuracy stays at chance."""
NORMALISED = "normalised"
"""What the mean of all tasks is called: each from the score of a guesser (0) to the best (1)."""
LOG_FROM = 50
"""Steps that span more than this factor stand on a logarithmic axis."""


@dataclass(frozen=True, slots=True)
class VerdictOptions:
    """How a training is to be judged."""

    delta: float | None = None
    """Margin below which a gain counts as none, in the metric's own unit; None: half a percent of its range, or of the
    last value where it has none."""
    since: int | None = None
    """Step from which the newest part is counted; None: the last fifth."""
    looks: int | None = None
    """1: all checkpoints are looked at once; None: after each, or once where all of them were imported."""
    weighting: Weighting = "benchmarks"


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint's value with its 95 % interval."""

    step: int
    """Where it stands on the axis."""
    value: float | None
    low: float | None
    high: float | None
    entry: Entry
    run: str = ""
    """Path of the run folder; empty for means of tasks."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of a task, a group or all tasks over the checkpoints."""

    training: str
    task: str
    metric: str
    points: tuple[Point, ...]
    """By step."""
    axis: str
    """What the points' steps count: `step`, or `billion tokens` and the like."""
    higher_is_better: bool
    n: int | None = None
    """Docs at the last point."""
    chance: float | None = None
    is_main: bool = True
    """The metric that the task is known by."""
    members: tuple[str, ...] = ()
    """Tasks of a group."""
    variant: Variant | None = None
    """Of a single task."""
    has_items: bool = False
    """The checkpoints are compared doc by doc."""
    is_log: bool = False
    """Judged by logarithms, as perplexities are."""
    series: Series | None = None
    problem: str | None = None
    """Why there is no series to judge."""
    verdict: Verdict | None = None
    reach: Reach | None = None
    """Where the change over the newest part could lie if docs that failed at one of its ends had not."""

    @property
    def is_group(self) -> bool:
        """An aggregate of several tasks."""
        return bool(self.members)

    @property
    def label(self) -> str:
        """The metric's name, as what is judged."""
        return f"log {self.metric}" if self.is_log and self.has_items else self.metric

    @property
    def sentence(self) -> str:
        """The verdict in words; without one, why there is none."""
        if self.verdict is None:
            return f"{self.task} {self.metric}: no verdict: {(self.problem or 'not asked for').rstrip('.')}."
        said = self.verdict.sentence(self.task, self.label, is_share=self.is_share)
        if self.reach is None:
            return said
        more = failed(self.reach, "at one end of the newest part", "what it bought", share=self.is_share)
        return f"{said} {more}"

    @property
    def is_share(self) -> bool:
        """Differences are percentage points."""
        return self.metric == NORMALISED or metric_range(self.metric) == (0.0, 1.0)

    @property
    def panel(self) -> Panel:
        """The curve as a chart."""
        dots = tuple(Dot(p.step, p.value, p.low, p.high) for p in self.points if p.value is not None)
        log = is_log([point.step for point in self.points])
        label = f"{self.axis} (log)" if log else self.axis
        title = f"{self.task} {self.metric}"
        return Panel(title, (Line(self.training, dots),), label, self.chance, note=self.sentence, log_x=log)


@dataclass(frozen=True)
class Training:
    """The checkpoints of one training."""

    name: str
    entries: tuple[Entry, ...]
    """By step."""
    axis: Axis
    curves: tuple[Curve, ...]
    """Every metric of every group and task, groups first; only main and smooth ones have verdicts."""
    overall: Curve | None
    """The mean of all tasks; None with fewer than two that can be in it."""
    left_out: tuple[str, ...] = ()
    """Tasks that are in no mean: their chance is unknown, they have no best score, or a checkpoint lacks them."""
    weighting: Weighting = "benchmarks"

    @property
    def main_curves(self) -> tuple[Curve, ...]:
        """The curve that each group and task is known by."""
        return tuple(curve for curve in self.curves if curve.is_main)

    @property
    def headline_curves(self) -> tuple[Curve, ...]:
        """What is said of the training: first all tasks together, then each."""
        return (() if self.overall is None else (self.overall,)) + self.main_curves

    @cached_property
    def smooth(self) -> Mapping[str, Curve]:
        """Task → the curve of its bits per byte."""
        return {curve.task: curve for curve in self.curves if curve.metric == SMOOTH and curve.verdict is not None}

    def beside(self, curve: Curve) -> str | None:
        """What the smooth signal of the same docs says where the metric itself shows nothing; None if it adds nothing.

        Bits per byte are another quantity: a sentence says so where the two disagree.
        """
        other = self.smooth.get(curve.task)
        mute = curve.verdict is not None and curve.verdict.outcome in ("no detectable improvement", "too little data")
        if other is None or other is curve or not mute or other.verdict is None:
            return None
        if other.verdict.outcome not in ("improving", "regressed"):
            return None
        moved = "better" if other.verdict.outcome == "improving" else "worse"
        return (
            f"Its bits per byte of the right answer do move, for the {moved} (another quantity: {curve.metric} need not"
            f" follow): {other.sentence}"
        )


def is_log(steps: Sequence[int]) -> bool:
    """The steps want a logarithmic axis."""
    known = sorted(step for step in steps if step > 0)
    return len(known) > 3 and known[-1] > LOG_FROM * known[0]


def chosen_curves(training: Training, *, tasks: Sequence[str] | None, metric: str | None) -> list[Curve]:
    """The curves of these tasks (None: all) and this metric (None: each task's main one). ArgumentError if none is."""
    names = list(dict.fromkeys(curve.task for curve in training.curves))
    for task in tasks or ():
        if task not in names:
            raise ArgumentError(
                f"the sweep has no task {task!r}; it has {', '.join(names[:8])}.{did_you_mean(task, names)}"
            )
    of_tasks = [curve for curve in training.curves if tasks is None or curve.task in tasks]
    chosen = [curve for curve in of_tasks if (curve.is_main if metric is None else curve.metric == metric)]
    if not chosen:
        metrics = list(dict.fromkeys(curve.metric for curve in of_tasks))
        known = f"; there are {', '.join(metrics)}" if metrics else ""
        raise ArgumentError(f"no task here has a metric {metric!r}{known}.{did_you_mean(metric or '', metrics)}")
    return chosen


def sentences(training: Training) -> list[str]:
    """The verdicts on the training: first of all tasks together, then of each."""
    found = []
    for curve in training.headline_curves:
        beside = training.beside(curve)
        found.append(curve.sentence if beside is None else f"{curve.sentence} {beside}")
    return found


def about(training: Training) -> list[str]:
    """What to know of the mean of all tasks: how they are weighted, and which are missing."""
    if training.overall is None:
        return []
    lines = [
        f"In the mean of all tasks {RULES[training.weighting]}; each task goes from chance (0) to the best score (1)."
    ]
    if training.left_out:
        lines.append(
            f"Left out of it: {', '.join(training.left_out)} (chance not known, no best score, or not everywhere)."
        )
    return lines


def panels(curves: Sequence[Curve]) -> list[Panel]:
    """One panel per task and metric; the trainings that share them are its lines."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.task, curve.metric, curve.axis), []).append(curve)
    return [
        Panel(
            title=f"{task} {metric}",
            lines=tuple(line for curve in members for line in curve.panel.lines),
            x_label=axis,
            reference=members[0].chance,
            note=" ".join(curve.sentence for curve in members),
        )
        for (task, metric, axis), members in groups.items()
    ]

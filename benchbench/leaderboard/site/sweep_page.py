"""A training's page, and the list of all: what the newest part bought, the verdicts, the figures of tasks, curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from benchbench.core.format import between, decimals, name, one_line, several, step_name
from benchbench.leaderboard.answers import main_curve
from benchbench.leaderboard.chart import sparkline, svg
from benchbench.leaderboard.site.parts import (
    Column,
    Drawing,
    Link,
    ListingPage,
    RowGroup,
    Table,
    Text,
    Value,
    listing,
    markup,
    row,
    slug,
    sweep_page,
    task_page,
    value,
)
from benchbench.leaderboard.training import Curve, Training, about
from benchbench.stats.sentence import Findings, with_interval
from benchbench.stats.series import TaskSignal

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_CURVES = 24


@dataclass(frozen=True, slots=True)
class PointRow:
    """A point of a curve, in the table below it."""

    step: Value
    value: Value
    interval: str


@dataclass(frozen=True, slots=True)
class CurveFigure:
    """A curve with its verdict."""

    id: str
    title: str
    drawing: Markup
    """Markup."""
    sentence: str
    points: tuple[PointRow, ...]


@dataclass(frozen=True, slots=True)
class SweepPage:
    """A training's page."""

    template: ClassVar[str] = "sweep.html"
    lead: str
    notes: tuple[str, ...]
    how: str
    """How checkpoints are compared."""
    overall: CurveFigure | None
    """Of all tasks together."""
    signal: Table
    curves: tuple[CurveFigure, ...]
    rest: tuple[str, ...]
    """Verdicts of the curves that are not drawn."""


def training_page(training: Training) -> SweepPage:
    """A training's page."""
    steps, axis = training.axis.places, training.axis.name
    shown = [curve for curve in training.curves if curve.is_main or curve.task in training.smooth]
    order = sorted((c for c in shown if c.is_main or c.verdict is not None), key=lambda c: not c.is_main)
    tasks = sum(curve.is_main and not curve.is_group for curve in training.curves)
    reach = f"steps {steps[0]:,} to {steps[-1]:,}" if axis == "step" else f"{steps[0]:,} to {steps[-1]:,} {axis}"
    rows = RowGroup(tuple(row(SIGNAL, curve) for curve in order))
    return SweepPage(
        lead=f"{several(len(steps), 'checkpoint')}, {reach}, {several(tasks, 'task')}.",
        notes=(*_notes(training), *map(one_line, about(training))),
        how=_how(training),
        overall=None if training.overall is None else _figure(training, training.overall, "overall"),
        signal=Table("signal", "Verdicts and task signal", "signal", SIGNAL, (rows,)),
        curves=tuple(_figure(training, curve, f"curve-{i}") for i, curve in enumerate(order[:MOST_CURVES])),
        rest=tuple(one_line(sentence) for curve in order[MOST_CURVES:] for sentence in _sentences(training, curve)),
    )


def _notes(training: Training) -> list[str]:
    notes = []
    paired = {curve.has_items for curve in training.curves if curve.variant is not None and curve.is_main}
    if False in paired:
        which = "These numbers" if paired == {False} else "Some of these numbers"
        notes.append(
            f"{which} come without items. Their intervals follow from their standard errors, checkpoints are compared"
            " as if they had answered different docs, which hides small gains, and there are no duels."
        )
    if training.axis.name != "step":
        notes.append(
            "The names of these checkpoints tell tokens, not steps: wherever a step is named, it is"
            f" {training.axis.name}."
        )
    return notes


def _how(training: Training) -> str:
    paired = frozenset(curve.has_items for curve in training.curves if curve.variant is not None and curve.is_main)
    known = {frozenset({True}): "doc by doc", frozenset({False}): "by their standard errors"}
    return known.get(paired, "doc by doc where there are items")


def _sentences(training: Training, curve: Curve) -> list[str]:
    beside = training.beside(curve)
    return [curve.sentence, *([] if beside is None else [beside])]


def _findings(curve: Curve) -> Findings | None:
    return None if curve.verdict is None else curve.verdict.findings


def _signal(curve: Curve) -> TaskSignal | None:
    return None if curve.verdict is None else curve.verdict.signal


def _last(curve: Curve) -> Value:
    return value(curve.points[-1].value, decimals([point.value for point in curve.points]))


def _bought(curve: Curve) -> Value:
    found = _findings(curve)
    sign = 1 if curve.higher_is_better else -1
    return value(None if found is None else sign * found.recent.value, 4, sign=True)


def _interval(curve: Curve) -> Text:
    found = _findings(curve)
    if found is None:
        return Text("")
    low, high = found.recent.interval()
    return Text(between(low, high, 4) if curve.higher_is_better else between(-high, -low, 4))


def _monotonicity(curve: Curve) -> Value:
    signal = _signal(curve)
    return value(None if signal is None else signal.monotonicity, 2)


def _signal_to_noise(curve: Curve) -> Value:
    signal = _signal(curve)
    return value(None if signal is None else signal.signal_to_noise, 1)


def _at_chance(curve: Curve) -> Value:
    signal = _signal(curve)
    return value(None if signal is None else signal.above_chance_p, 4)


SIGNAL: tuple[Column[Curve], ...] = (
    Column("task", "Task", lambda curve: Link(None if curve.is_group else task_page(curve.task), name(curve.task))),
    Column("metric", "Metric", lambda curve: Text(name(curve.label), "bdi")),
    Column("curve", "Curve", lambda curve: Drawing(markup(sparkline(curve.panel))), sort="none", css="drawn"),
    Column("last", "Last value", _last, sort="n"),
    Column(
        "bought",
        "Last fifth bought",
        _bought,
        sort="n",
        help="Last checkpoint less the one a fifth of the steps before it",
    ),
    Column("interval", "95 % interval", _interval, right=True, small=True),
    Column("verdict", "Verdict", lambda c: Text("no verdict" if c.verdict is None else c.verdict.short)),
    Column(
        "detectable",
        "Detectable",
        lambda curve: value(None if curve.verdict is None else curve.verdict.detectable, 4),
        sort="n",
        help="Smallest gain found with 80 % power",
    ),
    Column("monotonicity", "Monotonicity", _monotonicity, sort="n"),
    Column("snr", "Signal / noise", _signal_to_noise, sort="n"),
    Column("chance", "p at chance", _at_chance, sort="n"),
)


def newest_part(curve: Curve) -> str:
    """`104k→130k`: the steps that the newest part goes over."""
    found = _findings(curve)
    if found is None or curve.verdict is None:
        return ""
    return f"{step_name(curve.verdict.steps[found.since])}→{step_name(curve.verdict.steps[-1])}"


def _figure(training: Training, curve: Curve, anchor: str) -> CurveFigure:
    places = decimals([point.value for point in curve.points])
    return CurveFigure(
        id=f"{anchor}-{slug(curve.metric)}",
        title=f"{name(curve.task)} {name(curve.metric)}",
        drawing=markup(svg([curve.panel], columns=1)),
        sentence=" ".join(map(one_line, _sentences(training, curve))),
        points=tuple(
            PointRow(value(point.step), value(point.value, places), between(point.low, point.high, places))
            for point in curve.points
        ),
    )


def _newest_step(training: Training) -> Value | Text:
    last = training.axis.places[-1]
    return value(last) if training.axis.name == "step" else Text(f"{last:,} {training.axis.name}")


def _verdict(training: Training) -> Text:
    verdict = main_curve(training).verdict
    return Text("–" if verdict is None else verdict.short)


TRAININGS: tuple[Column[Training], ...] = (
    Column("c1", "Training", lambda training: Link(sweep_page(training.name), name(training.name))),
    Column("curve", "Curve", lambda one: Drawing(markup(sparkline(main_curve(one).panel))), sort="none", css="drawn"),
    Column("c2", "Last fifth", lambda training: Text(newest_part(main_curve(training)) or "–")),
    Column("c3", "bought", lambda training: Text(bought_by(main_curve(training))[0]), sort="n"),
    Column("c4", "95 % interval", lambda training: Text(bought_by(main_curve(training))[1]), sort="n"),
    Column("c5", "Verdict", _verdict),
    Column("c6", "Last value", lambda training: _last(main_curve(training)), sort="n"),
    Column(
        "c7",
        "Tasks",
        lambda training: value(sum(one.is_main and not one.is_group for one in training.curves)),
        sort="n",
    ),
    Column("c8", "Checkpoints", lambda training: value(len(training.axis.places)), sort="n"),
    Column("c9", "Last step", _newest_step, sort="n"),
)


def trainings_page(trainings: Sequence[Training]) -> ListingPage:
    """The list of all trainings: what the newest part of each bought, and the verdict."""
    lead = (
        f"{several(len(trainings), 'training run')} with two checkpoints or more. Values are the mean of all tasks,"
        " each from chance (0) to the best score (1); of a training with one task that task's own."
    )
    return ListingPage(lead, listing("Sweeps", TRAININGS, trainings))


def bought_by(curve: Curve) -> tuple[str, str]:
    """What the newest part of a training bought, and its 95 % interval, as its sentence says it."""
    if curve.verdict is None or curve.verdict.findings is None:
        return "–", "–"
    verdict = replace(curve.verdict, is_share=curve.is_share)
    shown, _, interval = with_interval(verdict, curve.verdict.findings.recent).partition(", 95 % CI ")
    return shown, interval

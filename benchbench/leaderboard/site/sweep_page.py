"""A training's page: what its newest part bought, the verdicts, the figures of each task, the curves."""

from __future__ import annotations

from typing import Any

from benchbench.core.format import between, decimals, name, one_line, several, step_name
from benchbench.leaderboard.charts import curve as drawing
from benchbench.leaderboard.site.parts import markup, slug, task_page, value
from benchbench.leaderboard.training import Curve, Training, about

MOST_CURVES = 24


def sweep_context(training: Training) -> dict[str, Any]:
    """What `sweep.html` needs."""
    steps, axis = training.axis.places, training.axis.name
    shown = [curve for curve in training.curves if curve.is_main or curve.task in training.smooth]
    order = sorted((c for c in shown if c.is_main or c.verdict is not None), key=lambda c: not c.is_main)
    tasks = sum(curve.is_main and not curve.is_group for curve in training.curves)
    reach = f"steps {steps[0]:,} to {steps[-1]:,}" if axis == "step" else f"{steps[0]:,} to {steps[-1]:,} {axis}"
    return {
        "lead": f"{several(len(steps), 'checkpoint')}, {reach}, {several(tasks, 'task')}.",
        "notes": [*_notes(training), *map(one_line, about(training))],
        "how": _how(training),
        "overall": None if training.overall is None else _curve(training, training.overall, "overall"),
        "signal": [_signal(curve) for curve in order],
        "curves": [_curve(training, curve, f"curve-{i}") for i, curve in enumerate(order[:MOST_CURVES])],
        "rest": [one_line(sentence) for curve in order[MOST_CURVES:] for sentence in _sentences(training, curve)],
    }


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


def _signal(curve: Curve) -> dict[str, Any]:
    verdict = curve.verdict
    signal = None if verdict is None else verdict.signal
    found = None if verdict is None else verdict.findings
    places = decimals([point.value for point in curve.points])
    sign = 1 if curve.higher_is_better else -1
    return {
        "href": None if curve.is_group else task_page(curve.task),
        "task": name(curve.task),
        "metric": name(curve.label),
        "last": value(curve.points[-1].value, places),
        "bought": value(None if found is None else sign * found.recent.value, 4, sign=True),
        "interval": "" if found is None else between(*_turned(found.recent.interval(), sign), 4),
        "verdict": "no verdict" if verdict is None else verdict.short,
        "detectable": value(None if verdict is None else verdict.detectable, 4),
        "monotonicity": value(None if signal is None else signal.monotonicity, 2),
        "snr": value(None if signal is None else signal.signal_to_noise, 1),
        "chance": value(None if signal is None else signal.above_chance_p, 4),
    }


def _turned(interval: tuple[float, float], sign: int) -> tuple[float, float]:
    low, high = interval
    return (low, high) if sign > 0 else (-high, -low)


def newest_part(curve: Curve) -> str:
    """`104k→130k`: the steps that the newest part goes over."""
    found = None if curve.verdict is None else curve.verdict.findings
    if found is None or curve.verdict is None:
        return ""
    return f"{step_name(curve.verdict.steps[found.since])}→{step_name(curve.verdict.steps[-1])}"


def _curve(training: Training, curve: Curve, anchor: str) -> dict[str, Any]:
    places = decimals([point.value for point in curve.points])
    return {
        "id": f"{anchor}-{slug(curve.metric)}",
        "title": f"{name(curve.task)} {name(curve.metric)}",
        "drawing": markup(drawing(curve.panel)),
        "sentence": " ".join(map(one_line, _sentences(training, curve))),
        "points": [
            {
                "step": value(point.step),
                "value": value(point.value, places),
                "interval": between(point.low, point.high, places),
            }
            for point in curve.points
        ],
    }

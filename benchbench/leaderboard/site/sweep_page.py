"""A sweep's page: the verdicts, the figures of each task, the curves."""

from __future__ import annotations

from typing import Any

from benchbench.leaderboard.site.drawings import curve
from benchbench.leaderboard.site.parts import markup, task_page, value
from benchbench.leaderboard.site.sweeps import Sweep, SweepTask
from benchbench.leaderboard.site.text import between, decimals, name, slug

MOST_CURVES = 24


def sweep_context(sweep: Sweep) -> dict[str, Any]:
    """What `sweep.html` needs."""
    steps, axis = sweep.axis.places, sweep.axis.name
    reach = f"steps {steps[0]:,} to {steps[-1]:,}" if axis == "step" else f"{steps[0]:,} to {steps[-1]:,} {axis}"
    paired = {task.has_items for task in sweep.tasks}
    notes = []
    if False in paired:
        which = "These numbers" if paired == {False} else "Some of these numbers"
        notes.append(
            f"{which} come without items. Their intervals follow from their standard errors, checkpoints are compared"
            " as if they had answered different docs, which hides small gains, and there are no duels."
        )
    how = {
        frozenset({True}): "doc by doc",
        frozenset({False}): "by their standard errors",
    }.get(frozenset(paired), "doc by doc where there are items")
    order = sorted(sweep.tasks, key=lambda task: not task.is_main)
    tasks = sum(task.is_main for task in order)
    if axis != "step":
        notes.append(f"The names of these checkpoints tell tokens, not steps: wherever a step is named, it is {axis}.")
    return {
        "lead": f"{len(steps)} checkpoints, {reach}, {tasks} tasks.",
        "notes": notes,
        "how": how,
        "overall": None if sweep.overall is None else _curve(sweep.overall, "overall"),
        "signal": [_signal(task) for task in sweep.tasks],
        "curves": [_curve(task, f"curve-{i}") for i, task in enumerate(order[:MOST_CURVES])],
        "rest": [task.sentence for task in order[MOST_CURVES:]],
    }


def _signal(task: SweepTask) -> dict[str, Any]:
    verdict = task.verdict
    signal = None if verdict is None else verdict.signal
    last = task.points[-1].value
    places = decimals([point.value for point in task.points])
    gains = verdict is not None and verdict.outcome in ("plateau", "no detectable improvement")
    return {
        "href": task_page(task.variant.task),
        "task": name(task.variant.task),
        "metric": name(task.metric),
        "last": value(last, places),
        "verdict": "no verdict" if verdict is None else verdict.outcome,
        "since": value(verdict.since if verdict is not None and gains else None),
        "upper": value(verdict.upper if verdict is not None and gains else None, 4, sign=True),
        "detectable": value(None if verdict is None else verdict.detectable, 4),
        "monotonicity": value(None if signal is None else signal.monotonicity, 2),
        "snr": value(None if signal is None else signal.signal_to_noise, 1),
        "chance": value(None if signal is None else signal.above_chance_p, 4),
    }


def _curve(task: SweepTask, anchor: str) -> dict[str, Any]:
    places = decimals([point.value for point in task.points])
    return {
        "id": f"{anchor}-{slug(task.metric)}",
        "title": f"{name(task.variant.task)} {name(task.metric)}",
        "drawing": markup(curve(task.panel)),
        "sentence": task.sentence,
        "points": [
            {
                "step": value(point.step),
                "value": value(point.value, places),
                "interval": between(point.low, point.high, places),
            }
            for point in task.points
        ],
    }

"""After a run: the metrics that its tasks list and that a model or a program of its own computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from benchbench.core.plugins import load_place
from benchbench.core.post_metrics import listed_metrics
from benchbench.core.record import RunRecord
from benchbench.runner.events import OnEvent
from benchbench.runner.plan import Plan
from benchbench.runner.settings import RunSettings

SCORER = "benchbench.extensions.rescore.listed:score_listed"
"""What computes them: `(run folder, settings, on_event)`. Loaded only for a run that has some to compute."""
CHECKER = "benchbench.extensions.rescore.listed:check_listed"
"""What looks beforehand whether they can be: `({metric: tasks}, settings, on_event)`."""


def pending_metrics(record: RunRecord) -> dict[str, list[str]]:
    """Task → names of the metrics that it lists and that have not been computed yet."""
    found: dict[str, list[str]] = {}
    for task, about in record.tasks.items():
        listed = {one.name for one in listed_metrics(about.resolved)}
        names = [row.metric for row in record.rows_of(task) if row.metric in listed and row.value is None]
        if names:
            found[task] = names
    return found


def check_pending(plan: Plan, settings: RunSettings, on_event: OnEvent) -> None:
    """Says before a model is asked what of the listed metrics will not be computed.

    Raises the BenchbenchError of what was asked for and cannot be had: a sandbox where programs may be run.
    """
    listed: dict[str, list[str]] = {}
    for prepared in plan.tasks:
        for name in dict.fromkeys(one.name for one in listed_metrics(prepared.task.resolved())):
            listed.setdefault(name, []).append(prepared.task.name)
    if listed:
        checker = cast("Callable[[dict[str, list[str]], RunSettings, OnEvent], None]", load_place(CHECKER))
        checker(listed, settings, on_event)


def score_pending(path: Path, record: RunRecord, settings: RunSettings, on_event: OnEvent) -> bool:
    """Computes what is pending; what cannot be is told and never fails the run. Whether there was any."""
    if not pending_metrics(record):
        return False
    scorer = cast("Callable[[Path, RunSettings, OnEvent], None]", load_place(SCORER))
    scorer(path, settings, on_event)
    return True

"""What a run's tasks list in `metric_list` and what is computed after it: at once where it can be, else later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, cast

from benchbench.core import post_metrics
from benchbench.core.errors import BenchbenchError
from benchbench.core.plugins import load
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.after import pending_metrics
from benchbench.runner.events import Note, OnEvent
from benchbench.runner.plan import first_names
from benchbench.runner.programs import ProgramOptions
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder


class ChecksFirst(Protocol):
    """A PostMetric's class that knows before the run whether it will be computed."""

    def check(self, options: ProgramOptions) -> str | None:
        """Why it will not be, as a sentence without its full stop; None if it will. BenchbenchError if it cannot be."""
        ...


def check_listed(listed: Mapping[str, Sequence[str]], settings: RunSettings, on_event: OnEvent) -> None:
    """Says what of the listed metrics (name → tasks) will not be computed. BenchbenchError as `ChecksFirst.check`."""
    for name, tasks in listed.items():
        checked = cast("ChecksFirst | None", load(name, post_metrics.POST_METRICS, post_metrics.POST_METRIC_GROUP))
        if checked is not None and hasattr(checked, "check"):
            reason = checked.check(settings.programs)
            if reason is not None:
                on_event(Note(f"{first_names(tasks, 5)}: {reason}."))


def score_listed(path: Path, settings: RunSettings, on_event: OnEvent) -> None:
    """Computes every listed metric that is not there yet. One that cannot be is told, with the command to try again."""
    run = RunFolder(path)
    wanted: dict[str, list[str]] = {}
    for task, names in pending_metrics(run.record()).items():
        for name in names:
            wanted.setdefault(name, []).append(task)
    for name, tasks in wanted.items():
        asked = ScoreSettings(
            (name,),
            tasks=",".join(tasks),
            data_root=settings.render.data_root,
            include_paths=settings.include_paths,
            trust_task_code=settings.render.trust_task_code,
            programs=settings.programs,
        )
        try:
            score(run, asked, on_event=on_event)
        except BenchbenchError as error:
            text = str(error).rstrip(".")
            on_event(Note(f"{text}. The run stands; `benchbench score {path} --metric {name}` computes it later."))

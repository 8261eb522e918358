"""What a run's tasks list in `metric_list` and what is computed after it: at once where it can be, else later."""

from __future__ import annotations

from pathlib import Path

from benchbench.core.errors import BenchbenchError
from benchbench.extensions.rescore.score import score
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.after import pending_metrics
from benchbench.runner.events import Note, OnEvent
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder


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
            programs=settings.programs,
        )
        try:
            score(run, asked, on_event=on_event)
        except BenchbenchError as error:
            text = str(error).rstrip(".")
            on_event(Note(f"{text}. The run stands; `benchbench score {path} --metric {name}` computes it later."))

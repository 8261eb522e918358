"""One model on one task under several prompts: every prompt's row, their mean, and the best as what it is.

A best of K stands here and nowhere else: it enters no comparison and no ranking with scores of a single prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.core.record import Row, RunRecord, TaskRecord
from benchbench.leaderboard.metrics import metric_names, metric_of
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import cell_of
from benchbench.stats.prompts import Prompts, over_prompts
from benchbench.store.find import ModelRuns
from benchbench.store.folder import FinishedRun

SEED = 1234
"""Of the divisions of items, so that the same records give the same numbers."""
DEFAULT = "default"

PromptLine: TypeAlias = "dict[str, str | float | None]"
"""A row to print: what it is, and its figures."""


@dataclass(frozen=True, slots=True)
class PromptTable:
    """A task's rows, one per prompt."""

    task: str
    metric: str
    num_fewshot: int | None
    rows: tuple[tuple[str, Row], ...]
    """(prompt, the row of its run's record), the task's own prompt first."""
    n: int
    """Items that every prompt has a score for."""
    summary: Prompts | None
    """None for metrics that are no mean of item scores, such as BLEU."""


def prompt_tables(model: ModelRuns, *, task: str | None = None, metric: str | None = None) -> list[PromptTable]:
    """A table for each task that the model was asked under two prompts or more.

    Raises:
        ArgumentError: no such task or metric.
        StoreError: no task was asked under two prompts.
    """
    if task is not None and task not in model.tasks():
        raise ArgumentError(f"{model.name} has no task {task!r}; it has {', '.join(model.tasks()[:8])}.")
    found = []
    for name in model.tasks() if task is None else [task]:
        runs = _by_prompt(model, name)
        if len(runs) > 1:
            found.append(_table(name, runs, metric))
    if not found:
        raise StoreError(
            f"{model.name} was asked {task or 'no task'} under {'one prompt only' if task else 'two prompts'} (with "
            "the same documents and shots). `benchbench tasks show TASK` lists a task's prompts; `benchbench run "
            "--prompt NAME` asks one."
        )
    return found


def _by_prompt(model: ModelRuns, task: str) -> dict[str, FinishedRun]:
    """The newest run of each prompt among those that asked the same documents with as many shots as the newest."""
    runs = [run for run in model.runs if task in run.record.tasks]
    alike = [run for run in runs if _is_alike(run.record.tasks[task], runs[0].record.tasks[task])]
    found: dict[str, FinishedRun] = {}
    for run in alike:
        found.setdefault(str(run.record.settings.get("prompt") or DEFAULT), run)
    return dict(sorted(found.items(), key=lambda named: (named[0] != DEFAULT, named[0])))


def _is_alike(one: TaskRecord, two: TaskRecord) -> bool:
    return (one.num_fewshot, one.data_hash, one.version) == (two.num_fewshot, two.data_hash, two.version)


def _table(task: str, runs: dict[str, FinishedRun], metric: str | None) -> PromptTable:
    records = [run.record for run in runs.values()]
    known = [name for name in metric_names(records[0], task) if all(name in metric_names(r, task) for r in records)]
    if not known or (metric is not None and metric not in known):
        raise ArgumentError(f"{task} has no metric {metric!r} under every prompt; it has {', '.join(known) or 'none'}.")
    name = known[0] if metric is None else metric
    rows = tuple((prompt, _row(run.record, task, name)) for prompt, run in runs.items())
    chosen = metric_of(records[0], task, name)
    summary, n = None, min(row.n or 0 for _, row in rows)
    if chosen.kind == "mean":
        cells = [cell_of(run, task).by(name) for run in runs.values()]
        paired = ItemScores().paired([cell for cell in cells if cell is not None])
        n = paired.scores.shape[1]
        if n > 1:
            better = chosen.higher_is_better
            summary = over_prompts(paired.scores, paired.clusters, higher_is_better=better, seed=SEED)
    return PromptTable(task, name, records[0].tasks[task].num_fewshot, rows, n, summary)


def _row(record: RunRecord, task: str, metric: str) -> Row:
    return next(row for row in record.rows_of(task) if row.metric == metric)


def lines(table: PromptTable) -> Iterator[PromptLine]:
    """The table as rows to print: `what`, `prompt`, `value`, `ci_low`, `ci_high`, `n`, `prompts`."""
    count = len(table.rows)
    for prompt, row in table.rows:
        yield {
            "what": "prompt",
            "prompt": prompt,
            "value": row.value,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "n": row.n,
        }
    summary = table.summary
    if summary is None:
        return
    whole: PromptLine = {"ci_low": None, "ci_high": None, "n": table.n, "prompts": count}
    mean = {} if summary.mean_interval is None else summary.mean_interval._asdict()
    yield {"what": "mean", "prompt": None, "value": summary.mean, **whole, **_named(mean)}
    best = table.rows[summary.best][0]
    yield {"what": "best, optimistic", "prompt": best, "value": summary.values[summary.best], **whole}
    known = summary.held_out_known
    held_out = {} if known is None or known.interval is None else known.interval._asdict()
    yield {"what": "best, chosen on other docs", "prompt": None, "value": summary.held_out, **whole, **_named(held_out)}


def _named(interval: dict[str, float]) -> dict[str, float]:
    return {f"ci_{end}": value for end, value in interval.items()}

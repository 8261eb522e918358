"""Two models on one task, asked block by block in random order until it is answered which is better.

Each block is a run of the first so many docs of one random order; it takes over what the block before has asked, which
is then removed. A row from fewer docs than there are says so, and `complete` asks the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchbench.backends import open_backend
from benchbench.backends.protocol import Backend
from benchbench.core.errors import ArgumentError
from benchbench.core.record import Row
from benchbench.core.registry import ITEM_MEANS, metric_range
from benchbench.core.settings import changed
from benchbench.runner.events import OnEvent, ignore
from benchbench.runner.plan import make_plan
from benchbench.runner.run import RunResult, run
from benchbench.runner.settings import RunSettings
from benchbench.stats.influence import Floats
from benchbench.stats.sequential import Decision, Question, blocks, decide
from benchbench.stats.testing import ALPHA
from benchbench.store.folder import RunFolder
from benchbench.tasks.prepare import random_order


@dataclass(frozen=True, slots=True)
class DecideOptions:
    """What is to be answered, and how surely. ArgumentError if a value makes no sense."""

    within: float | None = None
    """Margin of the question "do they differ by less?", in the metric's unit."""
    error: float = ALPHA
    first: int = 50
    """Docs of the first block; each block is a quarter larger in all than the one before."""
    complete: bool = False
    """Ask all docs, whatever is answered."""

    def __post_init__(self) -> None:
        if self.within is not None and not 0 < self.within < 1:
            raise ArgumentError(f"--within is {self.within}; it is a margin between 0 and 1, such as 0.01.")
        if not 0 < self.error < 0.5:
            raise ArgumentError(f"--error is {self.error}; it is the chance of a false answer, such as 0.05.")
        if self.first < 1:
            raise ArgumentError(f"--first is {self.first}; it is a number of docs, 1 or more.")


@dataclass(frozen=True, slots=True)
class TaskDecision:
    """What was answered on one task."""

    task: str
    metric: str
    total: int
    """Docs that there are."""
    found: Decision | None
    reason: str | None
    """Why the task cannot be asked in blocks; it was not asked."""
    runs: tuple[Path, ...] = ()
    """Of both models: where the docs that were asked lie."""


def decide_tasks(
    a: RunSettings, b: RunSettings, options: DecideOptions | None = None, *, on_event: OnEvent = ignore
) -> list[TaskDecision]:
    """Is `b` better than `a`, on every task of `b`; models are opened once.

    Each task is asked at the error of `options`: several tasks are several questions.

    Raises:
        ArgumentError: both are the same model.
    """
    chosen = options or DecideOptions()
    if (a.model.model, a.model.revision) == (b.model.model, b.model.revision):
        raise ArgumentError(f"{a.model.model} is not decided against itself; --against names another model.")
    plan = make_plan(b, on_event)
    sizes = {prepared.task.name: len(prepared.docs) for prepared in plan.tasks}
    engines = [open_backend(one.model) for one in (a, b)]
    try:
        return [
            _Asking(task, total, (a, b), (engines[0], engines[1]), chosen, on_event).decide()
            for task, total in sizes.items()
        ]
    finally:
        for engine in engines:
            engine.close()


@dataclass(slots=True)
class _Asking:
    """One task while it is asked."""

    task: str
    total: int
    settings: tuple[RunSettings, RunSettings]
    engines: tuple[Backend, Backend]
    options: DecideOptions
    on_event: OnEvent

    def decide(self) -> TaskDecision:
        looks = (self.total,) if self.options.complete else blocks(self.total, first=self.options.first)
        before: tuple[RunResult, ...] = ()
        for number, docs in enumerate(looks):
            results = self._ask(docs)
            self._remove(before, results)
            before, row = results, results[1].rows[0]
            reason = _cannot(row, results[1])
            if reason is not None:
                return TaskDecision(self.task, row.metric, self.total, None, reason, self._paths(results))
            found = self._answer(results, row, docs, looks[: number + 1])
            if not found.is_open:
                return TaskDecision(self.task, row.metric, self.total, found, None, self._paths(results))
        raise AssertionError("the last look answers or is final")

    def _ask(self, docs: int) -> tuple[RunResult, RunResult]:
        first, second = (
            run(self._part(settings, docs), on_event=self.on_event, backend=engine)
            for settings, engine in zip(self.settings, self.engines, strict=True)
        )
        return first, second

    def _part(self, settings: RunSettings, docs: int) -> RunSettings:
        some = None if docs >= self.total else docs
        render = replace(settings.render, limit=some, random_docs=some is not None)
        return replace(changed(settings, tasks=self.task), render=render)

    def _answer(self, results: Sequence[RunResult], row: Row, docs: int, looks: Sequence[int]) -> Decision:
        order = random_order(self.total, self.settings[1].render.seed)[:docs]
        x, y = (_scores(result.path, self.task, row.metric, self.total)[order] for result in results)
        known = ~(np.isnan(x) | np.isnan(y))
        if not known.any():
            raise ArgumentError(f"{self.task}: no doc has a {row.metric} of both models.")
        counts = np.cumsum(known)
        kept = [int(counts[look - 1]) for look in looks]
        total = int(known.sum()) if docs >= self.total else self.total
        return decide(
            x[known],
            y[known],
            total=total,
            looks=[look for look in kept if look],
            question=Question(self.options.within, self.options.error, higher_is_better=row.higher_is_better),
        )

    def _remove(self, before: Sequence[RunResult], now: Sequence[RunResult]) -> None:
        """Blocks that this command made and that the next ones hold, too."""
        for old, new in zip(before, now, strict=False):
            if not old.already_complete and old.path != new.path and RunFolder(new.path).finished:
                shutil.rmtree(old.path)

    @staticmethod
    def _paths(results: Sequence[RunResult]) -> tuple[Path, ...]:
        return tuple(result.path for result in results)


def _scores(path: Path, task: str, metric: str, total: int) -> Floats:
    """Score of each doc, NaN where there is none; shape (docs of the task,)."""
    found = np.full(total, np.nan)
    for item in RunFolder(path).items(task):
        value = item.scores.get(metric)
        if value is not None and item.outcome != "failed":
            found[item.doc_id] = value
    return found


def _cannot(row: Row, result: RunResult) -> str | None:
    """Why docs of this task say nothing one by one."""
    if row.n_clusters is not None:
        return "its docs share passages, so they are not drawn one by one; `benchbench run` asks all of them"
    scoring = result.record.tasks[row.task].scoring
    spec = scoring.spec(row.task)
    base = row.metric.partition(",")[0]
    aggregation = next((one.aggregation for one in spec.metrics if one.name == base), "mean")
    if aggregation not in ITEM_MEANS or metric_range(row.metric) != (0.0, 1.0):
        return f"{row.metric} is no mean of scores from 0 to 1; `benchbench run` asks all docs"
    return None

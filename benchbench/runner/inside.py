"""Runs from inside a training: what a callback asks at its steps, prepared once, whatever trains."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchbench.backends.engines import ModelOptions
from benchbench.core.settings import with_written
from benchbench.runner.events import ignore
from benchbench.runner.identity import refuse_taken_series
from benchbench.runner.logs.follow import Logs
from benchbench.runner.logs.rows import scores_of
from benchbench.runner.plan import Plan, make_plan
from benchbench.runner.run import RunResult
from benchbench.runner.settings import RunSettings
from benchbench.store.folder import RunFolder


def settings_inside(tasks: str, settings: RunSettings | None, changes: Mapping[str, object]) -> RunSettings:
    """The settings of a run of each step: `changes`, by their names, come before `settings`; `name` names the training.

    ArgumentError for what makes no sense.
    """
    asked = with_written(RunSettings(ModelOptions("")) if settings is None else settings, tasks=tasks, **changes)
    return replace(asked, name=None, series=asked.name)


@dataclass(frozen=True, slots=True)
class Inside:
    """The tasks, and who hears of their scores."""

    plan: Plan
    logs: Logs

    @classmethod
    def prepare(cls, settings: RunSettings, training: str) -> Inside:
        """Of the training in the folder `training`. Raises as `make_plan`, `Logs` and `refuse_taken_series` do."""
        logs = Logs(settings.logs, settings.output, warnings.warn)
        refuse_taken_series(settings, training)
        return cls(make_plan(settings, ignore), logs)

    def tell(self, result: RunResult) -> dict[str, float]:
        """Logs a finished run; its scores, under the names of the training's own log."""
        self.logs.add([RunFolder(result.path)])
        return scores_of(result.record)

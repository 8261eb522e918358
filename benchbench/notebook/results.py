"""What `evaluate` and `sweep` give back: records on the disk, as frames of pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.record import RunRecord
from benchbench.runner.run import RunResult
from benchbench.store.folder import FinishedRun, RunFolder
from benchbench.store.frames import frame_of, load_items

if TYPE_CHECKING:
    import pandas as pd

SHOWN = ["model", "task", "metric", "value", "ci_low", "ci_high", "n", "num_fewshot"]
"""The columns of what a notebook shows of a result."""


@dataclass(frozen=True)
class Result(RunResult):
    """A finished run of one model, as frames."""

    def table(self) -> pd.DataFrame:
        """A row for each task (or group) and metric, with the columns of `benchbench.load_runs`."""
        return frame_of([FinishedRun(RunFolder(self.path), self.record)])

    def items(self, task: str | Sequence[str] | None = None, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A row for each doc that was scored; arguments and columns are those of `benchbench.load_items`."""
        return load_items(self.path, task, columns=columns)

    def value(self, task: str, metric: str | None = None) -> float | None:
        """The value of a task or group, of its first metric if none is named. None where there is none.

        Raises:
            ArgumentError: the run has no such task or metric.
        """
        own = [row for row in self.rows if row.task == task]
        if not own:
            names = list(dict.fromkeys(row.task for row in self.rows))
            raise ArgumentError(f"the run has no task {task!r}; it has {', '.join(names)}.{did_you_mean(task, names)}")
        found = [row for row in own if metric in (None, row.metric)]
        if not found:
            raise ArgumentError(f"{task} has no metric {metric!r}; it has {', '.join(row.metric for row in own)}.")
        return found[0].value

    def __str__(self) -> str:
        return str(self._shown.to_string(index=False))

    def _repr_html_(self) -> str:
        return f"{self._shown.to_html(index=False)}"

    @property
    def _shown(self) -> pd.DataFrame:
        return self.table()[SHOWN]


@dataclass(frozen=True)
class Sweep:
    """A series of checkpoints that were scored."""

    path: Path
    """Its folder."""
    runs: tuple[Result, ...]
    """The checkpoints, by series and step."""
    not_scored: dict[str, str]
    """Checkpoints without results → why."""

    def table(self) -> pd.DataFrame:
        """A row for each checkpoint, task (or group) and metric, with the columns of `benchbench.load_runs`."""
        return frame_of([FinishedRun(RunFolder(run.path), run.record) for run in self.runs])

    def items(self, task: str | Sequence[str] | None = None, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """A row for each checkpoint and doc; arguments and columns are those of `benchbench.load_items`."""
        import pandas as pd

        return pd.concat([run.items(task, columns=columns) for run in self.runs], ignore_index=True)

    def curve(self, task: str, metric: str | None = None) -> pd.DataFrame:
        """The values of one task: a column for each series, an index of steps (tokens where no step is known).

        Raises:
            ArgumentError: the sweep has no such task or metric.
        """
        import pandas as pd

        values = {(run.record.series, _position(run.record)): run.value(task, metric) for run in self.runs}
        frame = pd.Series(values, dtype="Float64").unstack(0)
        return frame.rename_axis("step").rename_axis("series", axis="columns")

    @cached_property
    def verdicts(self) -> list[str]:
        """What each curve means: the sentences that `benchbench sweep show` prints."""
        from benchbench.leaderboard.paired import ItemScores
        from benchbench.leaderboard.records import records_of
        from benchbench.leaderboard.training import sentences
        from benchbench.leaderboard.trainings import make_training

        items, records = ItemScores(), records_of(RunFolder(run.path) for run in self.runs)
        trainings = [make_training(name, entries, items) for name, entries in records.trainings().items()]
        return [sentence for training in trainings for sentence in sentences(training)]

    def __str__(self) -> str:
        return "\n\n".join([str(self._shown.to_string(index=False)), *self.verdicts])

    def _repr_html_(self) -> str:
        from html import escape

        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.verdicts)
        return f"{self._shown.to_html(index=False)}{said}"

    @property
    def _shown(self) -> pd.DataFrame:
        return self.table()[SHOWN]


def _position(record: RunRecord) -> int:
    return (record.tokens_seen or 0) if record.step is None else record.step

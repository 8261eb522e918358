"""A run's progress in a notebook, a terminal or a log: one bar of tqdm, and lines for what a person should know."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchbench.core.format import clean
from benchbench.runner import events
from benchbench.runner.sweep import session
from benchbench.runner.sweep.session import OnSweepEvent, SweepEvent

SELDOM = 30.0
"""Seconds between two looks of the bar where they are lines of a log."""


class Bar:
    """Shows the events of a run or a sweep."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tqdm, where a notebook has no widgets: it writes text then
            from tqdm.auto import tqdm

            often = sys.stderr.isatty() or "ipykernel" in sys.modules
            self._tqdm: Any = tqdm
            self._bar: Any = tqdm(unit=" requests", leave=False, mininterval=0.2 if often else SELDOM)
        self._checkpoint = ""
        self._left = 0
        self._said: set[str] = set()

    def __call__(self, event: SweepEvent) -> None:
        """Shows one event."""
        match event:
            case session.CheckpointStarted(checkpoint):
                self._checkpoint = f"{checkpoint.name}  "
            case session.CheckpointFinished(checkpoint, done, _):
                self._say(f"{checkpoint.name} is scored ({done.timing['run']:.1f} s).")
            case session.CheckpointSkipped(checkpoint, why):
                self._say(f"{checkpoint.name} is passed over: {why}")
            case session.Waiting(_, newest):
                self._describe("waiting for a checkpoint" + ("" if newest is None else f" after step {newest}"))
            case _:
                self._show(event)

    def _show(self, event: SweepEvent) -> None:
        """An event of one run."""
        match event:
            case events.Note(text):
                self._say(text)
            case events.Preparing(task, position, count):
                self._describe(f"preparing {task} ({position}/{count})")
            case events.OpeningModel(model):
                self._describe(f"loading {model}")
            case events.RunStarted(requests=requests):
                self._begin(requests)
            case events.TaskStarted(task, _, done):
                self._left -= done
                self._bar.total = self._left
                self._describe(f"{self._checkpoint}{task}")
            case events.Scoring(task, metric, segments, done):
                self._begin(segments - done)
                self._describe(f"{task} {metric}")
            case events.Progress():
                self._bar.update()
            case events.SegmentsScored(count):
                self._bar.update(count)

    def _begin(self, requests: int) -> None:
        self._left = requests
        self._bar.reset(total=requests)

    def _describe(self, text: str) -> None:
        self._bar.set_description_str(clean(text))

    def _say(self, text: str) -> None:
        """A line above the bar, once."""
        if text not in self._said:
            self._said.add(text)
            self._tqdm.write(clean(text), file=sys.stderr)

    def close(self) -> None:
        """Takes the bar away."""
        self._bar.close()


@contextmanager
def shown(progress: bool | Callable[[SweepEvent], None]) -> Iterator[OnSweepEvent]:
    """What is called with each event: a bar for True, nothing for False, or the function that is given."""
    if not isinstance(progress, bool):
        yield progress
        return
    if not progress:
        yield events.ignore
        return
    bar = Bar()
    try:
        yield bar
    finally:
        bar.close()

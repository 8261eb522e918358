"""What an array task does: its unit, until it is done or Slurm says stop. Scored items are on disk line by line."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Literal

from benchbench.core.errors import ArgumentError, BackendError, ModelError, RunInUse, StoreError

if TYPE_CHECKING:
    from benchbench.runner.sweep.folder import SweepWriter, Unit
    from benchbench.runner.sweep.session import OnSweepEvent, SweepEvent

Outcome = Literal["done", "requeued", "stopped"]
LOOK_AGAIN = 5.0
"""Seconds between two tries to take a unit that another process holds."""


class Signals:
    """Turns the signals of Slurm into an end at the next Python instruction, and remembers which one it was."""

    def __init__(self) -> None:
        """From here on USR1 (the time limit is near) and TERM (cancelled, or preempted) raise KeyboardInterrupt."""
        self.got: int | None = None
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.got = number
        self.ignore()
        raise KeyboardInterrupt

    @staticmethod
    def ignore() -> None:
        """A second signal must not break off the clearing up."""
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def work(folder: Path, number: int, signals: Signals, on_event: OnSweepEvent, say: Callable[[str], None]) -> Outcome:
    """Does unit `number` of the array in `folder`. Raises the BenchbenchError of a unit that cannot be done."""
    from benchbench.extensions.slurm.folder import read_array
    from benchbench.runner.events import Progress

    array = read_array(folder.absolute())
    if not 0 <= number < len(array.units):
        raise ArgumentError(f"--unit is {number}; {folder} has units 0 to {len(array.units) - 1}.")
    answered = 0

    def count(event: SweepEvent) -> None:
        nonlocal answered
        answered += isinstance(event, Progress)
        on_event(event)

    try:
        _do(array.sweep, array.units[number], count, say)
    except KeyboardInterrupt:
        if signals.got == signal.SIGUSR1:
            return _back_into_queue(answered, say)
        say("Stopped from outside: cancelled, or preempted. What is scored stays; the unit goes on from here.")
        return "stopped"
    return "done"


def _do(sweep: SweepWriter, unit: Unit, on_event: OnSweepEvent, say: Callable[[str], None]) -> None:
    from benchbench.runner.checkpoint import Readiness
    from benchbench.runner.sweep import is_done
    from benchbench.runner.sweep.session import SweepSession, run_unit

    readiness = Readiness()
    session = SweepSession(sweep.settings(), on_event)
    waited = False
    try:
        while not is_done(sweep, unit, session, readiness):
            look = readiness.look(unit.checkpoint)
            if look.state == "settling":
                time.sleep(0.2)
                continue
            if look.state != "ready":
                raise ModelError(look.why)
            try:
                run_unit(sweep, unit, look.stamp, session)
            except RunInUse as error:  # a worker that the cluster lost may still be at it
                if not waited:
                    say(f"Waiting: {error}")
                waited = True
                time.sleep(LOOK_AGAIN)
        session.logs.finish()
    except (ModelError, BackendError, ArgumentError) as error:
        sweep.note(unit, "passed over", str(error))
        raise
    finally:
        session.close()


def _back_into_queue(answered: int, say: Callable[[str], None]) -> Outcome:
    """Goes on in a new turn, but only if this one got anywhere: otherwise it would go round for ever."""
    from benchbench.extensions.slurm import queue

    if not answered:
        say("The time limit is near and nothing was scored; give more `time` in the cluster file.")
        return "stopped"
    try:
        queue.requeue(os.environ.get("SLURM_JOB_ID", ""))
    except (ArgumentError, BackendError, StoreError) as error:
        say(f"The time limit is near: stopped. `benchbench sweep resume` submits the rest. ({error})")
        return "stopped"
    say("The time limit is near: back into the queue. What is scored stays; the unit goes on from here.")
    return "requeued"

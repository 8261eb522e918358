"""A sweep on many workers: whole checkpoints are dealt out first, the last ones are split among all.

A whole checkpoint is scored and written in a worker's process, a split one here, where the workers are one backend.
Both compute the same chunks of requests, so which of the two it was makes no difference, to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchbench.backends import open_workers
from benchbench.backends.workers import Host, Workers
from benchbench.core.errors import ArgumentError, BackendError, RunInUse
from benchbench.core.settings import changed
from benchbench.runner.checkpoint import Look
from benchbench.runner.events import Note
from benchbench.runner.run import RunResult
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.runner.sweep.session import (
    CheckpointFinished,
    CheckpointStarted,
    OnSweepEvent,
    SweepEvent,
    SweepSession,
    Underway,
    run_unit,
)
from benchbench.store.find import Done
from benchbench.store.folder import RunFolder

PATIENCE = 60.0
"""Seconds in which the processes of a command that was killed let go of what they were writing."""
TURN = 1.0
"""Seconds between two looks at who has come back, and whether there are new checkpoints."""
PLACE = "benchbench.runner.sweep.many:score_whole"


@dataclass(frozen=True, slots=True)
class Scored:
    """What a worker tells of a whole checkpoint."""

    done: Done
    already_complete: bool
    resumed: bool
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Kept:
    """What stays in a worker from one checkpoint to the next."""

    session: SweepSession
    notes: list[str]
    swaps: int
    """Of the `Host`, when the session last had the engine to itself."""


def score_whole(host: Host, folder: Path, settings: SweepSettings, unit: Unit, stamp: str, asked: str) -> Scored:
    """Runs in a worker: the unit, from its weights to its done.json. Raises as `run_unit`.

    BackendError where the tasks are not those of `asked`, the hash that `SweepSession.asked` gave where it began.
    """
    kept = host.kept if isinstance(host.kept, _Kept) else _keep(host, settings)
    host.kept = kept
    kept.notes.clear()
    if kept.swaps != host.swaps:
        kept.session.forget_weights()
        kept.swaps = host.swaps
    if kept.session.asked(unit.group) != asked:
        raise BackendError("a node has other task files, or other data, than the one where the sweep was started.")
    done, result = patiently(SweepWriter(folder), unit, stamp, kept.session)
    return Scored(done, result.already_complete, result.resumed, tuple(kept.notes))


def _keep(host: Host, settings: SweepSettings) -> _Kept:
    notes: list[str] = []

    def note(event: SweepEvent) -> None:
        if isinstance(event, Note):
            notes.append(event.text)

    return _Kept(SweepSession(settings, note, opener=host.one_backend), notes, host.swaps)


def patiently(sweep: SweepWriter, unit: Unit, stamp: str, session: SweepSession) -> tuple[Done, RunResult]:
    """`run_unit`, once the processes that are still at the unit have let it go."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return run_unit(sweep, unit, stamp, session)
        except RunInUse:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


class Many:
    """Who does which unit."""

    def __init__(self, workers: Workers, folder: SweepWriter, session: SweepSession, on_event: OnSweepEvent) -> None:
        self._workers, self._session, self._on_event = workers, session, on_event
        self._folder = SweepWriter(folder.path.absolute())
        self._settings = _wherever(session.settings, self._folder.output)
        self._away: dict[Hashable, Unit] = {}
        """What each worker that is lent is doing."""
        self._to_split: set[str] = set()
        """Units that a worker could not do alone."""
        self._keeps = 0
        """So many units are left for splitting."""
        self._told = 0
        """Notes of the workers that were passed on."""

    @classmethod
    def start(cls, folder: SweepWriter, session: SweepSession, on_event: OnSweepEvent) -> Many:
        """The workers that the settings ask for, from here on the session's engine. Raises as `open_workers`."""
        settings = session.settings
        models = [path for name in settings.models if (path := Path(name).expanduser().absolute()).exists()]
        workers = open_workers(settings.run.model, list(map(str, [folder.path.absolute() / "sweep.json", *models])))
        session.opener = workers.open
        return cls(workers, folder, session, on_event)

    def next(self, ready: Sequence[Unit], looks: Mapping[str, Look]) -> tuple[Unit | None, bool]:
        """The unit that is now to be split, if any; else whether something was done or waited for.

        `ready` may hold units that workers are doing. Raises what no other unit would be spared.
        """
        self._tell_notes()
        if self._take_back(0):
            return None, True
        away = {unit.id for unit in self._away.values()}
        todo = [unit for unit in ready if unit.id not in away]
        if not away:
            self._keeps = kept_for_splitting(len(todo), self._workers.count)
        whole = [unit for unit in todo if unit.id not in self._to_split]
        if whole and len(todo) > self._keeps and self._lend(whole[0], looks):
            return None, True
        if todo and (len(todo) <= self._keeps or not self._away):
            return todo[0], False
        if not self._away:
            return None, False
        self._take_back(TURN)
        return None, True

    def close(self) -> None:
        """Ends the workers."""
        self._workers.close()

    def _lend(self, unit: Unit, looks: Mapping[str, Look]) -> bool:
        """Whether a worker was free for it."""
        asked, stamp = self._session.asked(unit.group), looks[unit.id].stamp
        ticket = self._workers.lend(PLACE, self._folder.path, self._settings, unit, stamp, asked)
        if ticket is None:
            return False
        self._away[ticket] = unit
        self._session.was_tried(unit)
        self._tell_underway()
        return True

    def _take_back(self, seconds: float) -> bool:
        """Tells of the units that are done; whether any worker came back."""
        found = self._workers.returned(seconds)
        for one in found:
            unit = self._away.pop(one.ticket)
            if one.error is None:
                self._finished(unit, cast("Scored", one.value))
            elif isinstance(one.error, ArgumentError):
                raise one.error
            else:
                self._to_split.add(unit.id)
                self._on_event(Note(f"{unit.checkpoint.name} is tried again on all workers: {one.error}"))
        if found:
            self._tell_underway()
        return bool(found)

    def _tell_underway(self) -> None:
        if self._away:
            self._on_event(Underway(tuple(unit.checkpoint for unit in self._away.values())))

    def _finished(self, unit: Unit, scored: Scored) -> None:
        for text in scored.notes:
            self._on_event(Note(text))
        path = self._folder.output / scored.done.run
        result = RunResult(path, RunFolder(path).record(), scored.already_complete, scored.resumed)
        self._session.logs.add([RunFolder(path)])
        self._on_event(CheckpointStarted(unit.checkpoint, unit.group))
        self._on_event(CheckpointFinished(unit.checkpoint, scored.done, result))

    def _tell_notes(self) -> None:
        for text in self._workers.notes[self._told :]:
            self._on_event(Note(text))
        self._told = len(self._workers.notes)


def _wherever(settings: SweepSettings, output: Path) -> SweepSettings:
    """The settings for a process that works in another folder, and has no workers and no loggers of its own."""
    root = settings.run.render.data_root
    return changed(
        settings,
        workers=None,
        ray_address=None,
        logs=(),
        output=output,
        include_paths=tuple(path.absolute() for path in settings.run.include_paths),
        data_root=None if root is None else root.absolute(),
    )


def kept_for_splitting(units: int, workers: int) -> int:
    """How many of the units that begin together are split: what whole rounds leave over, and one at least, which those
    do together who are free first.

    >>> kept_for_splitting(8, 3), kept_for_splitting(8, 4), kept_for_splitting(2, 4), kept_for_splitting(5, 1)
    (2, 1, 2, 5)
    """
    return units if workers <= 1 else units % workers or min(1, units)

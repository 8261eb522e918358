"""A session that does units of a sweep, and what it tells: load a checkpoint's weights, run its tasks, write done.json.

Doing a unit twice is harmless: the second time finds the run finished. Nothing here knows which engine calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from benchbench.backends import open_backend
from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import Backend
from benchbench.core.errors import ArgumentError, BackendError, ModelError, StoreError
from benchbench.core.ids import content_hash
from benchbench.runner.after import check_pending
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.events import Event, Note, OpeningModel, Progress
from benchbench.runner.logs.follow import Logs
from benchbench.runner.plan import Plan, make_plan, task_identity
from benchbench.runner.record import now
from benchbench.runner.run import RunResult, retries, run_plan, with_pending
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.store.damage import damage_of_run
from benchbench.store.files import make_folder, remove_strays
from benchbench.store.find import Done
from benchbench.store.folder import RunFolder
from benchbench.store.lock import RunLock


@dataclass(frozen=True, slots=True)
class SweepStarted:
    """The sweep's folder is there, its checkpoints are known."""

    path: Path
    checkpoints: int
    units: int
    done: int
    """Units that are done already."""


@dataclass(frozen=True, slots=True)
class CheckpointStarted:
    """The weights of a unit's checkpoint are about to be loaded."""

    checkpoint: Checkpoint
    group: int


@dataclass(frozen=True, slots=True)
class CheckpointFinished:
    """A unit is done; its done.json is on disk."""

    checkpoint: Checkpoint
    done: Done
    result: RunResult


@dataclass(frozen=True, slots=True)
class CheckpointSkipped:
    """A checkpoint is not scored, now or for good."""

    checkpoint: Checkpoint
    why: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing is ready; the next look comes in `seconds`."""

    seconds: float
    newest: int | None
    """The highest step that is done."""


@dataclass(frozen=True, slots=True)
class Underway:
    """Workers have these checkpoints, each a whole one; told whenever one more is begun."""

    checkpoints: tuple[Checkpoint, ...]


SweepEvent: TypeAlias = (
    Event | SweepStarted | CheckpointStarted | CheckpointFinished | CheckpointSkipped | Waiting | Underway
)
OnSweepEvent: TypeAlias = Callable[[SweepEvent], None]


class SweepSession:
    """What stays between units: the tasks' prompts, made once, and one model in memory whose weights are swapped."""

    def __init__(
        self,
        settings: SweepSettings,
        on_event: OnSweepEvent,
        opener: Callable[[ModelOptions], Backend] | None = None,
    ) -> None:
        """ArgumentError for a logger that cannot work."""
        self.settings = settings
        self.on_event = on_event
        self.opener = opener or open_backend
        """Opens a model where there is none in memory, or where its weights cannot be swapped in."""
        self.logs = Logs(settings.run.logs, settings.run.output, lambda text: on_event(Note(text)))
        """Gets what is finished; the session's owner says when it ends."""
        self._plans: dict[int, tuple[Plan, str]] = {}
        self._backend: Backend | None = None
        self._held: tuple[str, str] | None = None
        """(target, stamp) of the weights in memory."""
        self._looked_at: set[str] = set()
        """Units whose runs were looked at, or worked on, in this session."""

    def plan(self, group: int) -> Plan:
        """The prepared tasks of a group."""
        return self._prepared(group)[0]

    def asked(self, group: int) -> str:
        """Hash over what the group's tasks ask and how they are scored."""
        return self._prepared(group)[1]

    def _prepared(self, group: int) -> tuple[Plan, str]:
        if group not in self._plans:
            settings = replace(self.settings.run, tasks=self.settings.task_groups[group])
            plan = make_plan(settings, self.on_event)
            check_pending(plan, settings, self.on_event)
            tasks = {prepared.task.name: task_identity(prepared) for prepared in plan.tasks}
            asked = content_hash({"tasks": tasks, "groups": [one.as_record() for one in plan.groups]})
            self._plans[group] = (plan, asked)
        return self._plans[group]

    def backend(self, checkpoint: Checkpoint, stamp: str) -> Backend:
        """The model with the weights of `checkpoint`, swapped in place if the model in memory allows it."""
        if self._backend is not None and self._held == (checkpoint.target, stamp):
            return self._backend
        self.on_event(OpeningModel(checkpoint.name))
        self._held = None
        if self._backend is not None:
            try:
                self._backend.load_weights(checkpoint.target)
            except (ModelError, BackendError):  # another architecture, length or format: a model of its own
                self.close()
        if self._backend is None:
            options = replace(self.settings.run.model, model=checkpoint.location, revision=checkpoint.revision)
            self._backend = self.opener(replace(options, keep_tokens=True))
        self._held = (checkpoint.target, stamp)
        return self._backend

    def forget_weights(self) -> None:
        """Others have put weights into the engine: they are loaded anew when a unit needs some."""
        self._held = None

    def is_wanting(self, sweep: SweepWriter, unit: Unit, done: Done) -> bool:
        """The unit's run is damaged, or has failed docs to be asked again. Each unit is tried once in a session."""
        if unit.id in self._looked_at:
            return False
        try:
            folder = sweep.run_of(done)
            if any(damage_of_run(folder)) or (done.failed_share and retries(folder, every=self._retries_all)):
                return True
        except StoreError:
            return True
        self._looked_at.add(unit.id)
        return False

    @property
    def _retries_all(self) -> bool:
        return self.settings.run.retry_failed

    def was_tried(self, unit: Unit) -> None:
        """The unit is not tried again in this session for what may be missing in its run."""
        self._looked_at.add(unit.id)

    def close(self) -> None:
        """Gives the model's memory back."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None


def run_unit(sweep: SweepWriter, unit: Unit, stamp: str, session: SweepSession) -> tuple[Done, RunResult]:
    """Does the unit and returns its done.json, and its run.

    `stamp` is that of the checkpoint's files when they were found ready. Raises ModelError or BackendError for a
    checkpoint that cannot be used, RunInUse where another process is at it, ArgumentError for one with another
    tokenizer than the sweep's other checkpoints.
    """
    make_folder(sweep.unit_folder(unit))
    with RunLock(sweep.unit_folder(unit)):
        remove_strays(sweep.unit_folder(unit))
        sweep.note(unit, "running")
        session.on_event(CheckpointStarted(unit.checkpoint, unit.group))
        session.was_tried(unit)
        done, result = _run(sweep, unit, stamp, session)
        sweep.finish(unit, done)
    session.on_event(CheckpointFinished(unit.checkpoint, done, result))
    session.logs.add([RunFolder(result.path)])
    return done, result


def _run(sweep: SweepWriter, unit: Unit, stamp: str, session: SweepSession) -> tuple[Done, RunResult]:
    began = time.monotonic()
    backend = session.backend(unit.checkpoint, stamp)
    loaded = time.monotonic()
    _refuse_other_tokenizer(sweep, unit.checkpoint, backend)
    watch = _FirstAnswer(session.on_event)
    settings = session.settings.for_unit(unit.checkpoint, unit.group)
    result = run_plan(session.plan(unit.group), settings, backend, on_event=watch)
    result = with_pending(result, settings, watch)
    first = None if watch.at is None else round(watch.at - loaded, 3)
    timing = {"load": round(loaded - began, 3), "first": first, "run": round(time.monotonic() - loaded, 3)}
    checkpoint, record = unit.checkpoint, result.record
    done = Done(
        series=checkpoint.series,
        checkpoint=checkpoint.name,
        target=checkpoint.target,
        step=checkpoint.step,
        tokens_seen=record.tokens_seen,
        group=unit.group,
        stamp=stamp,
        asked=session.asked(unit.group),
        run=str(result.path.relative_to(sweep.output)),
        run_id=record.run_id,
        model_identity=backend.info.model_identity,
        tokenizer_identity=backend.info.tokenizer_identity,
        failed_share=result.failed_share,
        timing=timing,
        finished=now(),
    )
    return done, result


class _FirstAnswer:
    """Passes events on and notes when the first answer came."""

    def __init__(self, on_event: OnSweepEvent) -> None:
        self._on_event = on_event
        self.at: float | None = None

    def __call__(self, event: Event) -> None:
        if self.at is None and isinstance(event, Progress):
            self.at = time.monotonic()
        self._on_event(event)


def _refuse_other_tokenizer(sweep: SweepWriter, checkpoint: Checkpoint, backend: Backend) -> None:
    for done in sweep.all_done():
        if done.series == checkpoint.series and done.tokenizer_identity != backend.info.tokenizer_identity:
            raise other_tokenizer(checkpoint.target, done.target)


def other_tokenizer(target: str, other: str) -> ArgumentError:
    """What to say of two checkpoints of one series."""
    return ArgumentError(
        f"{target} has another tokenizer than {other}, so one curve cannot go through both. "
        "Sweep the two parts apart with --checkpoints, or give the tokenizer they share with --tokenizer."
    )

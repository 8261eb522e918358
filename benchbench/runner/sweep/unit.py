"""One unit, whoever asks for it: load the checkpoint's weights, run its tasks, write done.json.

Doing a unit twice is harmless: the second time finds the run finished. Nothing here knows which engine calls.
"""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from benchbench.backends import open_backend
from benchbench.backends.options import ModelOptions
from benchbench.backends.protocol import Backend
from benchbench.core.errors import ArgumentError, BackendError, ModelError, StoreError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import an_object
from benchbench.core.types import Json
from benchbench.runner.checkpoint import Checkpoint
from benchbench.runner.events import Event, OpeningModel, Progress
from benchbench.runner.plan import Plan, make_plan, task_identity
from benchbench.runner.record import now
from benchbench.runner.run import RunResult, run_plan
from benchbench.runner.sweep.events import CheckpointFinished, CheckpointStarted, OnSweepEvent
from benchbench.runner.sweep.settings import SweepSettings, from_json, to_json
from benchbench.store.files import make_folder, read_json, remove_strays, write_json
from benchbench.store.find import SWEEPS, Done, SweepFolder
from benchbench.store.lock import RunLock, shortly
from benchbench.store.names import folder_name, own_name


class SweepSession:
    """What stays between units: the tasks' prompts, made once, and one model in memory whose weights are swapped."""

    def __init__(self, settings: SweepSettings, on_event: OnSweepEvent) -> None:
        self.settings = settings
        self.on_event = on_event
        self._plans: dict[int, tuple[Plan, str]] = {}
        self._backend: Backend | None = None
        self._held: tuple[str, str] | None = None
        """(target, stamp) of the weights in memory."""

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
            self._backend = open_backend(_options(self.settings.run.model, checkpoint))
        self._held = (checkpoint.target, stamp)
        return self._backend

    def close(self) -> None:
        """Gives the model's memory back."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None


def run_unit(sweep: SweepWriter, unit: Unit, stamp: str, session: SweepSession) -> Done:
    """Does the unit and returns its done.json.

    `stamp` is that of the checkpoint's files when they were found ready. Raises ModelError or BackendError for a
    checkpoint that cannot be used, RunInUse where another process is at it, ArgumentError for one with another
    tokenizer than the sweep's other checkpoints.
    """
    make_folder(sweep.unit_folder(unit))
    with RunLock(sweep.unit_folder(unit)):
        remove_strays(sweep.unit_folder(unit))
        sweep.note(unit, "running")
        session.on_event(CheckpointStarted(unit.checkpoint, unit.group))
        done, result = _run(sweep, unit, stamp, session)
        sweep.finish(unit, done)
    session.on_event(CheckpointFinished(unit.checkpoint, done, result))
    return done


def _run(sweep: SweepWriter, unit: Unit, stamp: str, session: SweepSession) -> tuple[Done, RunResult]:
    began = time.monotonic()
    backend = session.backend(unit.checkpoint, stamp)
    loaded = time.monotonic()
    _refuse_other_tokenizer(sweep, unit.checkpoint, backend)
    watch = _FirstAnswer(session.on_event)
    settings = session.settings.for_unit(unit.checkpoint, unit.group)
    result = run_plan(session.plan(unit.group), settings, backend, on_event=watch)
    first = None if watch.at is None else round(watch.at - loaded, 3)
    timing = {"load": round(loaded - began, 3), "first": first, "run": round(time.monotonic() - loaded, 3)}
    return replace(_done(sweep, unit, (stamp, session.asked(unit.group)), backend, result), timing=timing), result


class _FirstAnswer:
    """Passes events on and notes when the first answer came."""

    def __init__(self, on_event: OnSweepEvent) -> None:
        self._on_event = on_event
        self.at: float | None = None

    def __call__(self, event: Event) -> None:
        if self.at is None and isinstance(event, Progress):
            self.at = time.monotonic()
        self._on_event(event)


def _options(options: ModelOptions, checkpoint: Checkpoint) -> ModelOptions:
    return replace(options, model=checkpoint.location, revision=checkpoint.revision, keep_tokens=True)


def _refuse_other_tokenizer(sweep: SweepWriter, checkpoint: Checkpoint, backend: Backend) -> None:
    for done in sweep.all_done():
        if done.series == checkpoint.series and done.tokenizer_identity != backend.info.tokenizer_identity:
            raise ArgumentError(
                f"{checkpoint.target} has another tokenizer than {done.target}, so one curve cannot go through both. "
                "Sweep the two parts apart with --checkpoints, or give the tokenizer they share with --tokenizer."
            )


def _done(sweep: SweepWriter, unit: Unit, seen: tuple[str, str], backend: Backend, result: RunResult) -> Done:
    checkpoint, record = unit.checkpoint, result.record
    return Done(
        series=checkpoint.series,
        checkpoint=checkpoint.name,
        target=checkpoint.target,
        step=checkpoint.step,
        tokens_seen=record.tokens_seen,
        group=unit.group,
        stamp=seen[0],
        asked=seen[1],
        run=str(result.path.relative_to(sweep.output)),
        run_id=record.run_id,
        model_identity=backend.info.model_identity,
        tokenizer_identity=backend.info.tokenizer_identity,
        failed_share=result.failed_share,
        timing={},
        finished=now(),
    )


SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """One checkpoint on one group of tasks: what a worker does at once."""

    checkpoint: Checkpoint
    group: int
    """Index into the sweep's task groups."""

    @property
    def place(self) -> tuple[str, int, int]:
        """Series, step (tokens where no step is known) and group: what tells it from the sweep's other units."""
        return (self.checkpoint.series, self.checkpoint.position, self.group)

    @property
    def id(self) -> str:
        """Its folder's name; unique in the sweep, because steps are."""
        name = f"{self.checkpoint.series}@{self.checkpoint.position}"
        return folder_name(name if self.group == 0 else f"{name}.{self.group}")


class SweepWriter(SweepFolder):
    """A sweep's folder with what an engine writes there. Many processes may, each for its own unit."""

    @classmethod
    def create(cls, settings: SweepSettings) -> SweepWriter:
        """The folder of this sweep, made if it is new. StoreError if it cannot be written."""
        folder = cls.of(settings)
        make_folder(folder.path)
        value: dict[str, Json] = {"schema_version": SCHEMA_VERSION, "asked": now(), "settings": to_json(settings)}
        with shortly(folder.path):
            remove_strays(folder.path, below=False)
            write_json(folder.path / "sweep.json", value)
        return folder

    @classmethod
    def of(cls, settings: SweepSettings) -> SweepWriter:
        """The folder that this sweep has, or would have."""
        names = settings.name or "+".join(map(own_name, to_json(settings)["models"]))
        return cls(settings.run.output / SWEEPS / folder_name(f"{names}-{settings.sweep_id()}"))

    def settings(self) -> SweepSettings:
        """What was asked. StoreError if sweep.json is missing or damaged."""
        try:
            return from_json(an_object(self.content()["settings"], f"`settings` of {self.path / 'sweep.json'}"))
        except (KeyError, TypeError) as error:
            raise StoreError(f"{self.path / 'sweep.json'} is not as expected ({error!r}).") from error

    def unit_folder(self, unit: Unit) -> Path:
        """Where the unit's two files lie."""
        return self.path / "units" / unit.id

    def done(self, unit: Unit) -> Done | None:
        """The unit's done.json; None if the unit is not done."""
        return self.read_done(self.unit_folder(unit))

    def finish(self, unit: Unit, done: Done) -> None:
        """Writes done.json."""
        make_folder(self.unit_folder(unit))
        write_json(self.unit_folder(unit) / "done.json", done.to_json())

    def note(self, unit: Unit, state: Literal["running", "passed over"], why: str = "") -> None:
        """Writes state.json: what a person who looks at an unfinished unit should know."""
        make_folder(self.unit_folder(unit))
        who: dict[str, Json] = {"host": socket.gethostname(), "pid": os.getpid(), "since": now()}
        write_json(self.unit_folder(unit) / "state.json", {"state": state, "why": why, **who})

    def state(self, unit: Unit) -> dict[str, Json]:
        """What state.json says; {} where there is none."""
        path = self.unit_folder(unit) / "state.json"
        return read_json(path) if path.is_file() else {}

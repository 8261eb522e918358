"""`run`: one model, some tasks, a finished run folder. Killed at any moment, the same settings go on from there."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbench.backends import open_backend
from benchbench.backends.protocol import Backend
from benchbench.core.activity import doing
from benchbench.core.errors import ArgumentError, BackendError, StoreError, VersionError
from benchbench.core.memory import rare_collections
from benchbench.core.record import (
    PlanRecord,
    Row,
    RunRecord,
    TaskRecord,
)
from benchbench.core.settings import changed, from_record
from benchbench.core.types import Item
from benchbench.runner.after import check_pending, pending_metrics, score_pending
from benchbench.runner.evaluate import evaluate
from benchbench.runner.events import Note, OnEvent, OpeningModel, RunStarted, TaskFinished, ignore
from benchbench.runner.identity import plan_record
from benchbench.runner.logs.follow import Logs
from benchbench.runner.plan import Estimate, Plan, estimate, make_plan
from benchbench.runner.record import make_record, now
from benchbench.runner.settings import RunSettings
from benchbench.store.attempts import attempt_number, choose_attempt
from benchbench.store.damage import Remedy, damage_of_run, is_complete, remove_aside, restore
from benchbench.store.files import refuse_unwritable
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.lock import RunLock, remove_left
from benchbench.store.names import (
    compute_identity,
    folder_name,
)
from benchbench.store.questions import has_questions, keep_questions
from benchbench.store.reuse import refuse_other_weights, same_compute


@dataclass(frozen=True, slots=True)
class RunResult:
    """A finished run."""

    path: Path
    record: RunRecord
    """What run.json holds."""
    already_complete: bool = False
    """Nothing was computed: the run was finished before."""
    resumed: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Task of the default suite → why it was not asked: its data are not in the data root."""

    @property
    def without_value(self) -> dict[str, str]:
        """Task → why not one of its metrics has a value."""
        found: dict[str, list[Row]] = {}
        later = pending_metrics(self.record)
        for row in self.rows:
            if row.task in self.record.tasks and row.metric not in later.get(row.task, ()):
                found.setdefault(row.task, []).append(row)
        empty = {task: rows for task, rows in found.items() if all(row.value is None for row in rows)}
        return {
            task: next((row.note for row in rows if row.note), "no reason is known") for task, rows in empty.items()
        }

    @property
    def rows(self) -> tuple[Row, ...]:
        """The results table: of each task or group every metric."""
        return self.record.rows

    @property
    def failed_share(self) -> float:
        """Failed docs over all docs, 0 to 1."""
        return self.record.failed_share


def dry_run(settings: RunSettings, *, on_event: OnEvent = ignore) -> list[Estimate]:
    """What `run` would ask, without loading a model or writing anything."""
    return [estimate(prepared) for prepared in make_plan(settings, on_event).tasks]


def run(settings: RunSettings, *, on_event: OnEvent = ignore, backend: Backend | None = None) -> RunResult:
    """Evaluates one model and returns the finished run, from disk if it was finished before.

    `backend` is an open one to use (it stays open); by default the one `settings.model` names is opened and closed.
    Raises the BenchbenchError of whatever is wrong with tasks, data, model or results folder.
    """
    refuse_unwritable(settings.output)
    logs = Logs(settings.logs, settings.output, lambda text: on_event(Note(text)))
    plan = make_plan(settings, on_event)
    check_pending(plan, settings, on_event)
    on_event(OpeningModel(settings.model.model))
    engine = open_backend(settings.model) if backend is None else backend
    if engine.info.chosen:
        on_event(Note(f"Backend {engine.info.name}: {engine.info.chosen}."))
    try:
        if settings.name is not None:
            refuse_other_weights(settings.output, settings.name, engine.info.model_identity)
        result = replace(run_plan(plan, settings, engine, on_event=on_event), left_out=plan.left_out)
    finally:
        if backend is None:
            engine.close()
    result = with_pending(result, settings, on_event)
    logs.add([RunFolder(result.path)])
    logs.finish()
    return result


def with_pending(result: RunResult, settings: RunSettings, on_event: OnEvent) -> RunResult:
    """The run with the metrics that its tasks list and that are computed after it, as far as they can be."""
    if not score_pending(result.path, result.record, settings, on_event):
        return result
    return replace(result, record=RunFolder(result.path).record())


def run_plan(plan: Plan, settings: RunSettings, backend: Backend, *, on_event: OnEvent = ignore) -> RunResult:
    """`run` with tasks already prepared and a model already open. BackendError if it can do none of the tasks."""
    _tell_refusals(plan, backend, on_event)
    plan = _with_chat(plan, settings, backend)
    identity = plan_record(plan, settings, backend)
    path = choose_attempt(settings.output / folder_name(identity.model), identity.run_id, fresh=settings.fresh)
    identity = replace(identity, attempt=attempt_number(path, identity.run_id))
    return _run_in(RunFolder(path), plan, settings, identity, backend, on_event)


def repair(folder: RunFolder, settings: RunSettings, *, on_event: OnEvent = ignore) -> RunResult:
    """Restores a damaged run: asks the model for what the folder cannot restore by itself, and nothing else.

    `settings` are those of the run (`settings_of`). StoreError if the model, the tasks or benchbench would give another
    run today.
    """
    known = folder.plan()
    plan = make_plan(settings, on_event)
    on_event(OpeningModel(settings.model.model))
    engine = open_backend(settings.model)
    try:
        plan = _with_chat(plan, settings, engine)
        if plan_record(plan, settings, engine).run_id != known.run_id:
            raise StoreError(
                f"{folder.path} cannot be made again: the model, the tasks, their data or the engine are not those of "
                "the run any more. Give the command that made it, where it was made."
            )
        return _run_in(folder, plan, settings, known, engine, on_event)
    finally:
        engine.close()


def _with_chat(plan: Plan, settings: RunSettings, backend: Backend) -> Plan:
    """The plan with the engine's chat template, where prompts become conversations."""
    return plan if settings.render.chat is None else replace(plan, chat=backend.chat)


def settings_of(plan: PlanRecord, root: Path) -> RunSettings:
    """The settings of the run of which plan.json is known, with results in `root`. StoreError if it says too little."""
    try:
        found = from_record(RunSettings, plan.settings)
    except (TypeError, ValueError, KeyError, AttributeError, ArgumentError) as error:
        raise StoreError(f"plan.json of the run {plan.run_id} says too little to run it again ({error}).") from error
    place = plan.provenance
    data_root = None if place.data_root is None else Path(place.data_root)
    return changed(found, output=root, include_paths=tuple(map(Path, place.include_paths)), data_root=data_root)


def _run_in(
    folder: RunFolder,
    plan: Plan,
    settings: RunSettings,
    identity: PlanRecord,
    backend: Backend,
    on_event: OnEvent,
) -> RunResult:
    """The run in its folder: from disk if nothing is left to do."""
    _restore(folder, on_event)
    again = retries(folder, every=settings.retry_failed)
    if not again and is_complete(folder):
        remove_left(folder.path)
        _keep_questions(folder, plan, identity)
        return _already_complete(folder.path)
    with RunWriter(folder.path, identity) as writer:
        if not again and is_complete(writer):  # by another process, between our look and our lock
            return _already_complete(folder.path)
        for task, (keep, count) in again.items():
            on_event(Note(f"{count} docs of {task} that failed are asked again."))
            writer.open_again(task, keep)
        return _work(plan, settings, identity, backend, writer, on_event)


def _keep_questions(folder: RunFolder, plan: Plan, identity: PlanRecord) -> None:
    """Adds to a finished run what its docs ask, where that was damaged or is of a former version; not if it is locked
    or may not be written.
    """
    lacking = [one for one in plan.tasks if not has_questions(folder, one.task.name)]
    if lacking:
        with suppress(StoreError), RunWriter(folder.path, identity) as writer:
            for prepared in lacking:
                with keep_questions(writer, prepared.task.name) as keep:
                    keep(prepared.docs)
            remove_aside(writer)


def _restore(folder: RunFolder, on_event: OnEvent) -> None:
    """Restores what is damaged, or puts it out of the way, and says so. VersionError if a later version wrote it."""
    found = list(damage_of_run(folder))
    if found:
        _refuse_later(folder)
        with RunLock(folder.path):
            for damage in restore(folder):
                on_event(Note(f"{damage.why} {_REMEDIES[damage.remedy]}"))
        folder.forget()


def _refuse_later(folder: RunFolder) -> None:
    for read in (folder.plan, folder.own_record):
        try:
            read()
        except VersionError:
            raise
        except StoreError:
            continue


_REMEDIES: Mapping[Remedy, str] = {
    "copy": "It was restored from its copy.",
    "original": "It was written again.",
    "lines": "Those docs are asked again.",
    "run": "It is made again.",
    "score": "`benchbench score` makes it again.",
    "none": "",
}
"""What became of a damaged file, as a sentence."""


def retries(folder: RunFolder, *, every: bool = False) -> dict[str, tuple[list[Item], int]]:
    """Task → its items that stand, and how many failed docs are to be asked again: those that failed for now.

    `every`: all that failed.
    """
    tasks = folder.own_record().tasks if folder.finished else folder.plan().tasks if folder.is_planned else {}
    found: dict[str, tuple[list[Item], int]] = {}
    for task, about in tasks.items():
        if isinstance(about, TaskRecord) and not about.counts.failed:
            continue
        if folder.is_sealed(task):
            items = folder.own_items(task) if folder.has_failures(task) else []
        else:
            items = folder.own_items(task) if every else []
        keep = [item for item in items if not (item.outcome == "failed" if every else item.failed_for_now)]
        if len(keep) < len(items):
            found[task] = (keep, len(items) - len(keep))
    return found


def _tell_refusals(plan: Plan, backend: Backend, on_event: OnEvent) -> None:
    """Says before the work begins what the engine will refuse, and raises BackendError if that is every task."""
    refused = {}
    for prepared in plan.tasks:
        asked = prepared.asked.settings
        reasons = [why for params in asked if (why := backend.refuses(params)) is not None]
        if reasons:
            refused[prepared.task.name] = (reasons[0], len(reasons) == len(asked))
    if len(refused) == len(plan.tasks) and all(every for _, every in refused.values()):
        name, (reason, _) = next(iter(refused.items()))
        raise BackendError(f"{name}: {reason}")
    for name, (reason, _) in refused.items():
        on_event(Note(f"{name} will have no score: {reason}"))


def _already_complete(path: Path) -> RunResult:
    return RunResult(path, RunFolder(path).record(), already_complete=True)


@rare_collections()
def _work(
    plan: Plan,
    settings: RunSettings,
    identity: PlanRecord,
    backend: Backend,
    writer: RunWriter,
    on_event: OnEvent,
) -> RunResult:
    writer.note({"event": "session", "started": now(), "host": socket.gethostname(), "pid": os.getpid()})
    on_event(RunStarted(writer.path, identity.model, len(plan.tasks), plan.docs, plan.requests, writer.resumed))
    with doing("looking for answers of earlier runs"):
        compute = compute_identity(backend.info)
        others = [] if writer.plan().fresh else same_compute(settings.output, compute, but=writer.path)
    items: dict[str, Sequence[Item]] = {}
    told: set[str] = set()
    for text in () if plan.chat is None else plan.chat.notes:
        on_event(Note(text))
        writer.note({"event": "chat", "notes": [text]})
    for prepared in plan.tasks:
        name = prepared.task.name
        items[name] = evaluate(prepared, backend, writer, [] if writer.asked_alone(name) else others, on_event)
        on_event(TaskFinished(name, prepared.asked.requests))
        for text in backend.notes:
            if text not in told:
                told.add(text)
                on_event(Note(text))
    if writer.has_same_results():
        remove_aside(writer)
        return RunResult(writer.path, writer.record(), resumed=True)
    with doing("computing scores and intervals"):
        record = make_record(plan, settings, identity, backend.info, items, list(writer.log()))
    if record.provenance.reused:
        on_event(Note(f"{record.provenance.reused} docs were taken over from other runs of the same weights."))
    writer.finish(record)
    remove_aside(writer)
    return RunResult(writer.path, writer.record(), resumed=writer.resumed)

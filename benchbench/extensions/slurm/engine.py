"""Sends what is missing of a sweep to Slurm: one array task for each unit that is not done and not in the queue."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from benchbench.core.errors import ArgumentError, BackendError
from benchbench.extensions.slurm import queue
from benchbench.extensions.slurm.cluster import Cluster
from benchbench.extensions.slurm.folder import (
    Array,
    keep_cluster,
    next_number,
    note_job,
    script_for,
    sent,
    slurm_folder,
    write_array,
)
from benchbench.extensions.slurm.script import check_fit
from benchbench.runner.checkpoint import Readiness
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep.find import find_all
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.runner.sweep.session import CheckpointSkipped, OnSweepEvent, SweepSession
from benchbench.runner.sweep.sweep import ignore, is_done, refuse_other_tokenizers, refuse_taken_name, units_of
from benchbench.store.lock import RunLock


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of the units of a sweep."""

    folder: SweepWriter
    arrays: tuple[Array, ...]
    """Sent now."""
    done: int
    queued: int
    """Waiting or running since an earlier submission."""
    skipped: tuple[tuple[Unit, str], ...]
    """Units whose checkpoint cannot be scored now, and why."""


@dataclass(frozen=True, slots=True)
class _Todo:
    units: list[Unit]
    done: int
    queued: int
    skipped: list[tuple[Unit, str]]


def submit(
    settings: SweepSettings,
    cluster: Cluster,
    *,
    on_event: OnSweepEvent = ignore,
    readiness: Readiness | None = None,
) -> Submitted:
    """Submits every unit that is neither done nor in the queue; the same call again sends only what is missing by then.

    Raises ArgumentError for settings that cannot work, before anything is written; BackendError where Slurm refuses;
    StoreError where the results folder cannot be written.
    """
    session = _prepare(settings, cluster, on_event)
    folder = SweepWriter.create(settings)
    keep_cluster(folder, cluster)
    most = queue.most_in_array()
    with RunLock(slurm_folder(folder)):
        todo = _todo(settings, folder, session, readiness or Readiness())
        for unit, why in todo.skipped:
            folder.note(unit, "passed over", why)
            on_event(CheckpointSkipped(unit.checkpoint, why))
        parts = [todo.units[start : start + most] for start in range(0, len(todo.units), most)]
        sent_now = tuple(_send(folder, cluster, part) for part in parts)
    return Submitted(folder, sent_now, todo.done, todo.queued, tuple(todo.skipped))


def script(settings: SweepSettings, cluster: Cluster, *, on_event: OnSweepEvent = ignore) -> str:
    """The script that `submit` would send now; "" where nothing is to be sent. Writes nothing."""
    session = _prepare(settings, cluster, on_event)
    folder = SweepWriter.of(settings)
    folder = SweepWriter(folder.path.absolute())
    count = len(_todo(settings, folder, session, Readiness(settle=0.0)).units)
    return script_for(folder, cluster, next_number(folder), count) if count else ""


def _prepare(settings: SweepSettings, cluster: Cluster, on_event: OnSweepEvent) -> SweepSession:
    if settings.watch:
        raise ArgumentError(
            "--watch waits for checkpoints in one process; with --engine slurm give `benchbench sweep resume` whenever "
            "there are new ones, for instance from cron: it submits only what is missing."
        )
    check_fit(cluster, settings.run.output)
    found = find_all(settings)
    refuse_taken_name(settings, found)
    refuse_other_tokenizers(settings, found, Readiness())
    session = SweepSession(settings, on_event)
    for group in range(len(settings.task_groups)):
        session.plan(group)
    return session


def _todo(settings: SweepSettings, folder: SweepWriter, session: SweepSession, readiness: Readiness) -> _Todo:
    units = units_of(settings, find_all(settings))
    in_queue = {place for place, one in sent(folder).items() if one.task is not None and one.task.kind != "ended"}
    missing = [unit for unit in units if not is_done(folder, unit, session, readiness)]
    waiting = [unit for unit in missing if unit.place in in_queue]
    ready, passed = [], []
    for unit in (unit for unit in missing if unit.place not in in_queue):
        why = _settled(unit, readiness)
        if why is None:
            ready.append(unit)
        else:
            passed.append((unit, why))
    return _Todo(ready, len(units) - len(missing), len(waiting), passed)


def _settled(unit: Unit, readiness: Readiness) -> str | None:
    """Why the unit's checkpoint cannot be scored, once it is no longer touched; None if it can."""
    while (look := readiness.look(unit.checkpoint)).state == "settling" and readiness.settle:
        time.sleep(min(0.2, readiness.settle))
    return None if look.state in ("ready", "settling") else look.why


def _send(folder: SweepWriter, cluster: Cluster, units: Iterable[Unit]) -> Array:
    array = write_array(SweepWriter(folder.path.absolute()), cluster, tuple(units))
    try:
        return note_job(array, queue.submit(str(array.path / "job.sh")))
    except (ArgumentError, BackendError):
        shutil.rmtree(array.path)  # nothing was submitted
        raise

"""Sends what is missing of a sweep to Slurm: one array task for each unit that is not done and not in the queue."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import ArgumentError, BackendError, did_you_mean
from benchbench.extensions.slurm import queue
from benchbench.extensions.slurm.cluster import Cluster, seconds
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
from benchbench.extensions.slurm.queue import Node
from benchbench.runner.checkpoint import Readiness
from benchbench.runner.events import ignore
from benchbench.runner.settings import SweepSettings
from benchbench.runner.sweep import is_done, refuse_no_base, refuse_other_tokenizers, refuse_taken_name, units_of
from benchbench.runner.sweep.find import find_all
from benchbench.runner.sweep.folder import SweepWriter, Unit
from benchbench.runner.sweep.session import CheckpointSkipped, OnSweepEvent, SweepSession
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
    session.logs.add(folder.run_of(done) for done in folder.all_done())  # what nodes without a network could not
    session.logs.finish()
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
    refuse_no_base(settings, found)
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


_OWN_DISK = {"tmpfs", "ramfs", "overlay", "ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs"}
"""File systems that live on one machine; its own nodes see them only if it serves them to others."""


def check_fit(cluster: Cluster, output: Path) -> None:
    """ArgumentError where the cluster cannot run what the cluster file asks for, or cannot see `output`."""
    nodes = queue.nodes()
    partition = cluster.partition or queue.default_partition()
    names = {node.partition for node in nodes}
    if partition is None:
        raise ArgumentError(f"the cluster has no default partition; name one as `partition`: {_listed(names)}.")
    if partition not in names:
        raise ArgumentError(
            f"the cluster has no partition {partition!r}; there are {_listed(names)}.{did_you_mean(partition, names)}"
        )
    own = [node for node in nodes if node.partition == partition]
    _check_time(cluster, partition, own)
    for what, wanted, most in (
        ("cpus", cluster.cpus, max(node.cpus for node in own)),
        ("gpus", cluster.gpu_count, max(node.gpus for node in own)),
        ("MB of mem", cluster.megabytes or 0, max(node.megabytes for node in own)),
    ):
        if wanted > most:
            raise ArgumentError(
                f"the cluster file asks for {wanted:g} {what}, but no node of partition {partition} has more "
                f"than {most}."
            )
    _check_shared(cluster, output, own)


def _check_time(cluster: Cluster, partition: str, own: Sequence[Node]) -> None:
    limits = [node.limit for node in own if node.limit is not None]
    if cluster.time is not None and limits and seconds(cluster.time) > max(limits):
        raise ArgumentError(
            f"time is {cluster.time}, but a job in partition {partition} may run for {max(limits) // 60} minutes at "
            "most."
        )


def _check_shared(cluster: Cluster, output: Path, own: Sequence[Node]) -> None:
    kind = file_system(output)
    here = socket.gethostname().split(".")[0]
    others = sorted({node.host for node in own if node.host.split(".")[0] != here})
    if cluster.shared is None and others and kind in _OWN_DISK:
        raise ArgumentError(
            f"the results folder {output} lies on a disk of this machine ({kind}), which {others[0]} cannot see. "
            "Choose one on a shared file system with --results, or write `shared: true` into the cluster file if this "
            "machine serves the folder to the nodes."
        )


def file_system(path: Path) -> str:
    """The type of the file system that `path` is on, or would be; "" where the system does not tell."""
    place = path.expanduser().absolute().resolve()
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return ""
    over = [(len(point), kind) for _, point, kind, *_ in mounts if place.is_relative_to(point.replace("\\040", " "))]
    # of two on one place the later hides the earlier
    return max(enumerate(over), key=lambda one: (one[1][0], one[0]))[1][1] if over else ""


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"

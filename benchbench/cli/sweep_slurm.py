"""What `benchbench sweep` says and does where Slurm does the work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import print_json, say
from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.format import several

if TYPE_CHECKING:
    from benchbench.extensions.slurm.cluster import Cluster
    from benchbench.extensions.slurm.engine import Submitted
    from benchbench.runner.settings import SweepSettings
    from benchbench.runner.sweep.folder import SweepWriter, UnitStatus

ClusterFile = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel="Engine", help="For --engine slurm: YAML with partition, time, cpus, mem, gpus, setup, …"
    ),
]


def submit(settings: SweepSettings, cluster: Cluster, *, as_json: bool = False, dry: bool = False) -> None:
    """Submits what is missing and says how to go on; with `dry` only prints the script."""
    from benchbench.cli.sweep_view import watching_sweep
    from benchbench.extensions.slurm import engine

    if dry:
        with watching_sweep() as on_event:
            script = engine.script(settings, cluster, on_event=on_event)
        if as_json:
            print_json(json.dumps({"script": script}, ensure_ascii=False))
        else:
            typer.echo(script, nl=False)
        say("Nothing is missing; nothing would be submitted." if not script else "Not submitted: --dry-run.")
        return
    with watching_sweep() as on_event:
        sent = engine.submit(settings, cluster, on_event=on_event)
    if as_json:
        print_json(json.dumps(_as_json(sent), ensure_ascii=False))
        return
    for array in sent.arrays:
        count = several(len(array.units), "unit")
        say(f"Submitted job {array.job}: {count}, logs in {array.path}. `scancel {array.job}` stops it.")
    say(_rest(sent))


def _rest(sent: Submitted) -> str:
    count = sum(len(array.units) for array in sent.arrays)
    more = [f"{sent.done} done", *([f"{sent.queued} in the queue before"] if sent.queued else [])]
    more += [f"{len(sent.skipped)} passed over"] if sent.skipped else []
    how = "`benchbench sweep status` shows how far they are" if count or sent.queued else "Nothing is missing"
    if not count and sent.skipped:
        how = "Nothing can be submitted"
    return f"{', '.join(more)}. {how}; `benchbench sweep show` prints the curves. Sweep in {sent.folder.path}"


def _as_json(sent: Submitted) -> dict[str, object]:
    return {
        "sweep": str(sent.folder.path),
        "jobs": [{"job": array.job, "units": len(array.units), "logs": str(array.path)} for array in sent.arrays],
        "done": sent.done,
        "queued": sent.queued,
        "passed_over": [{"checkpoint": unit.checkpoint.name, "why": why} for unit, why in sent.skipped],
    }


def asked_cluster(file: Path | None, *, slurm: bool) -> Cluster | None:
    """The cluster file that goes with --engine; None for the local engine. ArgumentError if they do not fit."""
    if not slurm:
        if file is not None:
            raise ArgumentError("--cluster describes a Slurm cluster; give it with --engine slurm.")
        return None
    from benchbench.extensions.slurm.cluster import Cluster, read_cluster

    return Cluster() if file is None else read_cluster(file)


def with_queue(folder: SweepWriter, units: list[UnitStatus]) -> list[UnitStatus]:
    """The units with their states in the queue, if any was ever submitted."""
    from benchbench.extensions.slurm.folder import sent
    from benchbench.extensions.slurm.folder import with_queue as merged

    try:
        return merged(units, sent(folder))
    except (ArgumentError, BackendError) as error:
        say(f"What the queue says is not known: {error}")
        return units


def work(folder: Path, unit: int) -> None:
    """One array task, from its first instruction to its exit code: 0 done or requeued, 143 stopped."""
    from benchbench.extensions.slurm.worker import Signals
    from benchbench.extensions.slurm.worker import work as do

    signals = Signals()  # first of all: what is imported next takes seconds
    from benchbench.cli.sweep_view import watching_sweep

    with watching_sweep() as on_event:
        outcome = do(folder, unit, signals, on_event, say)
    if outcome == "stopped":
        raise typer.Exit(143)

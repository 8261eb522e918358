"""`benchbench sweep`: score every checkpoint of a training run, as it appears, here or on a Slurm cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchbench.cli.console import (
    cell,
    print_json,
    print_table,
    say,
    stoppable,
    tell,
    tell_lines,
    text_table,
)
from benchbench.cli.main import INCOMPLETE, VerbApp
from benchbench.cli.options import AsJson, Output, Weights, check_target, with_settings
from benchbench.cli.progress import watching
from benchbench.cli.sweep_compare import compare
from benchbench.cli.sweep_decide import decide
from benchbench.cli.sweep_forecast import forecast
from benchbench.cli.sweep_signal import signal
from benchbench.cli.sweep_twins import twins, with_variants
from benchbench.core import json_record
from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.format import magnitude, several
from benchbench.core.settings import changed
from benchbench.runner.settings import SweepSettings

if TYPE_CHECKING:
    from benchbench.extensions.slurm.cluster import Cluster
    from benchbench.extensions.slurm.engine import Submitted
    from benchbench.leaderboard.training import VerdictOptions
    from benchbench.runner.sweep.folder import SweepWriter, UnitStatus
    from benchbench.store.find import SweepFolder

EXAMPLES = """\b
benchbench sweep --model runs/csmpt --tasks czech --watch
benchbench sweep -m EleutherAI/pythia-70m --revisions 'step*' --tasks piqa
benchbench sweep show --since 100000
"""
app = VerbApp(invoke_without_command=True, epilog=EXAMPLES)

SweepName = Annotated[str, typer.Argument(metavar="[SWEEP]", help="A folder, a name or its beginning, or `latest`.")]

Engine = Literal["local", "slurm", "ray"]
ClusterFile = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel="Engine", help="For --engine slurm: YAML with partition, time, cpus, mem, gpus, setup, …"
    ),
]


@app.callback()
@with_settings
def sweep(
    context: typer.Context,
    settings: SweepSettings,
    engine: Annotated[
        Engine,
        typer.Option(rich_help_panel="Engine", help="Here, in a job array, or on a Ray cluster (see --ray-address)."),
    ] = "local",
    cluster: ClusterFile = None,
    variants: Annotated[
        str | None,
        typer.Option(rich_help_panel="Checkpoints", help="Then the same in fewer bits: int8,int4. See `sweep twins`."),
    ] = None,
    dry: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel="Output", help="Show what would be done, or the job script; load no model."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Score every checkpoint of a training run and say what the curve means.

    Weights are swapped in place, prompts and tokens are made once. Stopped at any moment, the same command goes on.
    """
    on_cluster = asked_cluster(cluster, slurm=engine == "slurm")
    for one in with_variants(on_engine(settings, engine), variants):
        if on_cluster is not None:
            submit(one, on_cluster, as_json=as_json, dry=dry)
        elif dry:
            _show_plan(one, as_json=as_json)
        else:
            execute(one, as_json=as_json)


def execute(
    settings: SweepSettings, *, as_json: bool = False, keep_watching: Callable[[], bool] = lambda: True
) -> None:
    """Sweeps, prints curves and verdicts, and exits with 1 above the allowed share of failed docs, with 3 if tasks of
    the default suite were left out, with 130 on Ctrl-C.
    """
    from benchbench.cli.sweep_view import watching_sweep
    from benchbench.runner.sweep import sweep as run_sweep

    with stoppable(", and so does `benchbench sweep resume`"), watching_sweep() as on_event:
        result = run_sweep(settings, on_event=on_event, keep_watching=keep_watching)
    _print(result.folder, as_json=as_json)
    worst = max(result.done, key=lambda done: done.failed_share, default=None)
    if worst is None:
        say("No checkpoint was scored.")
        raise typer.Exit(1)
    if worst.failed_share > settings.run.max_failed:
        say(
            f"{worst.failed_share:.1%} of the docs of {worst.checkpoint} failed, more than --max-failed "
            f"{settings.run.max_failed:.1%} allows."
        )
        raise typer.Exit(1)
    if result.failed:
        say("Not scored: " + " ".join(f"{checkpoint.name}: {why}" for checkpoint, why in result.failed))
        raise typer.Exit(1)
    if result.left_out:
        say(f"{several(len(result.left_out), 'task')} of the default suite had no data and were left out, see above.")
        raise typer.Exit(INCOMPLETE)


def _print(folder: SweepFolder, *, as_json: bool, options: VerdictOptions | None = None) -> None:
    """Curves and verdicts of what is done, on stdout."""
    from benchbench.cli.sweep_view import as_json_value, show_training, trainings_of

    found = trainings_of(folder, options)
    if as_json:
        print_json(as_json_value(folder, found))
        return
    for training in found:
        show_training(training)
    tell(f"Sweep in {folder.path}")


def _show_plan(settings: SweepSettings, *, as_json: bool) -> None:
    """What a sweep would do: its units, and what each would ask."""
    from benchbench.cli.run import show_estimates
    from benchbench.runner.run import dry_run
    from benchbench.runner.sweep import refuse_no_base, refuse_taken_name
    from benchbench.runner.sweep.find import find_all
    from benchbench.runner.sweep.folder import SweepWriter, status_of

    found = find_all(settings)
    refuse_taken_name(settings, found)
    refuse_no_base(settings, found)
    units = status_of(SweepWriter.of(settings), settings)
    todo = sum(unit.state == "to do" for unit in units)
    if not as_json:
        _show_status(units, len(settings.task_groups))
    with watching(quiet=as_json) as on_event:
        groups = [dry_run(replace(settings.run, tasks=tasks), on_event=on_event) for tasks in settings.task_groups]
    if as_json:
        asked = [{"tasks": [asdict(estimate) for estimate in estimates]} for estimates in groups]
        print_json({"units": json_record.as_json(units), "to_do": todo, "groups": asked})
        return
    show_estimates([estimate for estimates in groups for estimate in estimates])
    say(f"Each checkpoint is asked that; {todo} of {len(units)} units are to be done.")


def _show_status(units: Sequence[UnitStatus], groups: int) -> None:
    names = ("series", "step", *(("group",) if groups > 1 else ()), "tokens", "state", "")
    table = text_table(*names, right=("step", "tokens"))
    for unit in units:
        tokens = None if unit.tokens_seen is None else magnitude(unit.tokens_seen)
        more = unit.done.run if unit.done is not None else unit.why
        group = (unit.group + 1,) if groups > 1 else ()
        table.add_row(*map(cell, (unit.series, unit.step, *group, tokens, unit.state, more)))
    print_table(table)


def submit(settings: SweepSettings, cluster: Cluster, *, as_json: bool = False, dry: bool = False) -> None:
    """Submits what is missing and says how to go on; with `dry` only prints the script."""
    from benchbench.cli.sweep_view import watching_sweep
    from benchbench.extensions.slurm import engine

    if dry:
        with watching_sweep() as on_event:
            script = engine.script(settings, cluster, on_event=on_event)
        if as_json:
            print_json({"script": script})
        else:
            typer.echo(script, nl=False)
        say("Nothing is missing; nothing would be submitted." if not script else "Not submitted: --dry-run.")
        return
    with watching_sweep() as on_event:
        sent = engine.submit(settings, cluster, on_event=on_event)
    if as_json:
        print_json(_sent_json(sent))
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


def _sent_json(sent: Submitted) -> dict[str, object]:
    return {
        "sweep": str(sent.folder.path),
        "jobs": [{"job": array.job, "units": len(array.units), "logs": str(array.path)} for array in sent.arrays],
        "done": sent.done,
        "queued": sent.queued,
        "passed_over": [{"checkpoint": unit.checkpoint.name, "why": why} for unit, why in sent.skipped],
    }


def on_engine(settings: SweepSettings, engine: Engine | None) -> SweepSettings:
    """The settings with what --engine says of workers: with `ray` they are on a cluster. ArgumentError for workers of
    job arrays, whose tasks have a unit each.
    """
    model = settings.run.model
    if engine == "ray":
        return changed(settings, model=model.on_cluster())
    if engine == "slurm" and model.on_workers:
        raise ArgumentError(
            "--engine slurm does one checkpoint in each array task, without workers. Leave --workers and --ray-address "
            "out, or start Ray over the nodes of one job: docs/clusters.md has the script."
        )
    return settings


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


@app.command()
def status(sweep: SweepName = "latest", output: Output = Path("results"), as_json: AsJson = False) -> None:
    """Show which checkpoints are done, running, queued, waited for or broken."""
    from collections import Counter

    from benchbench.runner.sweep.folder import SweepWriter, status_of
    from benchbench.store.find import find_sweep

    folder = SweepWriter(find_sweep(sweep, output).path)
    settings = folder.settings()
    units = with_queue(folder, status_of(folder, settings))
    if as_json:
        print_json({"sweep": str(folder.path), "units": json_record.as_json(units)})
        return
    _show_status(units, len(settings.task_groups))
    counts = Counter(unit.state for unit in units)
    say(", ".join(f"{count} {state}" for state, count in counts.items()) + f". Sweep in {folder.path}")


@app.command()
def resume(
    sweep: SweepName = "latest",
    engine: Annotated[Engine | None, typer.Option(help="Where. Default: where the sweep was done before.")] = None,
    cluster: ClusterFile = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, or the job script.")] = False,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep that was stopped or killed: only what is missing is done."""
    from benchbench.extensions.slurm.folder import kept_cluster
    from benchbench.runner.sweep.folder import SweepWriter
    from benchbench.store.find import find_sweep

    folder = SweepWriter(find_sweep(sweep, output).path)
    kept = kept_cluster(folder) if engine in (None, "slurm") and cluster is None else None
    slurm = engine == "slurm" or (engine is None and (cluster is not None or kept is not None))
    on_cluster = kept or asked_cluster(cluster, slurm=slurm)
    settings = folder.settings()
    if engine is not None:  # the workers of before are not meant, nor where they were
        settings = on_engine(changed(settings, workers=None, ray_address=None), engine)
    if on_cluster is not None:
        submit(replace(settings, watch=False, until=None), on_cluster, as_json=as_json, dry=dry)
    elif dry:
        _show_plan(settings, as_json=as_json)
    else:
        execute(settings, as_json=as_json)


@app.command(hidden=True)
def worker(
    folder: Annotated[Path, typer.Argument(help="Folder of a job array, beside sweep.json.")],
    unit: Annotated[int, typer.Option(help="Line of its units.json, from 0.")],
) -> None:
    """Do one unit; a job script calls this. Exit code 0: done or requeued, 143: stopped."""
    from benchbench.extensions.slurm.worker import Signals, work

    signals = Signals()  # first of all: what is imported next takes seconds
    from benchbench.cli.sweep_view import watching_sweep

    with watching_sweep() as on_event:
        outcome = work(folder, unit, signals, on_event, say)
    if outcome == "stopped":
        raise typer.Exit(143)


@app.command(hidden=True)
def beside(folder: Annotated[Path, typer.Argument(help="Folder of the sweep.")]) -> None:
    """Score what a training lists, until it lets go of our standard input; its callback calls this."""
    from benchbench.runner.sweep.beside import training_goes_on
    from benchbench.runner.sweep.folder import SweepWriter

    execute(SweepWriter(folder).settings(), keep_watching=training_goes_on)


@app.command()
def show(
    sweep: SweepName = "latest",
    delta: Annotated[
        float | None, typer.Option(help="A gain below it counts as none. Default: half a percent of the range.")
    ] = None,
    since: Annotated[
        int | None, typer.Option(help="Step from which the newest part is counted. Default: the last fifth.")
    ] = None,
    one_look: Annotated[
        bool, typer.Option("--one-look", help="Nobody looked before all checkpoints were there: adjust for one look.")
    ] = False,
    weights: Weights = "benchmarks",
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show the curves and verdicts of what is done so far; loads no model."""
    from benchbench.leaderboard.training import VerdictOptions
    from benchbench.store.find import find_sweep

    if delta is not None and not delta > 0:
        raise ArgumentError(f"--delta is a margin above 0 in the metric's own unit, not {delta}.")
    options = VerdictOptions(delta, since, 1 if one_look else None, weights)
    _print(find_sweep(sweep, output), as_json=as_json, options=options)


@app.command()
def plot(
    sweep: SweepName = "latest",
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks or groups; may be repeated.")] = None,
    metric: Annotated[str | None, typer.Option(help="Default: the metric that each task is known by.")] = None,
    to: Annotated[Path | None, typer.Option(help="File to write, .svg or .png; without it the terminal.")] = None,
    output: Output = Path("results"),
) -> None:
    """Draw the curves with their intervals, in the terminal or as a picture."""
    from benchbench.cli.sweep_view import text_chart, trainings_of
    from benchbench.leaderboard.chart import picture
    from benchbench.leaderboard.training import chosen_curves, panels
    from benchbench.store.files import write_whole
    from benchbench.store.find import find_sweep

    if to is not None:
        check_target(to)
    trainings = trainings_of(find_sweep(sweep, output))
    if not trainings:
        raise ArgumentError("nothing is done yet.")
    found = [curve for one in trainings for curve in chosen_curves(one, tasks=task, metric=metric)]
    if to is None:
        for curve in found:
            tell(f"{curve.training}  {curve.task} {curve.metric}", "bold")
            tell_lines(text_chart(curve) + "\n")
        return
    write_whole(to, picture(panels(found), to.suffix))
    say(f"Wrote {to}")


for verb in (compare, forecast, decide, signal, twins):
    app.command()(verb)

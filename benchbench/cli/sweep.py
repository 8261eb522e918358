"""`benchbench sweep`: score every checkpoint of a training run, as it appears."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchbench.cli import sweep_slurm
from benchbench.cli.app import VerbApp
from benchbench.cli.console import cell, print_json, say, stdout
from benchbench.cli.options import AsJson, Output, Weights, with_settings
from benchbench.core.errors import ArgumentError
from benchbench.core.format import clean_lines
from benchbench.runner.settings import SweepSettings

if TYPE_CHECKING:
    from benchbench.leaderboard.training import VerdictOptions
    from benchbench.runner.sweep.folder import UnitStatus
    from benchbench.store.find import SweepFolder

app = VerbApp(invoke_without_command=True)

SweepName = Annotated[str, typer.Argument(metavar="[SWEEP]", help="A folder, a name or its beginning, or `latest`.")]


Engine = Literal["local", "slurm"]


@app.callback()
@with_settings
def sweep(
    context: typer.Context,
    settings: SweepSettings,
    engine: Annotated[Engine, typer.Option(rich_help_panel="Engine", help="Where the work is done.")] = "local",
    cluster: sweep_slurm.ClusterFile = None,
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
    on_cluster = sweep_slurm.asked_cluster(cluster, slurm=engine == "slurm")
    if on_cluster is not None:
        sweep_slurm.submit(settings, on_cluster, as_json=as_json, dry=dry)
    elif dry:
        _show_plan(settings, as_json=as_json)
    else:
        execute(settings, as_json=as_json)


def execute(
    settings: SweepSettings, *, as_json: bool = False, keep_watching: Callable[[], bool] = lambda: True
) -> None:
    """Sweeps, prints curves and verdicts, and exits with 1 above the allowed share of failed docs, 130 on Ctrl-C."""
    from benchbench.cli.sweep_view import watching_sweep
    from benchbench.runner.sweep import sweep as run_sweep

    try:
        with watching_sweep() as on_event:
            result = run_sweep(settings, on_event=on_event, keep_watching=keep_watching)
    except KeyboardInterrupt:
        say("Stopped. The same command goes on from here, and so does `benchbench sweep resume`.")
        raise typer.Exit(130) from None
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


def _print(folder: SweepFolder, *, as_json: bool, options: VerdictOptions | None = None) -> None:
    """Curves and verdicts of what is done, on stdout."""
    from benchbench.cli.sweep_view import as_json_value, show_training, trainings_of

    found = trainings_of(folder, options)
    if as_json:
        print_json(json.dumps(as_json_value(folder, found), ensure_ascii=False, allow_nan=False))
        return
    for training in found:
        show_training(training)
    stdout().print(cell(f"Sweep in {folder.path}"), soft_wrap=True)


def _show_plan(settings: SweepSettings, *, as_json: bool) -> None:
    """What a sweep would do: its units, and what each would ask."""
    from benchbench.cli.console import watching
    from benchbench.cli.run import show_estimates
    from benchbench.runner.run import dry_run
    from benchbench.runner.sweep import refuse_taken_name
    from benchbench.runner.sweep.find import find_all
    from benchbench.runner.sweep.folder import SweepWriter, status_of

    refuse_taken_name(settings, find_all(settings))
    units = status_of(SweepWriter.of(settings), settings)
    todo = sum(unit.state == "to do" for unit in units)
    if not as_json:
        _show_status(units, len(settings.task_groups))
    with watching(quiet=as_json) as on_event:
        groups = [dry_run(replace(settings.run, tasks=tasks), on_event=on_event) for tasks in settings.task_groups]
    if as_json:
        asked = [{"tasks": [asdict(estimate) for estimate in estimates]} for estimates in groups]
        value = {"units": [asdict(unit) for unit in units], "to_do": todo, "groups": asked}
        print_json(json.dumps(value, ensure_ascii=False, allow_nan=False))
        return
    show_estimates([estimate for estimates in groups for estimate in estimates])
    say(f"Each checkpoint is asked that; {todo} of {len(units)} units are to be done.")


def _show_status(units: Sequence[UnitStatus], groups: int) -> None:
    from rich.table import Table

    from benchbench.core.format import magnitude

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    names = ("series", "step", *(("group",) if groups > 1 else ()), "tokens", "state", "")
    for name in names:
        table.add_column(name, justify="right" if name in ("step", "tokens") else "left", overflow="fold")
    for unit in units:
        tokens = None if unit.tokens_seen is None else magnitude(unit.tokens_seen)
        more = unit.done.run if unit.done is not None else unit.why
        group = (unit.group + 1,) if groups > 1 else ()
        table.add_row(*map(cell, (unit.series, unit.step, *group, tokens, unit.state, more)))
    stdout().print(table)


@app.command()
def status(sweep: SweepName = "latest", output: Output = Path("results"), as_json: AsJson = False) -> None:
    """Show which checkpoints are done, running, queued, waited for or broken."""
    from collections import Counter

    from benchbench.runner.sweep.folder import SweepWriter, status_of
    from benchbench.store.find import find_sweep

    folder = SweepWriter(find_sweep(sweep, output).path)
    settings = folder.settings()
    units = sweep_slurm.with_queue(folder, status_of(folder, settings))
    if as_json:
        value = {"sweep": str(folder.path), "units": [asdict(unit) for unit in units]}
        print_json(json.dumps(value, ensure_ascii=False, allow_nan=False))
        return
    _show_status(units, len(settings.task_groups))
    counts = Counter(unit.state for unit in units)
    say(", ".join(f"{count} {state}" for state, count in counts.items()) + f". Sweep in {folder.path}")


@app.command()
def resume(
    sweep: SweepName = "latest",
    engine: Annotated[Engine | None, typer.Option(help="Where. Default: where the sweep was done before.")] = None,
    cluster: sweep_slurm.ClusterFile = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, or the job script.")] = False,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Go on with a sweep that was stopped or killed: only what is missing is done."""
    from benchbench.extensions.slurm.folder import kept_cluster
    from benchbench.runner.sweep.folder import SweepWriter
    from benchbench.store.find import find_sweep

    folder = SweepWriter(find_sweep(sweep, output).path)
    kept = kept_cluster(folder) if engine != "local" and cluster is None else None
    slurm = engine == "slurm" or (engine is None and (cluster is not None or kept is not None))
    on_cluster = kept or sweep_slurm.asked_cluster(cluster, slurm=slurm)
    if on_cluster is not None:
        settings = replace(folder.settings(), watch=False, until=None)
        sweep_slurm.submit(settings, on_cluster, as_json=as_json, dry=dry)
    elif dry:
        _show_plan(folder.settings(), as_json=as_json)
    else:
        execute(folder.settings(), as_json=as_json)


@app.command(hidden=True)
def worker(
    folder: Annotated[Path, typer.Argument(help="Folder of a job array, beside sweep.json.")],
    unit: Annotated[int, typer.Option(help="Line of its units.json, from 0.")],
) -> None:
    """Do one unit; a job script calls this."""
    sweep_slurm.work(folder, unit)


@app.command()
def show(
    sweep: SweepName = "latest",
    delta: Annotated[
        float | None,
        typer.Option(help="A gain below it counts as none. Default: half a percent of the range."),
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

    trainings = trainings_of(find_sweep(sweep, output))
    if not trainings:
        raise ArgumentError("nothing is done yet.")
    found = [curve for one in trainings for curve in chosen_curves(one, tasks=task, metric=metric)]
    if to is None:
        for curve in found:
            stdout().print(cell(f"{curve.training}  {curve.task} {curve.metric}", "bold"), soft_wrap=True)
            typer.echo(clean_lines(text_chart(curve)) + "\n")
        return
    write_whole(to, picture(panels(found), to.suffix))
    say(f"Wrote {to}")

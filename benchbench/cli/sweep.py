"""`benchbench sweep`: score every checkpoint of a training run, as it appears."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.backends.options import ModelOptions, parse_model_args
from benchbench.cli import options as opt
from benchbench.cli import sweep_slurm
from benchbench.cli.app import VerbApp
from benchbench.cli.console import cell, print_json, stderr, stdout
from benchbench.core.errors import ArgumentError
from benchbench.core.format import clean, clean_lines
from benchbench.runner.settings import RunSettings
from benchbench.store.names import find_location
from benchbench.tasks.gen_kwargs import parse_gen_kwargs

if TYPE_CHECKING:
    from benchbench.leaderboard.training import VerdictOptions
    from benchbench.runner.sweep.settings import SweepSettings
    from benchbench.runner.sweep.status import UnitStatus
    from benchbench.store.find import SweepFolder

app = VerbApp(invoke_without_command=True)

SweepName = Annotated[str, typer.Argument(metavar="[SWEEP]", help="A folder, a name or its beginning, or `latest`.")]


class Order(StrEnum):
    """The values of --order."""

    newest = "newest"
    oldest = "oldest"


class Engine(StrEnum):
    """The values of --engine."""

    local = "local"
    slurm = "slurm"


@app.callback()
def sweep(
    context: typer.Context,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Folder of checkpoints, or hub name with --revisions; may be repeated."),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(help="As for `run`; repeated, each makes a unit of work of its own. Default: the default suite."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the series. Default: as the folder.")] = None,
    revisions: Annotated[
        str | None, typer.Option(help="Pattern over a hub model's revisions, such as 'step*'.")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="List of checkpoints (.yaml, .csv, .jsonl) with step, path, tokens.")
    ] = None,
    order: Annotated[Order, typer.Option(help="Which checkpoint comes first.")] = Order.newest,
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking for new checkpoints.")] = False,
    poll: Annotated[float, typer.Option(help="Seconds between two looks.")] = 30.0,
    until: Annotated[int | None, typer.Option(help="Watch until this step is scored.")] = None,
    engine: Annotated[Engine, typer.Option(help="Where the work is done.")] = Engine.local,
    cluster: sweep_slurm.ClusterFile = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be done, or the job script; load no model.")
    ] = False,
    num_fewshot: opt.Shots = None,
    limit: opt.Limit = None,
    data_root: opt.DataRoot = None,
    output: opt.Output = Path("results"),
    batch_tokens: opt.BatchTokens = None,
    dtype: opt.Dtype = "auto",
    device: opt.Device = "auto",
    backend: opt.BackendName = "auto",
    tokenizer: opt.TokenizerName = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    max_length: opt.MaxLength = None,
    model_args: opt.ModelArgs = "",
    fewshot_mode: opt.Mode = opt.FewshotMode.fixed,
    prompt: opt.PromptName = "default",
    gen_kwargs: opt.GenKwargsText = "",
    split: opt.Split = None,
    fewshot_split: opt.FewshotSplit = None,
    apply_chat_template: opt.ApplyChatTemplate = False,
    system: opt.System = None,
    fewshot_as_multiturn: opt.Multiturn = None,
    seed: opt.Seed = 1234,
    include_path: opt.IncludePath = None,
    trust_task_code: opt.TrustTaskCode = False,
    max_failed: opt.MaxFailed = 0.01,
    as_json: opt.AsJson = False,
) -> None:
    """Score every checkpoint of a training run and say what the curve means.

    Weights are swapped in place, prompts and tokens are made once. Stopped at any moment, the same command goes on.
    """
    if context.invoked_subcommand is not None:
        return
    from benchbench.runner.sweep.settings import SweepSettings

    run = RunSettings(
        model=ModelOptions(
            model="",
            backend=backend,
            dtype=dtype,
            device=device,
            trust_remote_code=trust_remote_code,
            max_length=max_length,
            batch_tokens=batch_tokens,
            tokenizer=tokenizer,
            model_args=parse_model_args(model_args),
        ),
        include_paths=tuple(include_path or ()),
        num_fewshot=num_fewshot,
        fewshot_mode=fewshot_mode.value,
        seed=seed,
        limit=limit,
        prompt=prompt,
        split=split,
        fewshot_split=fewshot_split,
        chat=opt.chat_settings(apply_chat_template, system, fewshot_as_multiturn),
        data_root=data_root,
        trust_task_code=trust_task_code,
        gen_kwargs=parse_gen_kwargs(gen_kwargs),
        output=output,
        max_failed=max_failed,
    )
    settings = SweepSettings(
        run=run,
        models=_series(model, checkpoints),
        task_groups=tuple(tasks or [None]),
        revisions=revisions,
        listed=checkpoints,
        name=name,
        order=order.value,
        watch=watch,
        poll=poll,
        until=until,
    )
    on_cluster = sweep_slurm.asked_cluster(cluster, slurm=engine == Engine.slurm)
    if on_cluster is not None:
        sweep_slurm.submit(settings, on_cluster, as_json=as_json, dry=dry)
    elif dry:
        _show_plan(settings, as_json=as_json)
    else:
        execute(settings, as_json=as_json)


def _series(models: list[str] | None, listed: Path | None) -> tuple[str, ...]:
    """The series' places, each once; a list without --model is named after its file."""
    if models:
        places: dict[str, str] = {}
        for model in models:
            places.setdefault(find_location(model), model)
        return tuple(places.values())
    if listed is not None:
        return (listed.stem,)
    raise ArgumentError("a sweep needs --model: a folder of checkpoints, or a hub name with --revisions 'step*'.")


def execute(
    settings: SweepSettings, *, as_json: bool = False, keep_watching: Callable[[], bool] = lambda: True
) -> None:
    """Sweeps, prints curves and verdicts, and exits with 1 above the allowed share of failed docs, 130 on Ctrl-C."""
    from benchbench.cli.sweep_view import watching_sweep
    from benchbench.runner.sweep.sweep import sweep as run_sweep

    try:
        with watching_sweep() as on_event:
            result = run_sweep(settings, on_event=on_event, keep_watching=keep_watching)
    except KeyboardInterrupt:
        _say("Stopped. The same command goes on from here, and so does `benchbench sweep resume`.")
        raise typer.Exit(130) from None
    _print(result.folder, as_json=as_json)
    worst = max(result.done, key=lambda done: done.failed_share, default=None)
    if worst is None:
        _say("No checkpoint was scored.")
        raise typer.Exit(1)
    if worst.failed_share > settings.run.max_failed:
        _say(
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
    from benchbench.runner.sweep.status import status_of
    from benchbench.runner.sweep.sweep import find_all, refuse_taken_name
    from benchbench.runner.sweep.unit import SweepWriter

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
    _say(f"Each checkpoint is asked that; {todo} of {len(units)} units are to be done.")


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
def status(sweep: SweepName = "latest", output: opt.Output = Path("results"), as_json: opt.AsJson = False) -> None:
    """Show which checkpoints are done, running, queued, waited for or broken."""
    from collections import Counter

    from benchbench.runner.sweep.status import status_of
    from benchbench.runner.sweep.unit import SweepWriter
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
    _say(", ".join(f"{count} {state}" for state, count in counts.items()) + f". Sweep in {folder.path}")


@app.command()
def resume(
    sweep: SweepName = "latest",
    engine: Annotated[Engine | None, typer.Option(help="Where. Default: where the sweep was done before.")] = None,
    cluster: sweep_slurm.ClusterFile = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, or the job script.")] = False,
    output: opt.Output = Path("results"),
    as_json: opt.AsJson = False,
) -> None:
    """Go on with a sweep that was stopped or killed: only what is missing is done."""
    from benchbench.extensions.slurm.folder import kept_cluster
    from benchbench.runner.sweep.unit import SweepWriter
    from benchbench.store.find import find_sweep

    folder = SweepWriter(find_sweep(sweep, output).path)
    kept = kept_cluster(folder) if engine != Engine.local and cluster is None else None
    slurm = engine == Engine.slurm or (engine is None and (cluster is not None or kept is not None))
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
    weights: opt.Weights = opt.WeightsRule.benchmarks,
    output: opt.Output = Path("results"),
    as_json: opt.AsJson = False,
) -> None:
    """Show the curves and verdicts of what is done so far; loads no model."""
    from benchbench.leaderboard.training import VerdictOptions
    from benchbench.store.find import find_sweep

    if delta is not None and not delta > 0:
        raise ArgumentError(f"--delta is a margin above 0 in the metric's own unit, not {delta}.")
    options = VerdictOptions(delta, since, 1 if one_look else None, weights.value)
    _print(find_sweep(sweep, output), as_json=as_json, options=options)


@app.command()
def plot(
    sweep: SweepName = "latest",
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks or groups; may be repeated.")] = None,
    metric: Annotated[str | None, typer.Option(help="Default: the metric that each task is known by.")] = None,
    to: Annotated[Path | None, typer.Option(help="File to write, .svg or .png; without it the terminal.")] = None,
    output: opt.Output = Path("results"),
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
    _say(f"Wrote {to}")


def _say(text: str) -> None:
    stderr().print(cell(clean(text)), soft_wrap=True)

"""`benchbench sweep`: score every checkpoint of a training run, as it appears."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.backends import ModelOptions
from benchbench.cli import options as opt
from benchbench.core.errors import ArgumentError
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from benchbench.runner.sweep.settings import SweepSettings

app = typer.Typer(rich_markup_mode=None, add_completion=False, invoke_without_command=True)

SweepName = Annotated[str, typer.Argument(metavar="[SWEEP]", help="A folder, a name or its beginning, or `latest`.")]


class Order(StrEnum):
    """The values of --order."""

    newest = "newest"
    oldest = "oldest"


class Engine(StrEnum):
    """The values of --engine."""

    local = "local"


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
    dry: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; load no model.")] = False,
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
    fewshot_mode: opt.Mode = opt.FewshotMode.fixed,
    prompt: opt.PromptName = "default",
    split: opt.Split = None,
    fewshot_split: opt.FewshotSplit = None,
    seed: opt.Seed = 1234,
    include_path: opt.IncludePath = None,
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
        ),
        include_paths=tuple(include_path or ()),
        num_fewshot=num_fewshot,
        fewshot_mode=fewshot_mode.value,
        seed=seed,
        limit=limit,
        prompt=prompt,
        split=split,
        fewshot_split=fewshot_split,
        data_root=data_root,
        output=output,
        max_failed=max_failed,
    )
    settings = SweepSettings(
        run=run,
        models=_series(model, checkpoints),
        task_groups=tuple(tasks or [None]),
        revisions=revisions,
        listed=checkpoints,
        order=order.value,
        watch=watch,
        poll=poll,
        until=until,
    )
    execute(settings, as_json=as_json)


def _series(models: list[str] | None, listed: Path | None) -> tuple[str, ...]:
    """The series' names; a list without --model is named after its file."""
    if models:
        return tuple(models)
    if listed is not None:
        return (listed.stem,)
    raise ArgumentError("a sweep needs --model: a folder of checkpoints, or a hub name with --revisions 'step*'.")


def execute(settings: SweepSettings, *, as_json: bool = False) -> None:
    """Sweeps, prints the curves, and exits with 1 above the allowed share of failed docs or with 130 on Ctrl-C."""
    from benchbench.runner.sweep.curves import curves
    from benchbench.runner.sweep.sweep import sweep as run_sweep

    result = run_sweep(settings)
    for curve in curves(result.folder):
        print(curve.series, curve.task, curve.metric, [(p.step, p.value) for p in curve.points])
    for done in result.done:
        print(done.step, done.timing)

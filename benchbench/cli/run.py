"""`benchbench run`: evaluate one model, print its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchbench.backends.engines import ModelOptions
from benchbench.cli.console import (
    cell,
    figure_table,
    print_json,
    print_table,
    remarks,
    results_table,
    say,
    stdout,
    stoppable,
    tell,
)
from benchbench.cli.main import FAILED, INCOMPLETE, VerbApp
from benchbench.cli.options import AsJson, with_settings
from benchbench.cli.progress import watching
from benchbench.core.format import several
from benchbench.core.json_record import as_json
from benchbench.core.record import RunRecord
from benchbench.core.types import Json
from benchbench.runner.settings import RunSettings, with_profile

if TYPE_CHECKING:
    from benchbench.runner.plan import Estimate

app = VerbApp()
EXAMPLES = """\b
benchbench run -m HuggingFaceTB/SmolLM2-135M --tasks hellaswag --limit 100
benchbench run -m runs/csmpt/checkpoint-500 --tasks czech --num-fewshot 5
benchbench run -m M --tasks gsm8k --limit 0.1 > table.txt 2> log.txt &
"""


@app.command(epilog=EXAMPLES)
@with_settings
def run(
    settings: RunSettings,
    profile: Annotated[
        str | None,
        typer.Option(
            rich_help_panel="Tasks", help="Settings of a published evaluation, where none are given here: benczechmark."
        ),
    ] = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(rich_help_panel="Model", help="Here, or on a Ray cluster (see --ray-address)."),
    ] = "local",
    dry: Annotated[
        bool, typer.Option("--dry-run", rich_help_panel="Output", help="Show what would be asked; load no model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Evaluate one model and print its table.

    Killed at any moment, the same command goes on where it was; a finished run is shown from disk.
    """
    settings = replace(settings, model=without_prefix(settings.model))
    if engine == "ray":
        settings = replace(settings, model=settings.model.on_cluster())
    if profile is not None:
        settings = with_profile(settings, profile)
    if dry:
        _show_plan(settings, as_json=as_json)
    else:
        execute(settings, as_json=as_json)


def without_prefix(options: ModelOptions) -> ModelOptions:
    """`scripted:NAME` names a model and its backend at once."""
    if not options.model.startswith("scripted:"):
        return options
    backend = "scripted" if options.backend == "auto" else options.backend
    return replace(options, model=options.model.removeprefix("scripted:"), backend=backend)


def execute(settings: RunSettings, *, as_json: bool = False) -> None:
    """Runs and prints. Exits with 1 above the allowed share of failed docs or if a task has not one value, with 3 if
    tasks of the default suite were left out, with 130 on Ctrl-C.
    """
    from benchbench.runner.run import run as run_settings

    with stoppable(), watching() as on_event:
        result = run_settings(settings, on_event=on_event)
    if result.already_complete:
        say(f"This run is already complete; its results are from {result.path}. --fresh computes them again.")
    if as_json:
        print_json(to_json(result.path, result.record, already_complete=result.already_complete))
    else:
        show(result.record, result.path)
    if result.failed_share > settings.max_failed:
        say(f"{result.failed_share:.1%} of the docs failed, more than --max-failed {settings.max_failed:.1%} allows.")
        raise typer.Exit(FAILED)
    if result.without_value:
        for task, why in result.without_value.items():
            say(f"{task} has no value: {why}")
        raise typer.Exit(FAILED)
    if result.left_out:
        say(
            f"{several(len(result.left_out), 'task')} of the default suite had no data and were left out, see above. "
            "The others are done, and are taken over when the same command finds the rest."
        )
        raise typer.Exit(INCOMPLETE)


def to_json(path: Path, record: RunRecord, *, already_complete: bool = False) -> dict[str, Json]:
    """The object that `--json` prints: run, model, rows and counts."""
    return {
        "run": str(path),
        "run_id": record.run_id,
        "model": record.model,
        "already_complete": already_complete,
        "rows": as_json(record.rows),
        "counts": {name: task.counts.to_json() for name, task in record.tasks.items()},
        "reused": record.provenance.reused,
        "seconds": record.provenance.seconds,
    }


def show(record: RunRecord, path: Path, *, every_row: bool = False) -> None:
    """The results table and what to know with it, on stdout."""
    console = stdout()
    backend = record.backend
    console.print(cell(f"{record.model}  {backend.dtype} on {backend.device}", "bold"))
    print_table(results_table(record, every_row=every_row))
    for line in remarks(record):
        console.print(cell(line))
    tell(f"Results in {path}")


def _show_plan(settings: RunSettings, *, as_json: bool) -> None:
    from benchbench.runner.run import dry_run

    with watching(quiet=as_json) as on_event:
        estimates = dry_run(settings, on_event=on_event)
    if as_json:
        print_json({"tasks": [asdict(estimate) for estimate in estimates]}, ensure_ascii=True)
        return
    show_estimates(estimates)


def show_estimates(estimates: Sequence[Estimate]) -> None:
    """What the tasks would ask of a model, on stdout, and the sum on stderr."""
    table = figure_table("task", "docs", "requests", "shots", "~tokens alone", "~tokens shared")
    for e in estimates:
        table.add_row(
            *map(cell, (e.task, e.docs, e.requests, e.num_fewshot, f"{e.tokens_alone:,}", f"{e.tokens_shared:,}"))
        )
    print_table(table)
    alone, shared = (sum(getattr(e, name) for e in estimates) for name in ("tokens_alone", "tokens_shared"))
    say(f"About {alone:,} tokens alone, {shared:,} with shared prefixes (4 bytes a token). Nothing was run.")

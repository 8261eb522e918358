"""`benchbench sweep --variants` and `sweep twins`: the same checkpoints in fewer bits, and what that costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import cell, figure_table, number, print_json, print_table, say, stdout, tell
from benchbench.cli.options import AsJson, Output, check_target
from benchbench.cli.progress import busy
from benchbench.core.errors import ArgumentError

if TYPE_CHECKING:
    from benchbench.leaderboard.twins import TwinRow
    from benchbench.runner.settings import SweepSettings

VARIANTS = ("int8", "int4")


def with_variants(settings: SweepSettings, text: str | None) -> list[SweepSettings]:
    """The sweep, then one for each variant, named as the training with the bits behind. ArgumentError for others."""
    if text is None:
        return [settings]
    from benchbench.core.settings import changed
    from benchbench.store.names import find_location, own_name

    asked = [part.strip() for part in text.split(",")]
    if unknown := [part for part in asked if part not in VARIANTS]:
        raise ArgumentError(f"--variants {text}: {unknown[0]!r} is none of {', '.join(VARIANTS)}.")
    if len(settings.models) > 1:
        raise ArgumentError("--variants takes one --model; sweep the others apart.")
    if settings.run.model.backend not in ("auto", "hf"):
        raise ArgumentError(
            f"--variants rounds weights in the engine hf, not {settings.run.model.backend}: leave --backend out. vllm "
            "quantises by --model-args quantization=…, and a .gguf file is a model of its own."
        )
    name = settings.name or own_name(find_location(settings.models[0]))
    made = [settings]
    for part in dict.fromkeys(asked):
        model = changed(
            settings.run.model, model_args=(*settings.run.model.model_args, ("torchao", part)), backend="hf"
        )
        made.append(replace(settings, name=f"{name}+{part}", run=replace(settings.run, model=model)))
    return made


def twins(
    plain: Annotated[str, typer.Argument(metavar="TRAINING", help="As `results ls` names it.")],
    variants: Annotated[
        list[str] | None,
        typer.Argument(metavar="[VARIANT...]", help="Default: all named TRAINING+…, as --variants does."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Also draw the losses: a file .svg or .png.")] = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show what fewer bits cost each checkpoint, on the same docs, and whether the loss grows; loads no model."""
    from benchbench.core.json_record import finite_json
    from benchbench.leaderboard.chart import picture
    from benchbench.leaderboard.records import read_records
    from benchbench.leaderboard.training_pairs import find_trainings
    from benchbench.leaderboard.twins import as_json_row, twin_rows
    from benchbench.store.files import write_whole

    if to is not None:
        check_target(to)
    with busy("comparing"):
        records = read_records([output])
        names = variants or [name for name in records.trainings() if name.startswith(f"{plain}+")]
        if not names:
            raise ArgumentError(
                f"there is no variant of {plain} here. Make one with `benchbench sweep --model … --variants int8,int4`,"
                " or name the other training."
            )
        base, *others = find_trainings([plain, *names], records)
        rows = twin_rows(base, others)
    if as_json:
        print_json(finite_json([as_json_row(row) for row in rows]))
    else:
        _show(rows)
    if to is not None:
        write_whole(to, picture([row.panel for row in rows], to.suffix))
        say(f"Wrote {to}")


def _show(rows: list[TwinRow]) -> None:
    from benchbench.cli.sweep_view import sparkline

    table = figure_table(
        "task", "variant", "loss over steps", "first", "last", "grows", left=("variant", "loss over steps")
    )
    for row in rows:
        values = row.series.values.tolist()
        grows = {True: "yes", False: "not shown", None: "-"}[row.grows]
        name = f"{row.task} {row.metric}"
        table.add_row(*map(cell, (name, row.variant, sparkline(values), number(values[0]), number(values[-1]), grows)))
    print_table(table)
    for row in rows:
        stdout().print()
        stdout().print(cell(row.sentence))
    tell("")
    tell("Differences to the plain checkpoints on the same docs; that any of these says 'grows' falsely: at most 5 %.")

"""`benchbench sweep forecast`: what a training will score later, and how good such forecasts have been."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import cell, figure_table, number, print_json, print_table, stdout, tell
from benchbench.cli.options import AsJson, Output
from benchbench.cli.progress import busy
from benchbench.core.checkpoint_names import with_unit
from benchbench.core.errors import ArgumentError

if TYPE_CHECKING:
    from benchbench.leaderboard.forecasts import BackTestRow
    from benchbench.leaderboard.records import Records


def forecast(
    training: Annotated[
        str | None, typer.Argument(metavar="[TRAINING]", help="As `results ls` names it; needed if there are several.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="Step, or tokens where no steps are known: 143000, 143k, 2T.")] = None,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Forecast every training here from its first 30 and 50 % instead.")
    ] = False,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks; may be repeated.")] = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Forecast a training's scores from how other trainings of the same tasks went on; loads no model.

    Each forecast names how far such forecasts of the other trainings were off. Where that is no better than "stays as
    it is", none is given.
    """
    from benchbench.core.json_record import finite_json
    from benchbench.leaderboard.forecasts import as_json_row, forecast_training
    from benchbench.leaderboard.records import read_records

    if (at is None) != backtest:
        raise ArgumentError("give --at STEP to forecast, or --backtest to see how good forecasts are; one of them.")
    with busy("forecasting"):
        records = read_records([output])
        if at is None:
            _show_test(_tested(records, task), as_json=as_json)
            return
        rows = forecast_training(records, training, _place(at), task)
    if as_json:
        print_json(finite_json([as_json_row(row) for row in rows]))
        return
    tell(f"{rows[0].training}  at {at}" if rows else "nothing to forecast", "bold")
    for row in rows:
        stdout().print(cell(row.sentence))


def _place(text: str) -> float:
    """`143k` → 143,000. ArgumentError for what is no number above 0."""
    digits, unit = with_unit(text)
    try:
        found = float(digits.replace(",", "")) * unit
    except ValueError:
        found = -1.0
    if not 0 < found < float("inf"):
        raise ArgumentError(f"--at {text}: a step or a number of tokens was expected, such as 143000 or 143k.")
    return found


def _tested(records: Records, task: list[str] | None) -> list[BackTestRow]:
    """The rows of the back-test, then their means over all tasks."""
    from benchbench.leaderboard.forecasts import SHARES, back_test, summed

    rows = back_test(records, task)
    return [*rows, *(summed(rows, share) for share in SHARES)]


def _show_test(rows: list[BackTestRow], *, as_json: bool) -> None:
    from benchbench.core.json_record import finite_json

    if as_json:
        print_json(finite_json([asdict(row) for row in rows]))
        return
    names = ("seen", "forecasts", "refused", "error", "stays", "power law", "80 %", "90 %")
    table = figure_table("task", *names)
    for row in rows:
        figures = map(number, (row.forecast, row.stays, row.power_law))
        held = (f"{row.covered_80:.0%}", f"{row.covered_90:.0%}") if row.trainings else ("-", "-")
        name = f"{row.task} {row.metric}".rstrip()
        table.add_row(*map(cell, (name, f"{row.share:.0%}", row.trainings, row.refused, *figures, *held)))
    print_table(table)
    tell("error, stays, power law: mean absolute error of the last score, by the forecast, the last score seen, and by")
    tell("a - b·x^(-c) through the training's own scores. 80 %, 90 %: how often the prediction interval held it. Each")
    tell("training is forecast from the others; what was refused is in no figure.")

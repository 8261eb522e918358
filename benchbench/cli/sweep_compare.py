"""`benchbench sweep compare`: which training is better, from when on, and how much training it saves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from benchbench.cli.console import (
    cell,
    figure_table,
    number,
    p_value,
    print_json,
    print_table,
    say,
    signed,
    signed_ends,
    stdout,
    tell,
)
from benchbench.cli.options import AsJson, Output, Weights, check_target
from benchbench.cli.progress import busy
from benchbench.core.checkpoint_names import with_unit
from benchbench.core.errors import ArgumentError

if TYPE_CHECKING:
    from rich.table import Table

    from benchbench.leaderboard.training_pair import PairRow


def compare(
    trainings: Annotated[
        list[str], typer.Argument(metavar="A B [C...]", help="Trainings, as `results ls` names them.")
    ],
    by: Annotated[
        Literal["step", "tokens", "flops"] | None,
        typer.Option(help="Axis. Default: steps where every checkpoint tells one, else tokens."),
    ] = None,
    tokens_per_step: Annotated[
        str | None, typer.Option(help="Where checkpoints do not tell their tokens: one number, or one per training.")
    ] = None,
    task: Annotated[list[str] | None, typer.Option(help="Only these tasks; may be repeated.")] = None,
    metric: Annotated[str | None, typer.Option(help="Default: the metric that each task is known by.")] = None,
    delta: Annotated[
        float | None, typer.Option(help="A difference below it counts as none. Default: half a percent of the range.")
    ] = None,
    weights: Weights = "benchmarks",
    to: Annotated[Path | None, typer.Option(help="Also draw curves and differences: a file .svg or .png.")] = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Compare trainings on the same docs: better from when on, by how much, how much training is saved.

    Each later training is judged against each earlier one. It loads no model.
    """
    from benchbench.core.json_record import finite_json
    from benchbench.leaderboard.chart import picture
    from benchbench.leaderboard.records import read_records
    from benchbench.leaderboard.training_pair import figures
    from benchbench.leaderboard.training_pairs import PairOptions, compare_trainings, find_trainings
    from benchbench.store.files import write_whole

    if delta is not None and not delta > 0:
        raise ArgumentError(f"--delta is a margin above 0 in the metric's own unit, not {delta}.")
    if to is not None:
        check_target(to)
    options = PairOptions(by, _counts(tokens_per_step), tuple(task) if task else None, metric, delta, weights)
    with busy("comparing"):
        found = compare_trainings(find_trainings(trainings, read_records([output])), options)
    if as_json:
        refused = [dict(zip(("a", "b", "task", "reason"), one, strict=True)) for one in found.refused]
        print_json(finite_json({"axis": found.axis, "rows": [figures(row) for row in found.rows], "refused": refused}))
    else:
        _show(found.rows)
        for a, b, name, why in found.refused:
            say(f"Not compared: {a} and {b} on {name}: {why}.")
    if to is not None:
        write_whole(to, picture([panel for row in found.rows for panel in row.panels], to.suffix))
        say(f"Wrote {to}")


def _counts(text: str | None) -> tuple[int, ...]:
    """`2M` or `2097152,4194304`, as numbers. ArgumentError for others."""
    found = []
    for part in text.split(",") if text else []:
        digits, unit = with_unit(part.strip())
        if not digits.isdigit() or int(digits) == 0:
            raise ArgumentError(
                f"--tokens-per-step {text}: whole numbers above 0 were expected, such as 2097152 or 2M."
            )
        found.append(int(digits) * unit)
    return tuple(found)


def _show(rows: tuple[PairRow, ...]) -> None:
    console = stdout()
    for a, b in dict.fromkeys((row.a, row.b) for row in rows):
        own = [row for row in rows if (row.a, row.b) == (a, b)]
        tell(f"B = {b}  against  A = {a}", "bold")
        print_table(_table(own))
        for row in own:
            console.print()
            console.print(cell(row.sentence))
    adjusted = "the claims of all rows together are wrong in at most 5 % of such comparisons"
    console.print()
    console.print(cell(f"p: two-sided, at the last common point, for one look; {adjusted}."))


def _table(rows: list[PairRow]) -> Table:
    table = figure_table("task", "B − A", "A", "B", "end", "CI", "p", "saved", "verdict", left=("B − A", "verdict"))
    from benchbench.cli.sweep_view import sparkline

    for row in rows:
        found, values = row.verdict, row.sign * row.pair.joint.values
        curve = sparkline([row.sign * point.value for point in found.points])
        name = row.task if row.metric == "normalised" else f"{row.task} {row.metric}"
        if found.last is None:
            table.add_row(*map(cell, (name, curve, "", "", "", "", "", "", found.outcome)))
            continue
        low, high = sorted((row.sign * found.last.low, row.sign * found.last.high))
        share = (
            ""
            if found.saved is None or found.saved.share is None or found.saved.faster == "a"
            else f"{found.saved.share:.0%}"
        )
        figures = (
            number(values[len(row.pair.a) - 1]),
            number(values[-1]),
            signed(row.sign * found.last.value),
        )
        table.add_row(
            *map(cell, (name, curve, *figures, signed_ends((low, high)), p_value(found.last.p), share, found.outcome))
        )
    return table

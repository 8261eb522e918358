"""`benchbench sweep signal`: which tasks tell checkpoints apart, as a suite file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.console import cell, figure_table, print_json, print_table, say, tell
from benchbench.cli.options import AsJson, Output
from benchbench.cli.progress import busy
from benchbench.core.errors import ArgumentError


def signal(
    budget: Annotated[
        int | None, typer.Option(help="Docs in all: say how many of each task narrow the suite's interval most.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Write the tasks that are left as a suite: FOLDER/suites.yaml.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call the suite.")] = "signal",
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Rank tasks, shots and metrics by how well they tell checkpoints apart, from the trainings in the results folder.

    Signal: the gain over the second half of a training; noise: its standard error, checkpoint noise included. The suite
    has every task whose best metric has twice its noise.
    """
    from benchbench.core.json_record import finite_json
    from benchbench.leaderboard.records import read_records
    from benchbench.leaderboard.signal import ENOUGH, as_json_row, signals, suite_file
    from benchbench.store.files import write_whole

    if budget is not None and budget < 1:
        raise ArgumentError(f"--budget is {budget}; it is a number of docs, 1 or more.")
    if not re.fullmatch(r"[A-Za-z][\w-]*", name):
        raise ArgumentError(f"--name {name!r}: letters, digits, - and _ make a suite's name.")
    if to is not None and to.name != "suites.yaml":
        raise ArgumentError(f"--to {to}: suites are read from suites.yaml; give {to.parent / 'suites.yaml'}.")
    with busy("reading"):
        rows = signals(read_records([output]), budget)
    if as_json:
        print_json(finite_json([as_json_row(row) for row in rows]))
    else:
        given = ("of budget",) if budget is not None else ()
        table = figure_table(
            "task", "metric", "shots", "trainings", "docs", "signal/noise", "rises", *given, "kept", left=("metric",)
        )
        for row in rows:
            rises = "" if row.monotonicity is None else f"{row.monotonicity:.2f}"
            docs = (row.share_of_budget,) if budget is not None else ()
            known = (row.task, row.metric, row.num_fewshot, row.trainings, row.docs, f"{row.ratio:.1f}", rises)
            table.add_row(*map(cell, (*known, *docs, "kept" if row.is_chosen else "")))
        print_table(table)
        tell(f"kept: the best of its task, {ENOUGH:g} times its noise at least. rises: Spearman's ρ of step and score.")
    if to is not None:
        write_whole(to, suite_file(name, rows).encode())
        say(f"Wrote {to}. Run it with --include-path {to.parent} --tasks {name}")

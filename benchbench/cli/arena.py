"""`benchbench arena`: models ranked by a judge that compares their stored answers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import cell, figure_table, print_json, print_table, say, stdout, stoppable, tell
from benchbench.cli.main import INCOMPLETE, VerbApp
from benchbench.cli.options import AsJson, DryRun, Output, with_settings
from benchbench.cli.progress import watching
from benchbench.core.errors import StoppedError
from benchbench.core.json_record import as_json
from benchbench.extensions.judge.arena import ArenaSettings
from benchbench.store.arena import elo

if TYPE_CHECKING:
    from benchbench.extensions.judge.arena import ArenaResult, Standing

app = VerbApp()
EXAMPLES = """\b
benchbench arena model-a model-b model-c --task mt_bench_en --judge api:judge@http://localhost:8000/v1
benchbench arena model-a model-b model-c --task mt_bench_en --judge judge.gguf --pairs 100
"""


@app.command(epilog=EXAMPLES)
@with_settings
def arena(
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models with finished runs of the task.")],
    settings: ArenaSettings,
    output: Output = Path("results"),
    dry: DryRun = False,
    as_json_: AsJson = False,
) -> None:
    """Rank models by a judge that compares their stored answers, always in both orders.

    Where the orders disagree it is a tie. Strengths are Bradley-Terry's, with intervals over questions.
    """
    from benchbench.extensions.judge.arena import estimate_arena, run_arena

    if dry:
        cost = estimate_arena(models, settings, output)
        if as_json_:
            print_json(asdict(cost))
        else:
            tell(
                f"{cost.requests:,} judgements: about {cost.prompt_tokens:,} tokens to read (4 bytes a token), at most"
                f" {cost.most_tokens:,} to write. What is kept from before costs nothing. Nothing was run."
            )
        return
    try:
        with stoppable(), watching() as on_event:
            result = run_arena(models, settings, output, on_event=on_event)
    except StoppedError as stopped:
        say(f"Stopped: {stopped}")
        raise typer.Exit(INCOMPLETE) from None
    if as_json_:
        value = {name: getattr(result, name) for name in result.__slots__ if name != "path"}
        print_json({**{name: as_json(one) for name, one in value.items()}, "path": str(result.path)})
    else:
        _show(result)


def _show(result: ArenaResult) -> None:
    stdout().print(cell(f"{result.task}, judged by {result.judge}", "bold"))
    table = figure_table("model", "Elo", "95%", "rank", "wins", "n", "same length")
    for one in result.standings:
        ends = "" if one.low is None or one.high is None else f"[{elo(one.low):.0f}, {elo(one.high):.0f}]"
        table.add_row(
            *map(
                cell,
                (
                    one.model,
                    f"{elo(one.strength):.0f}",
                    ends,
                    _rank(one),
                    "" if one.wins is None else f"{one.wins:.3f}",
                    one.comparisons,
                    _controlled(one),
                ),
            )
        )
    print_table(table)
    told = result.biases
    tell(
        f"{result.matches:,} of {result.possible:,} matches on {result.questions} questions, each in both orders;"
        f" {result.ties:.0%} ties."
    )
    if told.consistent is not None:
        tell(f"The judge says the same in both orders in {told.consistent:.0%} of the comparisons.")
    if told.position is not None:
        tell(f"Position: the answer shown first is preferred more often than the second by {told.position}.")
    if told.length is not None:
        tell(
            f"Length: {told.length} on the logistic scale for an answer that is all of the text; `same length` is the"
            " Elo with that and the position taken out."
        )
    if told.unreadable:
        tell(f"{told.unreadable} comparisons could not be read in one of their orders; they count nowhere.")
    for text in result.remarks:
        tell(f"{text[:1].upper()}{text[1:]}.")
    tell(f"Kept in {result.path}")


def _rank(one: Standing) -> str:
    if one.rank is None:
        return ""
    return str(one.rank[0]) if one.rank[0] == one.rank[1] else f"{one.rank[0]}-{one.rank[1]}"


def _controlled(one: Standing) -> str:
    return "" if one.controlled is None else f"{elo(one.controlled):.0f}"

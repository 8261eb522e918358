"""`benchbench compare`: two or more models on the docs they share. Reads stored items only."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import cell, figure_table, number, p_value, print_json, print_table, say, stdout, tell
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, Output, Weights
from benchbench.cli.progress import busy
from benchbench.core.errors import ArgumentError
from benchbench.core.format import clean_lines, decimals, several
from benchbench.core.format import number as page_number
from benchbench.core.json_record import finite_json

if TYPE_CHECKING:
    from rich.table import Table

    from benchbench.leaderboard.comparison import Comparison, DuelRow
    from benchbench.leaderboard.deltas import Deltas

app = VerbApp()
WIDE = 110
"""Columns of a terminal from which a line holds the task, its docs and all figures."""


@app.command()
def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="A B [C...]", help="Run folders, run ids, model names, or model@step.")
    ],
    results: Output = Path("results"),
    metric: Annotated[
        list[str] | None,
        typer.Option(help="Metrics, separated by commas, or `all`; may be repeated. Default: each task's first."),
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="Margin of equivalence in the metric's own unit. Default: half a percent of its range."),
    ] = None,
    weights: Weights = "benchmarks",
    form: Annotated[
        str | None,
        typer.Option(
            "--deltas", help="Percentage points per benchmark instead, as papers print them: table, markdown or latex."
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="With --deltas: what A B C... together are compared with; repeated, the mean of several."),
    ] = None,
    tasks: Annotated[
        str | None, typer.Option(help="With --deltas: only these tasks, groups or suites, separated by commas.")
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Compare models doc by doc: difference, interval, p, flips, verdict.

    Each later model is judged against each earlier one: B against A. Only docs that both answered, under the same
    prompt, shots and scoring, are compared; anything else is refused with the reason.
    """
    from benchbench.cli.compare_deltas import deltas_json, show_deltas
    from benchbench.leaderboard.comparison import CompareOptions, compare_models
    from benchbench.leaderboard.duels import flat, frame
    from benchbench.store.find import find_models
    from benchbench.store.spreadsheet import to_csv

    if as_json and as_csv:
        raise ArgumentError("--json and --csv are two forms of one output; give one of them.")
    if form is not None or against or tasks is not None:
        if as_csv:
            raise ArgumentError("--deltas has no CSV; --json has the same figures.")
        made = _deltas(models, results, form or "table", against or [], tasks)
        if as_json:
            print_json(deltas_json(made))
        else:
            show_deltas(made, form or "table")
        return
    with busy("comparing"):
        options = CompareOptions(tuple(metric) if metric else None, delta, weights)
        found = compare_models(find_models(models, results), options)
    if as_json:
        refused = [{"a": r.a, "b": r.b, "task": r.task, "metric": r.metric, "reason": r.reason} for r in found.refused]
        value = {"models": found.models, "rows": [flat(row) for row in found.rows], "refused": refused}
        print_json(finite_json(value))
    elif as_csv:
        typer.echo(clean_lines(to_csv(frame(found))), nl=False)
    else:
        show(found)
    if not as_json:
        for refusal in found.refused:
            where = refusal.task if refusal.metric is None else f"{refusal.task} {refusal.metric}"
            say(f"Not compared: {refusal.a} and {refusal.b} on {where}: {refusal.reason}")


def _deltas(models: list[str], results: Path, form: str, against: list[str], tasks: str | None) -> list[Deltas]:
    """Each later model against the first one; or all together against those of --against."""
    from benchbench.cli.compare_deltas import check_form
    from benchbench.leaderboard.deltas import Side, deltas
    from benchbench.store.find import find_models
    from benchbench.tasks.index import TaskIndex

    check_form(form)
    if not against and len(models) < 2:
        raise ArgumentError("deltas need two models: `benchbench compare A B --deltas table`, or B --against A.")
    with busy("comparing"):
        only = None if tasks is None else frozenset(TaskIndex().names(tasks))
        found = find_models([*against, *models], results)
        if against:
            count = len(against)
            sides = [Side(" + ".join(one.name for one in some), tuple(some)) for some in (found[:count], found[count:])]
        else:
            sides = [Side(one.name, (one,)) for one in found]
        return [deltas(sides[0], side, only) for side in sides[1:]]


def show(found: Comparison) -> None:
    """A table per pair of models, and what to know with it, on stdout."""
    console = stdout()
    for a, b in dict.fromkeys((row.a, row.b) for row in found.rows):
        rows = found.pair(a, b)
        tell(f"B = {b}  against  A = {a}", "bold")
        if console.width >= WIDE:
            print_table(_table(rows))
        else:
            for line, style in _lines(rows):
                tell(line, style)
    for line in remarks(found):
        console.print(cell(line))


FIGURES = ("A", "B", "B − A", "95%", "p", "lost/won", "least", "verdict")


def _table(rows: tuple[DuelRow, ...]) -> Table:
    """A line per task and metric."""
    table = figure_table("task", "docs", *FIGURES, left=("verdict",))
    for row in rows:
        table.add_row(cell(_name(row), "bold" if row.is_group else ""), *map(cell, [_docs(row), *_cells(row)]))
    return table


def _lines(rows: tuple[DuelRow, ...]) -> list[tuple[str, str]]:
    """The same for narrow terminals: each task and metric above its figures; lines and their styles."""
    figures = [FIGURES, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*figures, strict=True)]
    lines = ["  " + " ".join(text.rjust(w) for text, w in zip(line, widths, strict=True)) for line in figures]
    found = [(lines[0], "bold")]
    for row, line in zip(rows, lines[1:], strict=True):
        n, clusters = row.duel.n, row.duel.n_clusters
        docs = f"{n:,} docs" if clusters is None else f"{n:,} docs in {clusters:,} clusters"
        found += [(f"{_name(row)}  ({docs})", "bold" if row.is_group else ""), (line, "")]
    return found


def _name(row: DuelRow) -> str:
    return f"{row.task} {_metric(row)}".rstrip()


def _metric(row: DuelRow) -> str:
    from benchbench.leaderboard.comparison import ALL_TASKS

    return ("" if row.task == ALL_TASKS else row.metric) + ("" if row.duel.higher_is_better else " ↓")


def _docs(row: DuelRow) -> str:
    return f"{row.duel.n:,}" if row.duel.n_clusters is None else f"{row.duel.n:,} in {row.duel.n_clusters:,}"


def _cells(row: DuelRow) -> list[str]:
    found, interval = row.duel, row.duel.interval
    scores = [math.exp(s) if row.is_log else s for s in (found.score_a, found.score_b)]
    digits = max(2, decimals(scores))
    if row.is_log:
        difference = f"×{math.exp(found.difference.value):.3f}"
        spread = "" if interval is None else f"[{math.exp(interval.low):.3f}, {math.exp(interval.high):.3f}]"
        least = "" if found.detectable is None else f"×{math.exp(found.detectable):.3f}"
    else:
        difference = page_number(found.difference.value, digits, sign=True)
        ends = [] if interval is None else [page_number(end, digits - 1, sign=True) for end in interval]
        spread = f"[{', '.join(ends)}]" if ends else ""
        least = "" if found.detectable is None else f"{found.detectable:.{digits}f}"
    if row.outcome in ("better", "worse"):
        least = ""
    flips = "" if found.losses is None else f"{found.losses}/{found.wins}"
    return [*map(number, scores), difference, spread, p_value(row.p_adjusted), flips, least, row.outcome]


def remarks(found: Comparison) -> list[str]:
    """What a reader must know: margins, docs left out, how many tests, and how the means were made."""
    from benchbench.leaderboard.comparison import ALL_TASKS

    lines = (
        ["lost/won: docs on which B does worse / better than A."]
        if any(r.duel.wins is not None for r in found.rows)
        else []
    )
    if any(not row.duel.higher_is_better for row in found.rows):
        lines.append("↓: lower is better; the verdict says so of B.")
    if any(row.duel.n_clusters is not None for row in found.rows):
        lines.append("docs in clusters: docs of one passage or source count together.")
    equivalent = [row for row in found.rows if row.outcome == "equivalent"]
    if equivalent:
        margins = dict.fromkeys(f"{row.duel.delta:.4g}" for row in equivalent)
        lines.append(f"equivalent: the 90 % interval lies within ±{' or ±'.join(margins)}.")
    if any(row.outcome == "undecided" for row in found.rows):
        lines.append("undecided: neither a difference nor equivalence is shown.")
        lines.append("least: the smallest true difference that these docs show with 80 % power.")
    if found.num_pairs > 1:
        lines.append(f"p is adjusted for the {found.num_pairs} pairs of models on a task (Holm).")
    lines += _left_out(found)
    single = [row for row in found.rows if not row.is_group and row.q is not None]
    if len(single) > 1:
        raw = sum(row.p_adjusted is not None and row.p_adjusted < 0.05 for row in single)
        kept = sum(row.q is not None and row.q < 0.05 for row in single)
        lines.append(f"{raw} of {len(single)} duels are below p .05; {kept} with Benjamini–Hochberg over all of them.")
    noted = [row for row in found.rows if row.note is not None]
    lines += dict.fromkeys(
        f"{row.task}: {row.note}." if row.task == ALL_TASKS else f"{row.task} {row.metric}: {row.note}."
        for row in noted
    )
    return lines


def _left_out(found: Comparison) -> list[str]:
    """Docs without a score on one side, and what they could hide; a task is named once."""
    from benchbench.stats.sentence import failed

    lines = dict[str, str]()
    for row in found.rows:
        name = f"{row.task}, {row.b} against {row.a}" if found.num_pairs > 1 else row.task
        if row.dropped and not row.is_group and name not in lines:
            share = not row.is_log and row.duel.scale == 1
            docs = several(row.dropped, "doc")
            lines[name] = (
                f"{name}: left out: {docs} without a score on one side; the scores are of the others."
                if row.reach is None
                else f"{name}: {failed(row.reach, 'on one side', 'B − A', share=share)}"
            )
    return list(lines.values())

"""What people see when a command is done: tables and remarks. Data is shown as text, never as markup."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchbench.cli.main import INTERRUPTED
from benchbench.core.format import clean, clean_json, clean_lines, decimals, probability, true_minus
from benchbench.core.record import Row, RunRecord


def cell(value: object, style: str = "") -> Text:
    """`value` as a table cell: cleaned, and never read as markup. None is empty."""
    return Text("" if value is None else clean(value), style=style)


def stderr() -> Console:
    """The console for progress and notes."""
    return Console(stderr=True, highlight=False)


UNFOLDED = 100_000
"""Columns of an output that is no terminal: no line of a table comes to its end."""


def stdout() -> Console:
    """The console for tables. Off a terminal a row is one line, however long; COLUMNS gives another width."""
    console = Console(highlight=False)
    is_asked = os.environ.get("COLUMNS", "").isdigit()
    return console if console.is_terminal or is_asked else Console(highlight=False, width=UNFOLDED)


def print_table(table: Table) -> None:
    """A table on stdout; off a terminal without blanks at the ends of its lines."""
    console = stdout()
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as drawn:
        console.print(table)
    typer.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))


def say(text: str, style: str = "") -> None:
    """A line on stderr."""
    stderr().print(cell(text, style), soft_wrap=True)


def tell(text: str, style: str = "") -> None:
    """A line on stdout."""
    stdout().print(cell(text, style), soft_wrap=True)


def tell_lines(text: str) -> None:
    """Lines on stdout, as long as they are."""
    typer.echo(clean_lines(text))


def text_table(*names: str, right: Sequence[str] = (), gap: int = 2) -> Table:
    """A table whose cells may all break over lines; figures in the columns of `right`."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def figure_table(first: str, *names: str, fold: Sequence[str] = (), left: Sequence[str] = ()) -> Table:
    """A table of figures that are kept whole; the first column and those of `fold` make room for them."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold", ratio=1)
    for name in names:
        if name in fold:
            table.add_column(name, overflow="fold")
        else:
            table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


@contextmanager
def stoppable(more: str = "") -> Iterator[None]:
    """Ctrl-C ends the block with a sentence and its exit code: the same command goes on."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"Stopped. The same command goes on from here{more}.")
        raise typer.Exit(INTERRUPTED) from None


def results_table(record: RunRecord, *, every_row: bool = False) -> Table:
    """The rows of a record. Members of a group show their first metric only, unless `every_row`."""
    shown = list(_shown(record, every_row=every_row))
    clustered = ("clusters",) if any(row.n_clusters is not None for row in shown) else ()
    table = figure_table("task", "metric", "value", "95%", "n", *clustered, "shots", "tokens", fold=("metric",))
    last = ""
    for row in shown:
        first = row.task != last
        last = row.task
        table.add_row(
            cell(last if first else "", "bold" if row.is_group else ""),
            cell(row.metric),
            cell(number(row.value)),
            cell(interval(row.value, row.ci_low, row.ci_high)),
            cell(row.n),
            *(cell(row.n_clusters) for _ in clustered),
            cell(row.num_fewshot),
            cell(sharing(record, last) if first else ""),
        )
    return table


def _shown(record: RunRecord, *, every_row: bool) -> Iterator[Row]:
    """Groups first, each followed by its members, then the other tasks."""
    members = {task for group in record.groups for task in group.tasks}
    shown: set[str] = set()
    for group in record.groups:
        yield from (row for row in record.rows if row.is_group and row.task == group.name)
        for task in group.tasks:
            if task not in shown:
                shown.add(task)
                own = record.rows_of(task)
                yield from own if every_row else own[:1]
    yield from (row for row in record.rows if not row.is_group and row.task not in members)


def number(value: float | None) -> str:
    """Four decimals below 1, fewer above; `-` for a missing value."""
    return "-" if value is None else f"{value:.{decimals([value])}f}"


def signed(value: float) -> str:
    """A difference, with 4 decimals."""
    return true_minus(f"{value:+.4f}")


def signed_ends(ends: tuple[float, float]) -> str:
    """The interval of a difference: `[−0.0120, +0.0310]`."""
    return f"[{', '.join(map(signed, ends))}]"


def p_value(p: float | None) -> str:
    """As sentences write it; `-` where there is none."""
    return "-" if p is None else probability(p)


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """`±half` where the interval is symmetric, else `[low, high]`; empty if there is none."""
    if value is None or low is None or high is None:
        return ""
    places = decimals([value])
    if abs((high - value) - (value - low)) <= 0.5 * 10.0**-places:
        return f"±{(high - low) / 2:.{places}f}"
    return f"[{low:.{places}f}, {high:.{places}f}]"


def sharing(record: RunRecord, name: str) -> str:
    """Tokens needed over tokens computed, e.g. `8.1x`, of a task or a group; empty if nothing was computed."""
    groups = {group.name: group.tasks for group in record.groups}
    work = record.provenance.tasks
    found = [work[task] for task in groups.get(name, (name,)) if task in work]
    computed = sum(task.get("tokens_computed", 0) for task in found)
    return f"{sum(task['tokens_needed'] for task in found) / computed:.1f}x" if computed else ""


def remarks(record: RunRecord) -> Iterable[str]:
    """One line per outcome that is not a plain answer, over all tasks, and the backend's notes."""
    counts = [task.counts for task in record.tasks.values()]
    words = {
        "failed": "failed: no score, and not counted as wrong",
        "unanswered": "unanswered: no answer could be found in the text",
        "truncated": "truncated: the text was cut off at the token limit",
        "ties": "tied: of equally likely choices one is drawn; `ties: first` and `lm_eval:` tasks take the first",
        "shortened": "with a prompt that did not fit: shots or text were left out",
    }
    total = {name: sum(getattr(count, name) or 0 for count in counts) for name in ("n", *words)}
    outcomes = [f"{total[name]} of {total['n']} docs {text}." for name, text in words.items() if total[name]]
    told = [*_guesses(record), *_warnings(record), *_chat(record), *_served(record), *_sharing(record)]
    return [*outcomes, *told, *record.provenance.notes]


def _guesses(record: RunRecord) -> list[str]:
    """Tasks whose first value is not above what a guesser gets, as far as its interval tells."""
    found = []
    for task, about in record.tasks.items():
        row = next(iter(record.rows_of(task)), None)
        chance = about.scoring.chance if about.output_type == "multiple_choice" else None
        if row is not None and row.ci_low is not None and chance is not None and row.ci_low <= chance:
            found.append(f"{task} {row.metric} ({chance:.4g})")
    if not found:
        return []
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [f"Not shown to be above guessing: {', '.join(found[:3])}{more}; in brackets what a guesser gets."]


def _sharing(record: RunRecord) -> list[str]:
    """What the column `tokens` means, where it is filled."""
    if not any(sharing(record, task) for task in record.tasks):
        return []
    return ["tokens: those that the requests hold, over those that were computed, self-checks included."]


def _warnings(record: RunRecord) -> list[str]:
    """What to know of the values that are shown and their intervals, each once, with the rows that it is about."""
    found: dict[str, list[str]] = {}
    for row in _shown(record, every_row=False):
        for part in (row.note or "").split("; "):
            if part and "|" not in part:  # a signature of sacrebleu is no warning
                found.setdefault(part, []).append(f"{row.task} {row.metric}")
    return [
        f"{', '.join(rows[:3])}{f' and {len(rows) - 3} more' if len(rows) > 3 else ''}: {note}."
        for note, rows in found.items()
    ]


def _chat(record: RunRecord) -> list[str]:
    """How conversations were made of the prompts, where they were."""
    chat = record.chat
    if chat is None:
        return []
    of = "the server's" if chat.template_sha256 == "server" else f"the model's ({chat.template_sha256[:8]})"
    turns = "" if chat.multiturn else ", shots in the user's turn"
    return [f"Chat template: {of}{', a system prompt' if chat.system_sha256 else ''}{turns}."]


def _served(record: RunRecord) -> list[str]:
    """What a server counted and, where prices were given, what it cost."""
    total = Counter[str]()
    for task in record.provenance.tasks.values():
        total.update({name: task.get(name, 0) for name in ("requests", "prompt_tokens", "completion_tokens", "cost")})
    if not total["requests"]:
        return []
    cost = f", at a cost of {total['cost']:.4g}" if total["cost"] else ""
    tokens = f"{total['prompt_tokens']:,} prompt and {total['completion_tokens']:,} completion tokens"
    return [f"The server counted {tokens} in {total['requests']:,} requests, its first checks included{cost}."]


def print_json(value: object, *, ensure_ascii: bool = False) -> None:
    """A line of JSON on stdout, with characters that a terminal obeys as escapes."""
    print_json_text(json.dumps(value, ensure_ascii=ensure_ascii, allow_nan=False))


def print_json_text(text: str) -> None:
    """JSON that is written already, on stdout in the same way."""
    sys.stdout.write(clean_json(text) + "\n")

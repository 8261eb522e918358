"""`benchbench results prompts`: one model under several prompts of a task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.cli.console import cell, interval, number, print_json, stdout

if TYPE_CHECKING:
    from benchbench.leaderboard.prompts import PromptTable

WHAT_IT_IS = (
    "best, optimistic: chosen by the docs that it is scored on, so too high; it is not ranked and not comparable with "
    "the score of one prompt.",
    "best, chosen on other docs: half of the docs choose the prompt, the other half score it, in both directions; what "
    "choosing a prompt is worth.",
    "mean: its interval holds for other docs and other prompts of the kind.",
)


def show_prompts(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, model@step, or run folder.")],
    task: Annotated[str | None, typer.Option(help="This task only.")] = None,
    metric: Annotated[str | None, typer.Option(help="This metric. Default: each task's first.")] = None,
    output: Annotated[Path, typer.Option("--output", help="Results folder.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show tasks that were run under several prompts: every prompt, their mean, the best of them as what it is."""
    from benchbench.leaderboard.prompts import lines, prompt_tables
    from benchbench.store.model_lookup import find_models

    [found] = find_models([model], output)
    tables = prompt_tables(found, task=task, metric=metric)
    if as_json:
        for table in tables:
            said = {"model": found.name, "task": table.task, "metric": table.metric, "num_fewshot": table.num_fewshot}
            print_json(json.dumps({**said, "rows": list(lines(table))}, ensure_ascii=False, allow_nan=False))
        return
    for table in tables:
        _show(found.name, table, list(lines(table)))
    if any(table.summary is not None for table in tables):
        for text in WHAT_IT_IS:
            stdout().print(cell(text))


def _show(model: str, table: PromptTable, rows: list[Mapping[str, Any]]) -> None:
    from rich.table import Table

    shots = "" if table.num_fewshot is None else f", {table.num_fewshot} shots"
    stdout().print(cell(f"{model}  {table.task} {table.metric}{shots}", "bold"), soft_wrap=True)
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    shown.add_column("prompt", overflow="fold", ratio=1)
    for name in ("value", "95%", "n"):
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        shown.add_row(
            *map(
                cell,
                (_name(row), number(row["value"]), interval(row["value"], row["ci_low"], row["ci_high"]), row["n"]),
            )
        )
    stdout().print(shown)
    if table.summary is None:
        stdout().print(cell(f"{table.metric} is no mean over docs: no summary over prompts is given."))


def _name(row: Mapping[str, Any]) -> str:
    count = row.get("prompts")
    match row["what"]:
        case "prompt":
            return str(row["prompt"])
        case "mean":
            return f"mean of {count} prompts"
        case "best, optimistic":
            return f"best of {count}, optimistic ({row['prompt']})"
    return f"best of {count}, chosen on other docs"

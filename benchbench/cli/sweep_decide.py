"""`benchbench sweep decide`: ask no more docs than it takes to say which of two checkpoints is better."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import (
    cell,
    figure_table,
    print_json,
    print_table,
    say,
    signed,
    signed_ends,
    stdout,
    stoppable,
    tell,
)
from benchbench.cli.options import AsJson, with_settings
from benchbench.cli.progress import watching
from benchbench.core.settings import Part, changed
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from benchbench.runner.decide import TaskDecision


@with_settings
def decide(
    settings: Annotated[RunSettings, Part(without=("limit", "random_docs", "fresh", "retry_failed", "name"))],
    against: Annotated[str, typer.Option(help="The model or checkpoint to compare with, such as the one before.")],
    within: Annotated[
        float | None, typer.Option(help="Also ask whether they differ by less than that, such as 0.01.")
    ] = None,
    error: Annotated[float, typer.Option(help="Chance of a false answer, on each task.")] = 0.05,
    first: Annotated[int, typer.Option(help="Docs of the first block; in all a quarter more with each block.")] = 50,
    complete: Annotated[bool, typer.Option("--complete", help="Ask the rest of the docs, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask docs in random order until it is known which of two checkpoints is better, and no more.

    However often one looks, a false answer has at most the chance of --error. Rows made from fewer docs say so;
    --complete asks the rest and takes over what was asked.
    """
    from benchbench.cli.run import without_prefix
    from benchbench.runner.decide import DecideOptions, decide_tasks

    settings = replace(settings, model=without_prefix(settings.model))
    other = replace(settings, model=without_prefix(changed(settings.model, model=against)))
    options = DecideOptions(within, error, first, complete)
    with stoppable(), watching() as on_event:
        found = decide_tasks(other, settings, options, on_event=on_event)
    if as_json:
        print_json([_facts(one) for one in found])
        return
    tell(f"{settings.model.model}  against  {against}", "bold")
    _show(found)
    for one in found:
        if one.reason is not None:
            say(f"{one.task}: not decided: {one.reason}.")


def _show(found: list[TaskDecision]) -> None:
    table = figure_table("task", "metric", "docs", "of", "difference", "interval", "answer", left=("metric", "answer"))
    for one in found:
        if one.found is None:
            table.add_row(*map(cell, (one.task, one.metric, "", one.total, "", "", "not decided")))
            continue
        shown, ends = signed(one.found.difference), signed_ends(one.found.interval)
        table.add_row(*map(cell, (one.task, one.metric, one.found.docs, one.total, shown, ends, one.found.answer)))
    print_table(table)
    asked = sum(one.found.docs for one in found if one.found is not None)
    total = sum(one.total for one in found if one.found is not None)
    if asked < total:
        stdout().print(cell(f"{asked:,} of {total:,} docs were asked of each; --complete asks the rest."))


def _facts(one: TaskDecision) -> dict[str, object]:
    found = one.found
    shared = {"task": one.task, "metric": one.metric, "total": one.total, "reason": one.reason}
    runs = [str(path) for path in one.runs]
    if found is None:
        return {**shared, "answer": None, "docs": None, "runs": runs}
    low, high = found.interval
    known = {"answer": found.answer, "docs": found.docs, "difference": found.difference, "is_final": found.is_final}
    return {**shared, **known, "low": low, "high": high, "runs": runs}

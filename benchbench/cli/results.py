"""`benchbench results`: what is on disk, as lists, tables and files."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from benchbench.cli.console import (
    cell,
    figure_table,
    interval,
    number,
    print_json,
    print_table,
    stdout,
    tell,
    tell_lines,
    text_table,
)
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, Output
from benchbench.cli.results_check import check
from benchbench.cli.results_exchange import export, import_results
from benchbench.cli.run import show as show_record
from benchbench.cli.run import to_json
from benchbench.core.errors import ArgumentError, StoreError, did_you_mean
from benchbench.core.json_record import finite
from benchbench.core.record import PlanRecord, RunRecord
from benchbench.store.find import all_runs, find_run
from benchbench.store.folder import RunFolder
from benchbench.store.names import same_weights, told_apart, twins
from benchbench.store.questions import questions

if TYPE_CHECKING:
    from benchbench.core.types import Item, Json
    from benchbench.leaderboard.prompts import PromptTable

app = VerbApp(no_args_is_help=True, help="List, show, check, import and export results.")
app.command("import")(import_results)
app.command("export")(export)
app.command("check")(check)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A path, a run id or its beginning, or `latest`.")]


@app.command()
def ls(
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="Results folder, as --results.")] = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """List the runs in the results folder."""
    facts = sorted(_all_facts(all_runs(output if folder is None else folder)), key=_place)
    if as_json:
        for fact in facts:
            print_json(fact)
        return
    noted = any(fact["note"] for fact in facts)
    names = ("run", "model", "tasks", "docs", "state", "date", *(("note",) if noted else ()))
    table = text_table(*names, gap=1)
    for fact in facts:
        date = str(fact["date"]).replace("T", " ")
        shown = [fact["run_id"], fact["model"], _short(fact["tasks"]), fact["docs"], fact["state"], date]
        table.add_row(*map(cell, [*shown, *([fact["note"]] if noted else [])]))
    print_table(table)


def _place(fact: Mapping[str, Any]) -> tuple[str, float, str]:
    """Trainings by their steps, not by how a step is spelled."""
    step = fact.get("step")
    return str(fact.get("series") or fact["model"]), -1 if step is None else step, str(fact["date"])


def _short(listed: Json) -> str:
    tasks = [str(task) for task in listed] if isinstance(listed, list) else []
    return ", ".join(tasks) if len(tasks) <= 2 else f"{tasks[0]} and {len(tasks) - 1} more"


def _all_facts(runs: Sequence[RunFolder]) -> list[dict[str, Json]]:
    """What `ls` tells of each run: models that share a name told apart, names that share their weights noted."""
    found = {run.path: record for run in runs if (record := _record(run)) is not None}
    named = told_apart(list(found.values()))
    known = dict(zip(found, zip(named, map(same_weights, twins(named)), strict=True), strict=True))
    return [_facts(run, *known[run.path]) if run.path in known else _broken(run) for run in runs]


def _record(run: RunFolder) -> RunRecord | PlanRecord | None:
    """The run's record, or its plan; None, with a warning, for a broken folder."""
    try:
        return run.record() if run.finished else run.plan()
    except StoreError as error:
        warnings.warn(f"{run.path} is broken: {error}", stacklevel=2)
        return None


def _facts(run: RunFolder, record: RunRecord | PlanRecord, note: str) -> dict[str, Json]:
    """What `ls` tells of a run."""
    is_finished = isinstance(record, RunRecord)
    return {
        "run": str(run.path),
        "run_id": run.path.name,
        **{name: getattr(record, name) for name in ("model", "series", "step", "tokens_seen")},
        "tasks": list(record.tasks),
        "docs": record.work.docs if isinstance(record, RunRecord) else record.num_docs,
        "state": "finished" if is_finished else "not finished",
        "date": record.date[:16],
        "note": note,
    }


def _broken(run: RunFolder) -> dict[str, Json]:
    shown = {"run": str(run.path), "run_id": run.path.name, "model": run.path.parent.name}
    return {**shown, "tasks": [], "docs": None, "state": "broken", "date": "", "note": ""}


@app.command()
def show(run: RunName = "latest", output: Output = Path("results"), as_json: AsJson = False) -> None:
    """Show every row of a finished run."""
    found = find_run(run, output)
    record = found.record()
    if as_json:
        print_json(to_json(found.path, record, already_complete=True))
        return
    show_record(record, found.path, every_row=True)
    for signature in dict.fromkeys(row.signature for row in record.rows):
        tell(signature, "dim")


@app.command()
def items(
    run: RunName = "latest",
    task: Annotated[str | None, typer.Option(help="Which task; needed if the run has several.")] = None,
    doc: Annotated[int | None, typer.Option(help="This doc alone, with all that it asks.")] = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only docs without full marks on the first metric.")] = False,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show the scored docs of one task with what they ask, also of a run that is still going."""
    found = find_run(run, output)
    name = _one_task(found, task)
    is_choice = found.plan().tasks[name].output_type == "multiple_choice"
    asked, chosen = _questions(found, name), found.items(name)
    if doc is not None:
        chosen = [item for item in chosen if item.doc_id == doc]
        if not chosen:
            raise ArgumentError(f"--doc {doc}: the run has no such doc of {name}; the numbers of docs begin with 0.")
    if wrong:
        chosen = [item for item in chosen if _is_wrong(item)]
    if as_json:
        for item in chosen:
            print_json(item_line(item, asked.get(item.doc_id), multiple_choice=is_choice))
    elif doc is not None:
        for item in chosen:
            tell_lines(item_text(item, asked.get(item.doc_id), multiple_choice=is_choice))
    else:
        _print_items(chosen, asked, multiple_choice=is_choice)


def _one_task(run: RunFolder, task: str | None) -> str:
    known = list(run.plan().tasks)
    if task is None:
        if len(known) == 1:
            return str(known[0])
        raise ArgumentError(f"the run has {len(known)} tasks; say which with --task: {', '.join(known[:8])}.")
    if task not in known:
        raise ArgumentError(f"the run has no task {task!r}; it has {', '.join(known[:8])}.{did_you_mean(task, known)}")
    return task


def _questions(run: RunFolder, task: str) -> dict[int, str]:
    """What the docs ask; nothing, with a warning, where that is damaged."""
    try:
        return questions(run, task)
    except StoreError as error:
        warnings.warn(str(error), stacklevel=2)
        return {}


def _is_wrong(item: Item) -> bool:
    """Its first score is not 1: it is wrong, partly right, or has none."""
    return next(iter(item.scores.values()), None) != 1.0


def item_text(item: Item, question: str | None, *, multiple_choice: bool) -> str:
    """One doc in full: what it asks, choices or right texts, the answer, scores."""
    lines = [f"{item.task} doc {item.doc_id}: {item.outcome}", "", question or "(what it asks is not on disk)", ""]
    for number_, text in enumerate(item.targets):
        right = not multiple_choice or str(number_) == item.gold
        taken = multiple_choice and str(number_) == item.prediction
        likely = f"  {item.loglikelihoods[number_]:.4f}" if number_ < len(item.loglikelihoods) else ""
        lines.append(f"  {'right' if right else '':5} {'taken' if taken else '':5} {number_}. {text}{likely}")
    if not multiple_choice:
        lines += [f"  answer {text!r}" for text in item.texts] or [f"  log-likelihoods {item.loglikelihoods}"]
    lines += [f"  failure: {item.failure}"] if item.failure is not None else []
    return "\n".join([*lines, "", "  ".join(f"{name} {number(finite(value))}" for name, value in item.scores.items())])


def item_line(item: Item, question: str | None = None, *, multiple_choice: bool) -> dict[str, Json]:
    """One doc as `results items --json` prints it: gold and prediction are numbers for multiple choice."""
    shown: dict[str, Json] = {"task": item.task, "doc_id": item.doc_id, "outcome": item.outcome, "question": question}
    if multiple_choice:
        shown |= {"gold": _integer(item.gold), "prediction": _integer(item.prediction)}
        shown["loglikelihoods"] = [finite(value) for value in item.loglikelihoods[: len(item.targets)]]
    else:
        shown |= {"gold": item.gold, "prediction": item.prediction}
        shown |= _answer(item)
    if item.failure is not None:
        shown["failure"] = item.failure
    return {**shown, **{name: finite(value) for name, value in item.scores.items()}}


def _answer(item: Item) -> dict[str, Json]:
    if item.loglikelihoods:
        return {"loglikelihoods": [finite(value) for value in item.loglikelihoods]}
    answer: dict[str, Json] = {"text": item.texts[0] if item.texts else None}
    return {**answer, "texts": list(item.texts)} if len(item.texts) > 1 else answer


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)


QUESTION = 60
"""Characters of a question in a list of docs."""
WIDE = 120
"""Columns of a terminal from which there is room for it."""


def _print_items(items: Sequence[Item], questions: Mapping[int, str], *, multiple_choice: bool) -> None:
    fixed = (
        "task",
        "doc_id",
        "outcome",
        "question",
        "gold",
        "prediction",
        "loglikelihoods",
        "text",
        "texts",
        "failure",
    )
    scores = list(dict.fromkeys(name for item in items for name in item.scores if name not in fixed))[:4]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    has_room = bool(questions) and stdout().width >= WIDE
    asked = ("question",) if has_room else ()
    for name in ("doc", *asked, "gold", "prediction", "outcome", *scores):
        table.add_column(cell(name), overflow="ellipsis", no_wrap=True)
    for item in items:
        answers = (_integer(text) if multiple_choice else text for text in (item.gold, item.prediction))
        question = [_beginning(questions.get(item.doc_id, ""))] if has_room else []
        shown = [item.doc_id, *question, *answers, item.outcome]
        table.add_row(*map(cell, shown), *(cell(number(finite(item.scores.get(name)))) for name in scores))
    print_table(table)


def _beginning(text: str) -> str:
    """The text on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= QUESTION else f"{line[: QUESTION - 1]}…"


WHAT_IT_IS = (
    "best, optimistic: chosen by the docs that it is scored on, so too high; it is not ranked and not comparable with "
    "the score of one prompt.",
    "best, chosen on other docs: half of the docs choose the prompt, the other half score it, in both directions; what "
    "choosing a prompt is worth.",
    "mean: its interval holds for other docs and other prompts of the kind.",
)


@app.command("prompts")
def show_prompts(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model, model@step, or run folder.")],
    task: Annotated[str | None, typer.Option(help="This task only.")] = None,
    metric: Annotated[str | None, typer.Option(help="This metric. Default: each task's first.")] = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show tasks that were run under several prompts: every prompt, their mean, the best of them as what it is."""
    from benchbench.leaderboard.prompts import lines, prompt_tables
    from benchbench.store.find import find_models

    [found] = find_models([model], output)
    tables = prompt_tables(found, task=task, metric=metric)
    if as_json:
        for table in tables:
            about = {"model": found.name, "task": table.task, "metric": table.metric, "num_fewshot": table.num_fewshot}
            print_json({**about, "rows": list(lines(table))})
        return
    for table in tables:
        _show_prompt_table(found.name, table, list(lines(table)))
    if any(table.summary is not None for table in tables):
        for text in WHAT_IT_IS:
            stdout().print(cell(text))


def _show_prompt_table(model: str, table: PromptTable, rows: Sequence[Mapping[str, Any]]) -> None:
    shots = "" if table.num_fewshot is None else f", {table.num_fewshot} shots"
    tell(f"{model}  {table.task} {table.metric}{shots}", "bold")
    shown = figure_table("prompt", "value", "95%", "n")
    for row in rows:
        half = interval(row["value"], row["ci_low"], row["ci_high"])
        shown.add_row(*map(cell, (_prompt_label(row), number(row["value"]), half, row["n"])))
    print_table(shown)
    if table.summary is None:
        stdout().print(cell(f"{table.metric} is no mean over docs: no summary over prompts is given."))


def _prompt_label(row: Mapping[str, Any]) -> str:
    count = row.get("prompts")
    match row["what"]:
        case "prompt":
            return str(row["prompt"])
        case "mean":
            return f"mean of {count} prompts"
        case "best, optimistic":
            return f"best of {count}, optimistic ({row['prompt']})"
    return f"best of {count}, chosen on other docs"

"""`benchbench results`: what is on disk, as lists, tables and files."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from benchbench.cli.app import VerbApp
from benchbench.cli.console import cell, number, print_json, stderr, stdout
from benchbench.cli.results_import import import_results
from benchbench.cli.results_prompts import show_prompts
from benchbench.cli.run import show as show_record
from benchbench.cli.run import to_json
from benchbench.core.errors import ArgumentError, StoreError, did_you_mean
from benchbench.core.format import clean_lines
from benchbench.core.record import PlanRecord, RunRecord
from benchbench.store.find import all_runs, find_run
from benchbench.store.folder import RunFolder
from benchbench.store.models import same_weights, told_apart, twins

if TYPE_CHECKING:
    from benchbench.core.types import Item

app = VerbApp(no_args_is_help=True, help="List, show, import and export results.")
app.command("import")(import_results)
app.command("prompts")(show_prompts)

Root = Annotated[Path, typer.Option("--output", help="Results folder.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A path, a run id or its beginning, or `latest`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Format(StrEnum):
    """The values of --format."""

    csv = "csv"
    parquet = "parquet"
    lm_eval = "lm-eval"


@app.command()
def ls(
    folder: Annotated[Path | None, typer.Argument(metavar="[FOLDER]", help="Results folder, as --output.")] = None,
    output: Root = Path("results"),
    as_json: AsJson = False,
) -> None:
    """List the runs in the results folder."""
    facts = _all_facts(all_runs(output if folder is None else folder))
    if as_json:
        for fact in facts:
            print_json(json.dumps(fact, ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    noted = any(fact["note"] for fact in facts)
    for name in ("run", "model", "tasks", "docs", "state", "date", *(("note",) if noted else ())):
        table.add_column(name, overflow="fold")
    for fact in facts:
        shown = [fact["run_id"], fact["model"], _short(fact["tasks"]), fact["docs"], fact["state"], fact["date"]]
        table.add_row(*map(cell, [*shown, *([fact["note"]] if noted else [])]))
    stdout().print(table)


def _short(tasks: list[str]) -> str:
    return ", ".join(tasks) if len(tasks) <= 2 else f"{tasks[0]} and {len(tasks) - 1} more"


def _all_facts(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """What `ls` tells of each run: models that share a name told apart, names that share their weights noted."""
    found = {run.path: record for run in runs if (record := _record(run)) is not None}
    named = told_apart(list(found.values()))
    known = dict(zip(found, zip(named, map(same_weights, twins(named)), strict=True), strict=True))
    return [_facts(run, *known[run.path]) if run.path in known else _broken(run) for run in runs]


def _record(run: RunFolder) -> RunRecord | PlanRecord | None:
    """The run's record, or its plan; None for a broken folder."""
    try:
        return run.record() if run.finished else run.plan()
    except StoreError:
        return None


def _facts(run: RunFolder, record: RunRecord | PlanRecord, note: str) -> dict[str, Any]:
    """What `ls` tells of a run."""
    is_finished = isinstance(record, RunRecord)
    return {
        "run": str(run.path),
        "run_id": run.path.name,
        **{name: getattr(record, name) for name in ("model", "series", "step", "tokens_seen")},
        "tasks": list(record.tasks),
        "docs": record.work.docs if isinstance(record, RunRecord) else record.num_docs,
        "state": "finished" if is_finished else "not finished",
        "date": record.date[:10],
        "note": note,
    }


def _broken(run: RunFolder) -> dict[str, Any]:
    shown = {"run": str(run.path), "run_id": run.path.name, "model": run.path.parent.name}
    return {**shown, "tasks": [], "docs": None, "state": "broken", "date": "", "note": ""}


@app.command()
def show(run: RunName = "latest", output: Root = Path("results"), as_json: AsJson = False) -> None:
    """Show every row of a finished run."""
    found = find_run(run, output)
    record = found.record()
    if as_json:
        print_json(to_json(found.path, record, already_complete=True))
        return
    show_record(record, found.path, every_row=True)
    for signature in dict.fromkeys(row.signature for row in record.rows):
        stdout().print(cell(signature, "dim"), soft_wrap=True)


@app.command()
def items(
    run: RunName = "latest",
    task: Annotated[str | None, typer.Option(help="Which task; needed if the run has several.")] = None,
    output: Root = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Show the scored docs of one task, also of a run that is still going."""
    found = find_run(run, output)
    name = _one_task(found, task)
    is_choice = found.plan().tasks[name].output_type == "multiple_choice"
    lines = (item_line(item, multiple_choice=is_choice) for item in found.items(name))
    if as_json:
        for line in lines:
            print_json(json.dumps(line, ensure_ascii=False, allow_nan=False))
    else:
        _print_items(list(lines))


def _one_task(run: RunFolder, task: str | None) -> str:
    known = list(run.plan().tasks)
    if task is None:
        if len(known) == 1:
            return str(known[0])
        raise ArgumentError(f"the run has {len(known)} tasks; say which with --task: {', '.join(known[:8])}.")
    if task not in known:
        raise ArgumentError(f"the run has no task {task!r}; it has {', '.join(known[:8])}.{did_you_mean(task, known)}")
    return task


def item_line(item: Item, *, multiple_choice: bool) -> dict[str, Any]:
    """One doc as `results items --json` prints it: gold and prediction are numbers for multiple choice."""
    shown: dict[str, Any] = {"task": item.task, "doc_id": item.doc_id, "outcome": item.outcome}
    if multiple_choice:
        shown |= {"gold": _integer(item.gold), "prediction": _integer(item.prediction)}
        shown["loglikelihoods"] = [_finite(value) for value in item.loglikelihoods[: len(item.targets)]]
    else:
        shown |= {"gold": item.gold, "prediction": item.prediction}
        shown |= _answer(item)
    if item.failure is not None:
        shown["failure"] = item.failure
    return {**shown, **{name: _finite(value) for name, value in item.scores.items()}}


def _answer(item: Item) -> dict[str, Any]:
    if item.loglikelihoods:
        return {"loglikelihoods": [_finite(value) for value in item.loglikelihoods]}
    answer: dict[str, Any] = {"text": item.texts[0] if item.texts else None}
    return {**answer, "texts": list(item.texts)} if len(item.texts) > 1 else answer


def _integer(text: str | None) -> int | None:
    return None if text is None else int(text)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _print_items(lines: list[Mapping[str, Any]]) -> None:
    fixed = ("task", "doc_id", "outcome", "gold", "prediction", "loglikelihoods", "text", "texts", "failure")
    scores = list(dict.fromkeys(name for line in lines for name in line if name not in fixed))[:4]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for name in ("doc", "gold", "prediction", "outcome", *scores):
        table.add_column(cell(name), overflow="ellipsis", no_wrap=True)
    for line in lines:
        shown = [line["doc_id"], line["gold"], line["prediction"], line["outcome"]]
        table.add_row(*map(cell, shown), *(cell(number(line.get(name))) for name in scores))
    stdout().print(table)


@app.command()
def export(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run as in `show`; all runs if left out.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="csv, parquet or lm-eval.")] = Format.csv,
    to: Annotated[
        Path | None,
        typer.Option(help="File to write; without it, csv and lm-eval go to stdout. lm-eval: a folder, too."),
    ] = None,
    output: Root = Path("results"),
) -> None:
    """Write result rows as CSV or parquet, or runs in the layout of lm-eval's output.

    lm-eval into a folder: results JSON and samples JSONL of the run, or of all finished runs, in a folder per model.
    Into a .json file or to stdout: the results JSON of one run, the latest if none is named.
    """
    if form is Format.lm_eval and to is not None and to.suffix != ".json":
        _lm_eval_folder(run, output, to)
        return
    if form is Format.lm_eval:
        data = _lm_eval(run or "latest", output)
    else:
        data = _rows_file(output if run is None else find_run(run, output).path, form)
    if to is not None:
        from benchbench.store.files import write_whole

        write_whole(to, data)
        stderr().print(cell(f"Wrote {to}"), soft_wrap=True)
    elif form is Format.parquet:
        raise ArgumentError("parquet is not text: say where to write it with --to FILE.")
    elif form is Format.csv:
        typer.echo(clean_lines(data.decode("utf-8")), nl=False)
    else:
        print_json(data.decode("utf-8"))


def _lm_eval_folder(run: str | None, output: Path, to: Path) -> None:
    from benchbench.extensions.interchange.export import write_lm_eval
    from benchbench.store.files import make_folder

    chosen = [found for found in all_runs(output) if found.finished] if run is None else [find_run(run, output)]
    if not chosen:
        raise StoreError(f"there are no finished runs in {output}. Start with `benchbench run --model M`.")
    make_folder(to)
    results = samples = 0
    for found in chosen:
        try:
            written = write_lm_eval(found, to)
        except StoreError as error:
            if run is not None:
                raise
            stderr().print(cell(f"warning: passed over {found.path}: {error}"), soft_wrap=True)
            continue
        results, samples = results + 1, samples + len(written) - 1
    stderr().print(cell(f"Wrote {results} results files and {samples} samples files to {to}"), soft_wrap=True)


def _lm_eval(run: str, output: Path) -> bytes:
    from benchbench.extensions.interchange.export import to_lm_eval

    return json.dumps(to_lm_eval(find_run(run, output).record()), indent=2, ensure_ascii=False).encode("utf-8")


def _rows_file(path: Path, form: Format) -> bytes:
    from benchbench.store.frames import load_runs

    frame = load_runs(path)
    return bytes(frame.to_parquet(index=False)) if form is Format.parquet else frame.to_csv(index=False).encode("utf-8")

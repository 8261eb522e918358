"""`benchbench results import` and `export`: run folders from other harnesses' results and tables, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from benchbench.cli.console import cell, print_json_text, say, stderr, stdout
from benchbench.cli.options import Output, check_target, task_index
from benchbench.cli.progress import busy
from benchbench.core.errors import ArgumentError, DataError, StoreError
from benchbench.core.format import clean_lines
from benchbench.store.find import all_runs, find_run

Format = Literal["csv", "parquet", "lm-eval"]

SHOWN = 8


@busy("importing", bar=False)
def import_results(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    output: Output = Path("results"),
    column: Annotated[
        list[str] | None, typer.Option(help="Table's name of a field: model=Model, value=score; repeatable.")
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option("--set", help="What the source does not say: num_fewshot=0; repeatable.")
    ] = None,
    chance: Annotated[
        list[str] | None, typer.Option(help="Score of a guesser: winogrande=0.5, 'mmlu_*=0.25'; repeatable.")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Name every file and line that was passed over.")] = False,
) -> None:
    """Import results of lm-eval, lighteval, HELM and EuroEval, and tables (CSV, TSV, JSON lines).

    Of lm-eval and lighteval also the samples and details beside the results.

    A table has a row per model, task and metric, with the columns model, task, metric, value, and if it has them step,
    tokens_seen, stderr, n, num_fewshot, version, date. Of a folder, everything that fits is taken, the rest is named.
    """
    from benchbench.extensions.interchange import find_imports, parse_chance
    from benchbench.extensions.interchange.record import write_imported
    from benchbench.extensions.interchange.table import Mapped

    mapped = Mapped(_pairs("--column", column), _pairs("--set", default))
    shots = mapped.defaults.get("num_fewshot")
    if shots is not None and not shots.isdigit():
        raise ArgumentError(f"--set num_fewshot={shots}: a whole number was expected.")
    given = parse_chance(chance or ())
    written = items = known = 0
    unknown: set[str] = set()
    for path in paths:
        found = find_imports(path, mapped, _chance(given))
        _name((*found.passed_over, *found.ignored) if list_all else found.passed_over, every=list_all)
        unknown |= {name for run in found.runs for name, task in run.tasks.items() if task.lacks_chance}
        for run in found.runs:
            try:
                done = write_imported(run, output)
            except DataError as error:
                _name([f"{run.model.name}: {error}"])
                continue
            _name(done.problems, "samples", every=list_all)
            written, known = written + done.is_new, known + (not done.is_new)
            items += done.is_new and any(task.samples is not None for task in run.tasks.values())
    there = f" {known} were there already." if known else ""
    with_items = f", {items} of them with items" if items else ", without items: no doc-by-doc comparison"
    stdout().print(cell(f"Imported {written} runs into {output}{with_items if written else ''}.{there}"))
    _name_unknown(sorted(unknown))


def _pairs(option: str, given: Sequence[str] | None) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign or not value:
            raise ArgumentError(f"{option} {text!r}: NAME=VALUE was expected.")
        pairs[name] = value
    return pairs


def _chance(given: Callable[[str], float | None]) -> Callable[[str], float | None]:
    """As given, else as our task of that name says: what it states for choices, and 0 where nothing is chosen from."""
    index = task_index()

    def chance(task: str) -> float | None:
        known = given(task)
        if known is not None or task not in index.variants:
            return known
        ours = index.task(task).scoring
        return ours.chance if ours.output_type == "multiple_choice" else 0.0

    return chance


def _name_unknown(tasks: Sequence[str]) -> None:
    """Tasks that no mean can hold, and what to type."""
    if not tasks:
        return
    more = f" and {len(tasks) - SHOWN} more" if len(tasks) > SHOWN else ""
    say(
        f"The chance of a guesser is not known for {', '.join(tasks[:SHOWN])}{more}: they are in no mean of tasks."
        f" Import again with --chance TASK=SHARE, such as --chance {tasks[0]}=0.25."
    )


def _name(passed: Sequence[str], what: str = "passed over", *, every: bool = False) -> None:
    shown = len(passed) if every else SHOWN
    for sentence in passed[:shown]:
        say(f"{what}: {sentence}", "dim")
    if len(passed) > shown:
        stderr().print(cell(f"{what}: {len(passed) - shown} more; --list names them all", "dim"))


@busy("exporting", bar=False)
def export(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run as in `show`; all runs if left out.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="csv, parquet or lm-eval.")] = "csv",
    to: Annotated[
        Path | None,
        typer.Option(help="File to write; without it, csv and lm-eval go to stdout. lm-eval: a folder, too."),
    ] = None,
    output: Output = Path("results"),
) -> None:
    """Write result rows as CSV or parquet, or runs in the layout of lm-eval's output.

    lm-eval into a folder: results JSON and samples JSONL of the run, or of all finished runs, in a folder per model.
    Into a .json file or to stdout: the results JSON of one run, the latest if none is named.
    """
    if form == "lm-eval" and to is not None and to.suffix != ".json":
        _lm_eval_folder(run, output, to)
        return
    if to is not None:
        check_target(to)
    if form == "lm-eval":
        data = _lm_eval(run or "latest", output)
    else:
        data = _rows_file(output if run is None else find_run(run, output).path, form)
    if to is not None:
        from benchbench.store.files import write_whole

        write_whole(to, data)
        say(f"Wrote {to}")
    elif form == "parquet":
        raise ArgumentError("parquet is not text: say where to write it with --to FILE.")
    elif form == "csv":
        typer.echo(clean_lines(data.decode("utf-8")), nl=False)
    else:
        print_json_text(data.decode("utf-8"))


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
        except (StoreError, KeyError, TypeError, AttributeError) as error:
            if run is not None:
                raise
            say(f"warning: passed over {found.path}: {error}")
            continue
        results, samples = results + 1, samples + len(written) - 1
    say(f"Wrote {results} results files and {samples} samples files to {to}")


def _lm_eval(run: str, output: Path) -> bytes:
    from benchbench.extensions.interchange.export import to_lm_eval

    return json.dumps(to_lm_eval(find_run(run, output).record()), indent=2, ensure_ascii=False).encode("utf-8")


def _rows_file(path: Path, form: Format) -> bytes:
    from benchbench.store.frames import load_runs
    from benchbench.store.spreadsheet import to_csv

    frame = load_runs(path)
    return (
        bytes(frame.to_parquet(index=False)) if form == "parquet" else to_csv(frame).encode("utf-8", errors="replace")
    )

"""`benchbench results import`: other harnesses' results and plain tables as run folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.console import cell, stderr, stdout
from benchbench.core.errors import ArgumentError, DataError

SHOWN = 8


def import_results(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders.")],
    output: Annotated[Path, typer.Option("--output", help="Results folder to write to.")] = Path("results"),
    column: Annotated[
        list[str] | None, typer.Option(help="Table's name of a field: model=Model, value=score; repeatable.")
    ] = None,
    default: Annotated[
        list[str] | None, typer.Option("--set", help="What the source does not say: num_fewshot=0; repeatable.")
    ] = None,
    chance: Annotated[
        list[str] | None, typer.Option(help="Score of a guesser: winogrande=0.5, 'mmlu_*=0.25'; repeatable.")
    ] = None,
) -> None:
    """Import lm-eval results (JSON, with samples JSONL beside it) and tables (CSV, TSV, JSON lines).

    A table has a row per model, task and metric, with the columns model, task, metric, value, and if it has them step,
    tokens_seen, stderr, n, num_fewshot, version, date. Of a folder, everything that fits is taken, the rest is named.
    """
    from benchbench.extensions.interchange.found import find_imports, parse_chance
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
        _name(found.passed_over)
        unknown |= {name for run in found.runs for name, task in run.tasks.items() if task.lacks_chance}
        for run in found.runs:
            try:
                _, new = write_imported(run, output)
            except DataError as error:
                _name([f"{run.model.name}: {error}"])
                continue
            written, known = written + new, known + (not new)
            items += new and any(task.samples is not None for task in run.tasks.values())
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
    from benchbench.tasks.index import TaskIndex

    index = TaskIndex()

    def chance(task: str) -> float | None:
        said = given(task)
        if said is not None or task not in index.variants:
            return said
        ours = index.task(task).scoring
        return ours.chance if ours.output_type == "multiple_choice" else 0.0

    return chance


def _name_unknown(tasks: Sequence[str]) -> None:
    """Tasks that no mean can hold, and what to type."""
    if not tasks:
        return
    more = f" and {len(tasks) - SHOWN} more" if len(tasks) > SHOWN else ""
    text = (
        f"The chance of a guesser is not known for {', '.join(tasks[:SHOWN])}{more}: they are in no mean of tasks."
        f" Import again with --chance TASK=SHARE, such as --chance {tasks[0]}=0.25."
    )
    stderr().print(cell(text), soft_wrap=True)


def _name(passed: Sequence[str]) -> None:
    for sentence in passed[:SHOWN]:
        stderr().print(cell(f"passed over: {sentence}", "dim"), soft_wrap=True)
    if len(passed) > SHOWN:
        stderr().print(cell(f"passed over: {len(passed) - SHOWN} more", "dim"))

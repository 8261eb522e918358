"""`benchbench tasks`: which tasks there are, what they ask, and whether they are sound."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.backends.engines import ModelOptions
from benchbench.cli.console import cell, print_table, stdout, tell_lines, text_table
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, IncludePath, option_of, task_index, with_settings
from benchbench.core.errors import ArgumentError
from benchbench.core.format import clean
from benchbench.core.post_metrics import listed_metrics
from benchbench.core.settings import Part
from benchbench.core.types import Json
from benchbench.tasks.settings import RenderSettings

if TYPE_CHECKING:
    from benchbench.tasks.dialect import TaskVariant
    from benchbench.tasks.index import Selection, TaskIndex
    from benchbench.tasks.sources import SourceEntry
    from benchbench.tasks.task import AnyTask
    from benchbench.tasks.variants import NamedTask

app = VerbApp(no_args_is_help=True, help="List, show, render and check tasks.")

TrustRemoteCode = Annotated[bool, option_of(ModelOptions, "trust_remote_code")]
Name = Annotated[str, typer.Argument(metavar="T", help="Name of a task, or its YAML file.")]


@app.command()
def ls(
    pattern: Annotated[str | None, typer.Argument(metavar="[T]", help="Only these names, groups or globs.")] = None,
    skipped: Annotated[
        bool, typer.Option("--skipped", help="List the files of --include-path that are no tasks here, and why.")
    ] = False,
    include_path: IncludePath = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks, groups and suites."""
    from benchbench.tasks.sources import source_of

    source = None if pattern is None else source_of(pattern)
    if pattern is not None and source is not None:
        _list_entries(source.entries(pattern), as_json=as_json)
        return
    index = task_index(include_path, told=not skipped)
    if skipped:
        _list_skipped(index, as_json=as_json)
        return
    names = [name for name in index.names(pattern) if name in index.variants] if pattern else [*index.variants]
    if as_json:
        for name in names:
            _print_json(_facts(name, index.variants.listed(name)))
        return
    _print_tasks(index, names, is_short=pattern is None and stdout().is_terminal)
    if pattern is None:
        _print_choices("group", {name: f"{len(group.tasks)} tasks" for name, group in index.groups.items()})
        _print_choices("suite", {name: suite.description for name, suite in index.suites.items()})


def _list_skipped(index: TaskIndex, *, as_json: bool) -> None:
    from benchbench.cli.options import skipped_lines

    for path, reason in index.skipped.items() if as_json else ():
        _print_json({"file": str(path), "reason": str(reason)})
    for line in () if as_json else skipped_lines(index):
        tell_lines(line)


def _facts(name: str, task: TaskVariant | NamedTask) -> dict[str, Json]:
    raw = task.raw
    return {
        "task": name,
        "output_type": raw.get("output_type", "generate_until"),
        "num_fewshot": raw.get("num_fewshot") or 0,
        "dataset": "/".join(str(raw[key]) for key in ("dataset_path", "dataset_name") if raw.get(key)),
        "group": _list(raw.get("group")),
        "tag": _list(raw.get("tag")),
        "file": str(task.path),
    }


def _list_entries(found: Sequence[SourceEntry], *, as_json: bool) -> None:
    """What a source of tasks has: names, and whatever else may stand for some of them."""
    for one in found if as_json else ():
        _print_json({"task": one.name, "kind": one.kind, "file": one.path, "tasks": one.members})
    if not as_json:
        where = [f"{len(one.members)} tasks" if one.path is None else one.path.name for one in found]
        rows = [(one.name, one.kind, place) for one, place in zip(found, where, strict=True)]
        _print_table(("name", "kind", "file"), rows)


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else [value] if value else []


def _print_tasks(index: TaskIndex, names: list[str], *, is_short: bool) -> None:
    """One row per task; `is_short`: one per file that makes many tasks."""
    files: dict[Path, list[str]] = {}
    for name in names:
        files.setdefault(index.variants.listed(name).path, []).append(name)
    rows = []
    for members in files.values():
        labels = {name: name for name in members}
        if is_short and len(members) > 3:
            labels = {members[0]: f"{members[0]} … {members[-1]} ({len(members)})"}
        rows += [(label, _facts(name, index.variants.listed(name))) for name, label in labels.items()]
    _print_table(
        ("task", "kind", "shots", "data"),
        [(label, facts["output_type"], facts["num_fewshot"], facts["dataset"]) for label, facts in rows],
    )


def _print_choices(kind: str, values: dict[str, str]) -> None:
    if values:
        typer.echo()
        _print_table((kind, ""), list(values.items()))


@app.command()
def show(task: Name, include_path: IncludePath = None, as_json: AsJson = False) -> None:
    """Show a task as it is understood: every key that is set, and its metrics. Of a source's group its members."""
    from benchbench.tasks.sources import source_of

    index = task_index(include_path)
    if source_of(task) is not None and len((several := index.select(task)).tasks) > 1:
        _show_several(task, several, as_json=as_json)
        return
    found = _one(index, task)
    resolved = found.resolved()
    if as_json:
        _print_json({**resolved, "path": str(found.path)})
        return
    import yaml

    tell_lines(f"# {found.path}\n" + yaml.safe_dump(resolved, allow_unicode=True, sort_keys=False, width=100))
    if found.scoring.metrics:
        tell_lines("# metrics: " + ", ".join(metric.name for metric in found.scoring.metrics))
    if later := [one.name for one in listed_metrics(resolved)]:
        tell_lines(f"# computed after the run: {', '.join(later)} (benchbench score RUN --metric {later[0]})")
    for key, function in found.code():
        tell_lines(f"# Python, run only with --trust-task-code: `{key}` is {function}")


def _show_several(name: str, found: Selection, *, as_json: bool) -> None:
    """The groups that a name stands for, with what they average, and the tasks."""
    groups = [group.as_record() for group in found.groups]
    told = {"name": name, "tasks": [task.name for task in found.tasks], "groups": groups}
    if as_json:
        _print_json(told)
        return
    import yaml

    for task in found.tasks:
        for remark in task.remarks:
            tell_lines(f"# {remark}")
    plain = json.loads(json.dumps(told, default=str))
    tell_lines(yaml.safe_dump(plain, allow_unicode=True, sort_keys=False, width=100))


@app.command()
@with_settings
def render(
    task: Name,
    settings: Annotated[RenderSettings, Part(without=("limit",))],
    doc: Annotated[int, typer.Option(help="Number of the document, from 0.")] = 0,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            "--model",
            "-m",
            rich_help_panel="Prompts",
            help="Folder, hub name or GGUF file whose chat template is used.",
        ),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    include_path: IncludePath = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model would be asked for one document."""
    from benchbench.cli.tasks_view import rendered_json, rendered_lines, template
    from benchbench.tasks.prepare import prepare

    if doc < 0:
        raise ArgumentError(f"--doc {doc}: documents are counted from 0.")
    written = template(settings.chat, tokenizer, trust_remote_code=trust_remote_code)
    prepared = prepare(_one(task_index(include_path), task), replace(settings, limit=doc + 1))
    if doc >= len(prepared.docs):
        raise ArgumentError(f"--doc {doc}: {task} has {len(prepared.docs)} documents, 0 to {len(prepared.docs) - 1}.")
    rendered = prepared.docs[doc]
    if as_json:
        _print_json(rendered_json(prepared, rendered, written))
        return
    for line in rendered_lines(rendered, written):
        tell_lines(line)
    for note in () if written is None else written.notes:
        typer.echo(note, err=True)


@app.command()
@with_settings
def check(
    task: Annotated[
        str | None, typer.Argument(metavar="[T]", help="Tasks, groups, tags, suites or globs, separated by commas.")
    ] = None,
    *,
    settings: Annotated[RenderSettings, Part(only=("num_fewshot", "limit", "data_root"))],
    all_tasks: Annotated[
        bool, typer.Option("--all", help="Every task; those without data under --data-root are read, not rendered.")
    ] = False,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or hub name of a model, to count its tokens in the prompts.")
    ] = None,
    include_path: IncludePath = None,
    as_json: AsJson = False,
) -> None:
    """Render every document, score the gold answers (they must be right), look for broken documents."""
    from benchbench.cli.tasks_view import Checker, print_report, print_summary
    from benchbench.tasks.index import NoTaskError

    if (task is None) is not all_tasks:
        raise ArgumentError("Name what to check, or give --all for every task there is.")
    _refuse_sources(task or "")
    index = task_index(include_path)
    names = [*index.variants] if task is None else index.names(task)
    checker = Checker(index, settings, tokenizer, only_read_without_data=all_tasks and settings.data_root is not None)
    broken = [path for path, reason in index.skipped.items() if all_tasks and not isinstance(reason, NoTaskError)]
    reports = []
    for one in chain(map(checker.report, names), map(checker.unread, broken)):
        reports.append(one)
        if as_json:
            _print_json(reports[-1])
        elif not all_tasks or reports[-1]["errors"] or reports[-1]["warnings"]:
            print_report(reports[-1])
    if all_tasks and not as_json:
        print_summary(reports)
    if any(report["errors"] for report in reports):
        raise typer.Exit(2)


@app.command()
def metrics(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this metric, option or filter.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the metrics and filters that a task file may name, and their options."""
    from benchbench.cli.tasks_metrics import entries, lines

    found = entries(name)
    for entry in found if as_json else ():
        _print_json(entry.as_json())
    for line in () if as_json else lines(found):
        tell_lines(line)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the new task.")],
    kind: Annotated[str, typer.Option(help="multiple_choice or generate_until.")] = "multiple_choice",
    folder: Annotated[Path, typer.Option("--to", help="Folder in which the task's own folder is made.")] = Path(),
) -> None:
    """Write a commented starter: a task, three documents and a README, ready to be checked."""
    from benchbench.tasks.authoring import write_starter

    made = write_starter(name, kind, folder)
    tell_lines(f"Wrote {', '.join(path.name for path in made)} to {made[0].parent}. Edit them, then:")
    tell_lines(f"  benchbench tasks check {name} --include-path {made[0].parent}")


@app.command()
def page(
    to: Annotated[Path | None, typer.Option(help="Write the page to this file; otherwise it is printed.")] = None,
    check_only: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail if --to FILE is not as it would be.")
    ] = False,
) -> None:
    """The page that lists all tasks: documents, shots, metrics, data, licence."""
    from benchbench.tasks.authoring import render_page

    text = render_page(task_index())
    if to is None:
        typer.echo(text, nl=False)
    elif not check_only:
        to.write_text(text, encoding="utf-8")
    elif not to.is_file() or to.read_text(encoding="utf-8") != text:
        raise ArgumentError(f"{to} is not what the task files say. Write it again: benchbench tasks page --to {to}")


def _refuse_sources(names: str) -> None:
    """`check` reads the keys of our dialect."""
    from benchbench.tasks.sources import source_of

    for name in names.split(","):
        if (source := source_of(name.strip())) is not None:
            raise ArgumentError(
                f"check is for task files in our dialect; `benchbench tasks render {name.strip()}` shows what "
                f"{source.title}'s asks."
            )


def _one(index: TaskIndex, name: str) -> AnyTask:
    """The task of that name, ours or of a source."""
    from benchbench.tasks.sources import source_of

    if source_of(name) is None:
        names = index.names(name)
        return index.task(_only(name, names))
    tasks = {task.name: task for task in index.select(name).tasks}
    return tasks[_only(name, [*tasks])]


def _only(name: str, names: Sequence[str]) -> str:
    """The one task that `name` stands for. ArgumentError if there are several."""
    if len(names) == 1:
        return names[0]
    raise ArgumentError(f"{name} stands for {len(names)} tasks: name one of them, e.g. {', '.join(names[:3])}.")


LONG = 500
"""Rows of a table that is printed line by line, as drawing it would take seconds."""


def _print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    if len(rows) > LONG:
        _print_lines([header, *rows])
        return
    table = text_table(*header)
    for row in rows:
        table.add_row(*map(cell, row))
    print_table(table)


def _print_lines(rows: list[tuple[Any, ...]]) -> None:
    """One line a row, its columns under each other."""
    cells = [[clean(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    typer.echo("\n".join(lines))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=True, default=str))

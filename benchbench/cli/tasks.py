"""`benchbench tasks`: which tasks there are, what they ask, and whether they are sound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchbench.core.errors import ArgumentError, BenchbenchError

if TYPE_CHECKING:
    from benchbench.core.types import RenderedDoc, Request
    from benchbench.tasks.dialect import Variant
    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.prepare import PreparedTask, RenderSettings
    from benchbench.tasks.task import Task

app = typer.Typer(
    rich_markup_mode=None, add_completion=False, no_args_is_help=True, help="List, show, render and check tasks."
)

Name = Annotated[str, typer.Argument(metavar="T", help="Name of a task.")]
Names = Annotated[str, typer.Argument(metavar="T", help="Tasks, groups, tags, suites or globs, separated by commas.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Include = Annotated[
    list[Path] | None, typer.Option("--include-path", help="Folder or file with more tasks; may be repeated.")
]
DataRoot = Annotated[
    Path | None, typer.Option(envvar="BENCHBENCH_DATA", help="Folder with data sets, instead of the Hub.")
]
Shots = Annotated[int | None, typer.Option("--num-fewshot", help="Shots. Default: what the task says.")]
PromptName = Annotated[str, typer.Option("--prompt", help="Name of a prompt variant that the task offers.")]
MOST_SHOWN = 20


@app.command()
def ls(
    pattern: Annotated[str | None, typer.Argument(metavar="[T]", help="Only these names, groups or globs.")] = None,
    include_path: Include = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks, groups and suites."""
    index = _index(include_path)
    names = [task.name for task in index.select(pattern).tasks] if pattern is not None else [*index.variants]
    if as_json:
        for name in names:
            _print_json(_facts(index.variants[name]))
        return
    _print_tasks(index, names)
    if pattern is None:
        _print_choices("group", {name: f"{len(group.tasks)} tasks" for name, group in index.groups.items()})
        _print_choices("suite", {name: suite.description for name, suite in index.suites.items()})


def _facts(variant: Variant) -> dict[str, Any]:
    raw = variant.raw
    return {
        "task": variant.name,
        "output_type": raw.get("output_type", "generate_until"),
        "num_fewshot": raw.get("num_fewshot") or 0,
        "dataset": "/".join(str(raw[key]) for key in ("dataset_path", "dataset_name") if raw.get(key)),
        "group": _list(raw.get("group")),
        "tag": _list(raw.get("tag")),
        "file": str(variant.path),
    }


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _print_tasks(index: TaskIndex, names: list[str]) -> None:
    """One row per file where it makes many tasks, else one per task."""
    files: dict[Path, list[str]] = {}
    for name in names:
        files.setdefault(index.variants[name].path, []).append(name)
    rows = []
    for members in files.values():
        labels = {name: name for name in members}
        if len(members) > 3:
            labels = {members[0]: f"{members[0]} … {members[-1]} ({len(members)})"}
        rows += [(label, _facts(index.variants[name])) for name, label in labels.items()]
    _print_table(
        ("task", "kind", "shots", "data"),
        [(label, facts["output_type"], facts["num_fewshot"], facts["dataset"]) for label, facts in rows],
    )


def _print_choices(kind: str, values: dict[str, str]) -> None:
    if values:
        typer.echo()
        _print_table((kind, ""), list(values.items()))


@app.command()
def show(task: Name, include_path: Include = None, as_json: AsJson = False) -> None:
    """Show a task as it is understood: every key that is set, and its metrics."""
    found = _index(include_path).task(task)
    resolved = found.resolved()
    if as_json:
        _print_json({**resolved, "path": str(found.path)})
        return
    import yaml

    _print_text(f"# {found.path}\n" + yaml.safe_dump(resolved, allow_unicode=True, sort_keys=False, width=100))
    _print_text("# metrics: " + ", ".join(metric.name for metric in found.scoring.metrics))


@app.command()
def render(
    task: Name,
    doc: Annotated[int, typer.Option(help="Number of the document, from 0.")] = 0,
    num_fewshot: Shots = None,
    prompt: PromptName = "default",
    fewshot_mode: Annotated[str, typer.Option(help="fixed, per_doc or lm_eval.")] = "fixed",
    seed: Annotated[int, typer.Option(help="Seeds the draw of shots.")] = 1234,
    data_root: DataRoot = None,
    include_path: Include = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model would be asked for one document."""
    if doc < 0:
        raise ArgumentError(f"--doc {doc}: documents are counted from 0.")
    from benchbench.tasks.prepare import RenderSettings, prepare

    found = _index(include_path).task(task)
    mode: Any = fewshot_mode
    prepared = prepare(found, RenderSettings(num_fewshot, mode, seed, doc + 1, prompt, data_root))
    if doc >= len(prepared.docs):
        raise ArgumentError(f"--doc {doc}: {task} has {len(prepared.docs)} documents, 0 to {len(prepared.docs) - 1}.")
    rendered = prepared.docs[doc]
    if as_json:
        _print_json(_rendered_json(prepared, rendered))
        return
    for line in _rendered_lines(rendered):
        _print_text(line)


def _rendered_json(prepared: PreparedTask, rendered: RenderedDoc) -> dict[str, Any]:
    return {
        "task": rendered.task,
        "doc_id": rendered.doc.id,
        "doc_hash": rendered.doc.hash,
        "cluster": rendered.doc.cluster,
        "num_fewshot": prepared.num_fewshot,
        "prompt_hash": prepared.prompt_hash,
        "requests": [_request_json(request) for request in rendered.requests],
        "choices": list(rendered.choices),
        "gold": list(rendered.gold),
        "targets": list(rendered.targets),
    }


def _request_json(request: Request) -> dict[str, Any]:
    from dataclasses import asdict

    from benchbench.core.types import GenerateRequest, LoglikelihoodRequest

    match request:
        case LoglikelihoodRequest(prompt=prompt, continuation=continuation):
            return {"prompt": prompt.text, "continuation": continuation}
        case GenerateRequest(prompt=prompt, params=params):
            return {"prompt": prompt.text, "params": asdict(params)}
    return {"text": request.text}


def _rendered_lines(rendered: RenderedDoc) -> Iterator[str]:
    """The prompts as they are, then each answer in quotes, so that spaces can be seen."""
    requests = [_request_json(request) for request in rendered.requests]
    last = None
    for number, request in enumerate(requests):
        text = request.get("prompt", request.get("text"))
        if text != last:
            yield f"--- {'text' if 'text' in request else 'prompt'}\n{text}"
            last = text
        if "continuation" in request:
            mark = " (right)" if number in rendered.gold else ""
            yield f"--- answer {number}{mark}: {json.dumps(request['continuation'], ensure_ascii=False)}"
    if rendered.targets and "continuation" not in requests[0]:
        yield f"--- right: {json.dumps(list(rendered.targets), ensure_ascii=False)}"


@app.command()
def check(
    task: Names,
    num_fewshot: Shots = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N documents of each task.")] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Folder or hub name of a model, to count its tokens in the prompts.")
    ] = None,
    data_root: DataRoot = None,
    include_path: Include = None,
    as_json: AsJson = False,
) -> None:
    """Render every document, score the gold answers (they must be right), look for broken documents."""
    from benchbench.tasks.prepare import RenderSettings

    index = _index(include_path)
    settings = RenderSettings(num_fewshot=num_fewshot, limit=limit, data_root=data_root)
    count = _token_counter(tokenizer) if tokenizer is not None else None
    reports = []
    for found in index.select(task).tasks:
        reports.append(_report(found, settings, count))
        if as_json:
            _print_json(reports[-1])
        else:
            _print_report(reports[-1])
    if any(report["errors"] for report in reports):
        raise typer.Exit(2)


def _report(found: Task, settings: RenderSettings, count: Any) -> dict[str, Any]:
    """What `check` says of one task. A task that does not render is an error like any other."""
    from benchbench.tasks.check import findings
    from benchbench.tasks.prepare import prepare

    report: dict[str, Any] = {"task": found.name, "docs": 0, "num_fewshot": None, "errors": [], "warnings": []}
    try:
        prepared = prepare(found, settings)
    except BenchbenchError as error:
        return {**report, "errors": [str(error)]}
    for finding in findings(prepared):
        report["errors" if finding.is_error else "warnings"].append(f"document {finding.doc_id}: {finding.text}")
    report["errors"] += _wrong_gold(prepared)
    tokens = {} if count is None else {"tokens": count(prepared)}
    return {**report, "docs": len(prepared.docs), "num_fewshot": prepared.num_fewshot, **tokens}


def _wrong_gold(prepared: PreparedTask) -> Iterator[str]:
    """The documents whose gold answer does not get full marks."""
    from benchbench.scoring import score_doc
    from benchbench.tasks.check import gold_responses, imperfect

    spec = prepared.task.scoring
    for rendered in prepared.docs:
        score = score_doc(spec, rendered, gold_responses(rendered))
        if score.outcome not in ("answered", "truncated"):
            yield f"document {rendered.doc.id}: the gold answer counts as {score.outcome}"
        for name, value in imperfect(spec, score).items():
            yield f"document {rendered.doc.id}: the gold answer gets {name} = {value}, not 1"


def _token_counter(name: str) -> Any:
    """A function from a prepared task to the tokens of its prompts: mean, and most."""
    from transformers import AutoTokenizer

    from benchbench.tasks.check import request_text

    try:
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--tokenizer {name}: no tokenizer could be loaded from there.") from error

    def count(prepared: PreparedTask) -> dict[str, float]:
        texts = [request_text(rendered.requests[0]) for rendered in prepared.docs]
        sizes = [len(ids) for ids in tokenizer(texts)["input_ids"]]
        return {"mean": sum(sizes) / len(sizes), "most": max(sizes)}

    return count


def _print_report(report: dict[str, Any]) -> None:
    verdict = "ok" if not report["errors"] else f"{len(report['errors'])} errors"
    tokens = report.get("tokens")
    counted = f", {tokens['mean']:.0f} tokens a prompt, {tokens['most']} at most" if tokens else ""
    _print_text(f"{report['task']}: {verdict} ({report['docs']} documents, {report['num_fewshot']} shots{counted})")
    for kind in ("errors", "warnings"):
        found = report[kind]
        for text in found[:MOST_SHOWN]:
            _print_text(f"  {kind[:-1]}: {text}")
        if len(found) > MOST_SHOWN:
            _print_text(f"  … and {len(found) - MOST_SHOWN} more {kind}; --json lists them all")


def _index(include_path: list[Path] | None) -> TaskIndex:
    from benchbench.tasks.index import TaskIndex

    return TaskIndex(include_path or ())


def _print_table(header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.table import Table

    from benchbench.cli.console import cell, stdout

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, row))
    stdout().print(table)


def _print_text(text: str) -> None:
    from benchbench.cli.console import clean_lines

    typer.echo(clean_lines(text))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=True, default=str))

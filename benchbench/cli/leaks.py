"""`benchbench leaks`: is a benchmark in the training data?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import (
    cell,
    figure_table,
    number,
    p_value,
    print_json,
    print_table,
    say,
    signed,
    signed_ends,
    stoppable,
    tell,
)
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, DataRoot, IncludePath, Output, with_settings
from benchbench.cli.progress import busy, watching
from benchbench.core.format import byte_size, several, true_minus
from benchbench.core.settings import Part
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from benchbench.extensions.leaks.clean import CleanScore
    from benchbench.extensions.leaks.search import SearchResult

app = VerbApp(no_args_is_help=True, help="Look for a benchmark in training data, by text and by a model's behaviour.")


@app.command()
def search(
    tasks: Annotated[
        list[str], typer.Option(help="Names, groups, suites or globs, separated by commas; may be repeated.")
    ],
    corpus: Annotated[
        list[Path], typer.Option(help="File or folder of .txt or .jsonl, plain or .gz; may be repeated.")
    ],
    words: Annotated[int, typer.Option(help="Words of an n-gram.")] = 13,
    field: Annotated[str, typer.Option(help="Where the text is in a line of JSON.")] = "text",
    processes: Annotated[int, typer.Option(help="Processes that search at once.")] = 1,
    name: Annotated[str, typer.Option(help="What to call the corpus in the results folder.")] = "corpus",
    include_path: IncludePath = None,
    data_root: DataRoot = None,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Look for docs of tasks in a corpus on disk, and show scores on clean docs beside those on all.

    A doc counts as leaked if one n-gram of its question and right answer is there, whatever capitals and punctuation.
    Stopped at any moment, the same command goes on. Flags per doc lie in RESULTS/leaks/NAME.
    """
    from benchbench.backends.engines import ModelOptions
    from benchbench.extensions.leaks.clean import clean_scores
    from benchbench.extensions.leaks.search import SearchOptions
    from benchbench.extensions.leaks.search import search as look
    from benchbench.runner.events import ignore
    from benchbench.runner.plan import make_plan
    from benchbench.store.names import folder_name
    from benchbench.tasks.settings import RenderSettings

    options = SearchOptions(words, field, processes)
    render = RenderSettings(num_fewshot=0, data_root=data_root)
    settings = RunSettings(ModelOptions(""), ",".join(tasks), tuple(include_path or ()), render)
    with stoppable(), busy("searching"):
        plan = make_plan(settings, ignore)
        docs = {prepared.task.name: list(prepared.docs) for prepared in plan.tasks}
        found = look(docs, corpus, output / "leaks" / folder_name(name), options)
        scores = clean_scores(output, found.flags) if output.is_dir() else []
    if as_json:
        print_json(_facts(found, scores))
        return
    _show(found, scores)


def _show(found: SearchResult, scores: list[CleanScore]) -> None:
    table = figure_table("task", "docs", "leaked", "share", "exact", "all of it", "too short")
    for task, flags in found.flags.items():
        known = [flag for flag in flags if flag.grams]
        leaked = [flag for flag in known if flag.is_leaked]
        share = f"{len(leaked) / len(known):.1%}" if known else "-"
        whole = sum(flag.found == flag.grams for flag in known)
        exact = sum(flag.exact > 0 for flag in known)
        table.add_row(*map(cell, (task, len(flags), len(leaked), share, exact, whole, len(flags) - len(known))))
    print_table(table)
    size, pieces = byte_size(found.bytes_searched), several(found.pieces, "piece")
    before = f", {found.resumed} of them before" if found.resumed else ""
    tell(f"{size} searched in {pieces}{before}. Flags of every doc in {found.folder}")
    if found.broken_lines:
        say(f"{several(found.broken_lines, 'line')} of the corpus were broken or had no text, and were not searched.")
    for why in found.broken_files:
        say(f"Not searched to its end: {why}")
    if scores:
        _show_scores(scores)


def _show_scores(scores: list[CleanScore]) -> None:
    tell("")
    table = figure_table("model", "task", "all docs", "clean docs", "clean − all", "95%", "clean", fold=("task",))
    for one in scores:
        gap = "" if one.on_clean is None else signed(one.on_clean - one.value)
        ends = "" if one.interval is None else signed_ends(one.interval)
        name = f"{one.task} {one.metric}"
        table.add_row(*map(cell, (one.model, name, number(one.value), number(one.on_clean), gap, ends, one.clean)))
    print_table(table)


def _facts(found: SearchResult, scores: list[CleanScore]) -> dict[str, object]:
    tasks = {
        task: {
            "docs": len(flags),
            "searched": sum(flag.grams > 0 for flag in flags),
            "leaked": sum(flag.is_leaked for flag in flags),
            "exact": sum(flag.exact > 0 for flag in flags),
        }
        for task, flags in found.flags.items()
    }
    about = {"folder": str(found.folder), "bytes": found.bytes_searched, "pieces": found.pieces}
    broken = {"resumed": found.resumed, "broken_lines": found.broken_lines, "broken_files": list(found.broken_files)}
    return {**about, **broken, "tasks": tasks, "scores": [asdict(one) for one in scores]}


@app.command()
@with_settings
def order(
    settings: Annotated[
        RunSettings, Part(without=("limit", "random_docs", "fresh", "retry_failed", "name", "max_failed"))
    ],
    orders: Annotated[int, typer.Option(help="Random orders that the published one is held against.")] = 199,
    shard: Annotated[int, typer.Option(help="Docs of a text.")] = 10,
    docs: Annotated[int, typer.Option(help="First docs of each task that are used.")] = 500,
    as_json: AsJson = False,
) -> None:
    """Ask whether a model prefers the published order of a task's docs, which it can only if it has read the file.

    p is exact: of a model that has not read them, it is below .01 in one of a hundred tasks.
    """
    from benchbench.backends import open_backend
    from benchbench.cli.run import without_prefix
    from benchbench.extensions.leaks.order import OrderOptions, order_test
    from benchbench.runner.plan import make_plan

    options = OrderOptions(orders, shard, docs, settings.render.seed)
    settings = replace(settings, render=replace(settings.render, num_fewshot=0))
    settings = replace(settings, model=without_prefix(settings.model))
    with stoppable(), watching() as on_event:
        plan = make_plan(settings, on_event)
        engine = open_backend(settings.model)
        try:
            found = [order_test(one.task.name, list(one.docs), engine, options) for one in plan.tasks]
        finally:
            engine.close()
    if as_json:
        print_json([asdict(one) for one in found])
        return
    table = figure_table("task", "docs", "texts", "published", "shuffled", "p")
    for one in found:
        figures = (true_minus(f"{one.published:.3f}"), true_minus(f"{one.shuffled:.3f}"), p_value(one.p))
        table.add_row(*map(cell, (one.task, one.docs, one.shards, *figures)))
    print_table(table)
    tell(f"published, shuffled: log-likelihood per doc in nats, of the published order and of {orders} random ones.")

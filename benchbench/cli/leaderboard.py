"""`benchbench leaderboard`: the static site of what is on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.console import cell, say, stderr, tell
from benchbench.cli.main import VerbApp
from benchbench.cli.options import Weights, task_index
from benchbench.cli.progress import busy
from benchbench.core.format import several

SHOWN = 8
app = VerbApp()
EXAMPLES = """\b
benchbench leaderboard --results results --to site --open
"""


@app.command(epilog=EXAMPLES)
def leaderboard(
    results: Annotated[
        list[Path] | None,
        typer.Option("--results", "--output", help="Results folder; may be repeated. Default: results."),
    ] = None,
    out: Annotated[Path, typer.Option("--to", "--out", help="Folder of the site.")] = Path("leaderboard/site"),
    title: Annotated[str, typer.Option(help="Title of the site.")] = "Leaderboard",
    docs: Annotated[int, typer.Option(min=0, help="Models whose answers are shown doc by doc; 0 for none.")] = 4,
    weights: Weights = "benchmarks",
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Build a static site of all finished runs: it needs no server and opens from the disk."""
    from benchbench.leaderboard.site.build import SiteOptions, build_site

    roots = results or [Path("results")]
    if results is None and not roots[0].is_dir():
        roots = []
    with busy("building the site"):
        built = build_site(roots, out, SiteOptions(title, _suites(), docs, weights))
    for sentence in built.skipped[:SHOWN]:
        say(sentence, "dim")
    if len(built.skipped) > SHOWN:
        stderr().print(cell(f"and {len(built.skipped) - SHOWN} more remarks; the site lists them.", "dim"))
    counts = ", ".join(
        several(n, noun) for n, noun in ((built.models, "model"), (built.tasks, "task"), (built.sweeps, "sweep"))
    )
    tell(f"{built.pages} pages of {counts}, beginning at {built.index}")
    if open_it:
        import webbrowser

        webbrowser.open(built.index.absolute().as_uri())


def _suites() -> dict[str, tuple[str, ...]]:
    """Suite → the tasks that it selects."""
    index = task_index()
    return {suite: tuple(task.name for task in index.select(suite).tasks) for suite in index.suites}

"""`benchbench score`: metrics for a finished run, from what it stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from benchbench.cli import options as opt
from benchbench.cli.app import VerbApp
from benchbench.cli.console import cell, clean, interval, number, print_json, stderr, stdout, watching
from benchbench.core.pairs import name_value_pairs
from benchbench.extensions.comet.model import DEFAULT_MODEL
from benchbench.extensions.comet.process import PYTHON_ENV, CometOptions
from benchbench.store.find import find_run

if TYPE_CHECKING:
    from benchbench.extensions.rescore.stored import ScoredMetric, ScoreResult

app = VerbApp()

STATES = {
    "added": "added",
    "replaced": "replaced what was added before",
    "kept": "there already, by the same model; --fresh computes it again",
    "confirmed": "the run's own value came out again",
    "differs": "differs from the run's own value, which stands",
}


@app.command()
def score(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A path, a run id or its beginning, or `latest`.")],
    metric: Annotated[
        list[str],
        typer.Option(help="Names separated by commas: comet, bleu, chrf, ter, rougeL, exact_match, f1, acc, ..."),
    ],
    tasks: Annotated[
        list[str] | None, typer.Option(help="Tasks of the run, or globs, separated by commas. Default: all that fit.")
    ] = None,
    comet_model: Annotated[
        str, typer.Option(help="COMET: a name on the Hub, a model's folder or its checkpoint file.")
    ] = DEFAULT_MODEL,
    comet_python: Annotated[
        Path | None,
        typer.Option(envvar=PYTHON_ENV, help="COMET: the python of its environment. Default: .venv-comet here."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="COMET: segments in one batch.")] = 16,
    device: Annotated[str, typer.Option(help="COMET: auto, cpu or cuda.")] = "auto",
    comet_timeout: Annotated[
        float, typer.Option(help="COMET: seconds that loading, or one block of segments, may take.")
    ] = 1800.0,
    source: Annotated[
        str | None, typer.Option(help="COMET: template of the text to translate, if the task has no doc_to_source.")
    ] = None,
    data_root: opt.DataRoot = None,
    include_path: opt.IncludePath = None,
    output: opt.Output = Path("results"),
    option: Annotated[
        str | None, typer.Option(help="Settings of a metric that another package adds: name=value,name=value.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Compute COMET scores again that are there already.")] = False,
    as_json: opt.AsJson = False,
) -> None:
    """Add metrics to a finished run, or compute its own again, from what it stored: no model is asked again.

    The run's own results stay as they are; added metrics lie beside them, and every reader sees both.
    """
    from benchbench.extensions.rescore.score import score as score_run
    from benchbench.extensions.rescore.stored import ScoreSettings

    settings = ScoreSettings(
        metrics=tuple(dict.fromkeys(name.strip() for name in ",".join(metric).split(","))),
        tasks=opt.joined(tasks),
        data_root=data_root,
        include_paths=tuple(include_path or ()),
        source=source,
        comet=CometOptions(comet_model, comet_python, batch_size, device, comet_timeout),
        options=name_value_pairs(option, "--option") if option is not None else {},
        fresh=fresh,
    )
    try:
        with watching() as on_event:
            result = score_run(find_run(run, output), settings, on_event=on_event)
    except KeyboardInterrupt:
        _say("Stopped. The same command goes on from here.")
        raise typer.Exit(130) from None
    if as_json:
        print_json(_to_json(result))
    else:
        _show(result)
    if result.differs:
        raise typer.Exit(1)


def _to_json(result: ScoreResult) -> str:
    scored = [{"task": s.task, "metric": s.metric, "state": s.state, "rows": list(s.rows)} for s in result.scored]
    return json.dumps({"run": str(result.path), "scored": scored}, ensure_ascii=False, allow_nan=False)


def _show(result: ScoreResult) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("task", overflow="fold", ratio=1)
    table.add_column("metric", overflow="fold")
    for name in ("value", "95%", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    last = ""
    for one in result.scored:
        for row in one.rows:
            shown = (number(row["value"]), interval(row), row["n"])
            table.add_row(*map(cell, ("" if one.task == last else one.task, row["metric"], *shown)))
            last = one.task
    console = stdout()
    console.print(cell(str(result.record["model"]), "bold"))
    console.print(table)
    for one in result.scored:
        console.print(cell(f"{one.task} {one.metric}: {_state(one, result.record)}."), soft_wrap=True)
    console.print(cell(f"Added metrics are in {result.path / 'scores'}"), soft_wrap=True)


def _state(one: ScoredMetric, record: Mapping[str, Any]) -> str:
    if one.state != "differs":
        return STATES[one.state]
    names = {row["metric"] for row in one.rows}
    own = [number(row["value"]) for row in record["rows"] if row["task"] == one.task and row["metric"] in names]
    return f"{STATES[one.state]} ({', '.join(own)})"


def _say(text: str) -> None:
    stderr().print(cell(clean(text)), soft_wrap=True)

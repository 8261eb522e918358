"""`benchbench score`: metrics for a finished run, from what it stored."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchbench.cli.console import (
    cell,
    figure_table,
    interval,
    number,
    print_json,
    print_table,
    say,
    stdout,
    stoppable,
    tell,
)
from benchbench.cli.main import INCOMPLETE, VerbApp
from benchbench.cli.options import AsJson, DryRun, Output, with_settings
from benchbench.cli.progress import watching
from benchbench.core.errors import StoppedError
from benchbench.core.json_record import as_json
from benchbench.core.record import RunRecord
from benchbench.core.types import Json
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.store.find import find_run
from benchbench.store.folder import RunFolder

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
@with_settings
def score(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A path, a run id or its beginning, or `latest`.")],
    settings: ScoreSettings,
    output: Output = Path("results"),
    dry: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Add metrics to a finished run, or compute its own again, from what it stored: no model is asked again.

    The run's own results stay as they are; added metrics lie beside them, and every reader sees both.
    """
    from benchbench.extensions.rescore.score import score as score_run

    if dry:
        _show_costs(find_run(run, output), settings, as_json=as_json)
        return
    try:
        with stoppable(), watching() as on_event:
            result = score_run(find_run(run, output), settings, on_event=on_event)
    except StoppedError as stopped:
        say(f"Stopped: {stopped}")
        raise typer.Exit(INCOMPLETE) from None
    if as_json:
        print_json(_to_json(result))
    else:
        _show(result)
    if result.differs:
        raise typer.Exit(1)


def _show_costs(run: RunFolder, settings: ScoreSettings, *, as_json: bool) -> None:
    """What the metrics would ask of a model, as far as they can say it beforehand."""
    from benchbench.extensions.rescore.score import estimate_costs

    with watching(quiet=as_json) as on_event:
        costs = estimate_costs(run, settings, on_event=on_event)
    if as_json:
        print_json({"costs": [{"metric": m, "task": t, **asdict(c)} for m, t, c in costs]})
        return
    table = figure_table("task", "metric", "judgements", "~tokens read", "tokens written, at most", left=("metric",))
    for metric, task, cost in costs:
        figures = (f"{cost.requests:,}", f"{cost.prompt_tokens:,}", f"{cost.most_tokens:,}")
        table.add_row(*map(cell, (task, metric, *figures)))
    print_table(table)
    say("4 bytes a token; judgements that are kept from before cost nothing. Nothing was run.")


def _to_json(result: ScoreResult) -> dict[str, Json]:
    scored = [{"task": s.task, "metric": s.metric, "state": s.state, "rows": as_json(s.rows)} for s in result.scored]
    return {"run": str(result.path), "scored": [*scored]}


def _show(result: ScoreResult) -> None:
    table = figure_table("task", "metric", "value", "95%", "n", fold=("metric",))
    last = ""
    for one in result.scored:
        for row in one.rows:
            shown = (number(row.value), interval(row.value, row.ci_low, row.ci_high), row.n)
            table.add_row(*map(cell, ("" if one.task == last else one.task, row.metric, *shown)))
            last = one.task
    console = stdout()
    console.print(cell(result.record.model, "bold"))
    print_table(table)
    for one in result.scored:
        tell(f"{one.task} {one.metric}: {_state(one, result.record)}.")
    tell(f"Added metrics are in {result.path / 'scores'}")


def _state(one: ScoredMetric, record: RunRecord) -> str:
    if one.state != "differs":
        return STATES[one.state]
    names = {row.metric for row in one.rows}
    own = [number(row.value) for row in record.rows if row.task == one.task and row.metric in names]
    return f"{STATES[one.state]} ({', '.join(own)})"

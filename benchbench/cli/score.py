"""`benchbench score`: metrics for a finished run, from what it stored."""

from __future__ import annotations

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
    stdout,
    stoppable,
    tell,
)
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, Output, with_settings
from benchbench.cli.progress import watching
from benchbench.core.json_record import as_json
from benchbench.core.record import RunRecord
from benchbench.core.types import Json
from benchbench.extensions.rescore.settings import ScoreSettings
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
@with_settings
def score(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A path, a run id or its beginning, or `latest`.")],
    settings: ScoreSettings,
    output: Output = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Add metrics to a finished run, or compute its own again, from what it stored: no model is asked again.

    The run's own results stay as they are; added metrics lie beside them, and every reader sees both.
    """
    from benchbench.extensions.rescore.score import score as score_run

    with stoppable(), watching() as on_event:
        result = score_run(find_run(run, output), settings, on_event=on_event)
    if as_json:
        print_json(_to_json(result))
    else:
        _show(result)
    if result.differs:
        raise typer.Exit(1)


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

"""`benchbench parity`: the same docs through several backends, or a quantised model against its original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    stdout,
    stoppable,
    tell,
)
from benchbench.cli.main import VerbApp
from benchbench.cli.options import AsJson, with_settings
from benchbench.cli.progress import watching
from benchbench.core.json_record import finite_json
from benchbench.core.types import Json
from benchbench.extensions.parity import ParitySettings

if TYPE_CHECKING:
    from rich.table import Table

    from benchbench.extensions.parity import LeftOut, Side
    from benchbench.extensions.parity.verdict import TaskParity
    from benchbench.runner.run import RunResult
    from benchbench.stats.duel import Duel

app = VerbApp()

UNSTATED = "unstated"
"""The number type of a server's model."""
NO_KL = (
    "KL divergence is not given: it needs the probability of every token of the vocabulary, and runs keep those of "
    "the scored tokens only."
)


@dataclass(frozen=True, slots=True)
class Pair:
    """One side against the reference, task by task."""

    reference: str
    name: str
    runs: tuple[Path, Path]
    """Run folders of the reference and of the other side."""
    dtypes: tuple[str, str]
    tasks: tuple[TaskParity, ...]
    scores: tuple[tuple[str, str, Duel], ...]
    """(task, metric, the side against the reference)."""


@app.command()
@with_settings
def parity(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A folder, hub name or GGUF file; with --against also model:backend.")
    ],
    settings: ParitySettings,
    as_json: AsJson = False,
) -> None:
    """Ask several backends the same docs and say whether they agree.

    `parity MODEL --backends hf,vllm,gguf` or `parity MODEL.gguf --against MODEL`. One log-likelihood may differ by 1e-3
    nats in float32, 0.05 in float16, 0.4 in bfloat16 (of long texts: by 1e-5, 1e-3, 8e-3 of it). Exit code 1: beyond
    that, or docs missing; 2: bad input.
    """
    from benchbench.extensions.parity import run_sides

    run = replace(settings.run, model=replace(settings.run.model, model=model))
    with stoppable(), watching() as on_event:
        done, left_out = run_sides(settings.sides(model), run, settings.model_args, on_event=on_event)
    pairs = [compare(done[0], other) for other in done[1:]]
    if as_json:
        print_json(finite_json(to_json(pairs, left_out)))
    else:
        show(pairs, with_scores=settings.against is not None)
    raise typer.Exit(exit_code(pairs, left_out))


def compare(reference: tuple[Side, RunResult], other: tuple[Side, RunResult]) -> Pair:
    """What the stored items of two runs say."""
    from benchbench.extensions.parity.verdict import compare_items, compare_scores, tolerance_of
    from benchbench.leaderboard.metrics import metric_names, metric_of
    from benchbench.store.folder import RunFolder

    results = (reference[1], other[1])
    dtypes = (str(results[0].record.backend.dtype), str(results[1].record.backend.dtype))
    folders = [RunFolder(result.path) for result in results]
    record, found, scores = results[0].record, [], []
    for task in record.tasks:
        a, b = (folder.items(task) for folder in folders)
        found.append(compare_items(task, a, b, tolerance_of(*dtypes)))
        means = [name for name in metric_names(record, task) if metric_of(record, task, name).kind == "mean"]
        if means:
            better = metric_of(record, task, means[0]).higher_is_better
            duel = compare_scores(task, means[0], a, b, higher_is_better=better)
            scores += [] if duel is None else [(task, means[0], duel)]
    return Pair(_name(reference), _name(other), (results[0].path, results[1].path), dtypes, tuple(found), tuple(scores))


def _name(side: tuple[Side, RunResult]) -> str:
    record = side[1].record
    backend = side[0].backend if side[0].backend != "auto" else record.backend.name
    return f"{record.model}:{backend} ({record.backend.dtype})"


def exit_code(pairs: Sequence[Pair], left_out: Sequence[LeftOut]) -> int:
    """1 for a difference beyond tolerance or missing docs, 2 for a side that could not open the model, else 0."""
    if any(task.verdict in ("beyond", "docs missing") for pair in pairs for task in pair.tasks):
        return 1
    return 2 if any(not one.missing for one in left_out) else 0


def to_json(pairs: Sequence[Pair], left_out: Sequence[LeftOut]) -> dict[str, Json]:
    """The object that `--json` prints."""
    return {
        "pairs": [
            {
                "reference": pair.reference,
                "side": pair.name,
                "runs": [str(path) for path in pair.runs],
                "dtypes": list(pair.dtypes),
                "tasks": [{**asdict(task), "verdict": task.verdict} for task in pair.tasks],
                "scores": [_score(*score) for score in pair.scores],
            }
            for pair in pairs
        ],
        "left_out": [{"model": one.side.model, "backend": one.side.backend, "reason": one.reason} for one in left_out],
        "kl": None,
        "kl_note": NO_KL,
    }


def _score(task: str, metric: str, found: Duel) -> dict[str, Json]:
    return {
        "task": task,
        "metric": metric,
        "n": found.n,
        "reference": found.score_a,
        "side": found.score_b,
        "lost": found.losses,
        "won": found.wins,
        "p": found.p,
        "method": found.method,
    }


def show(pairs: Sequence[Pair], *, with_scores: bool) -> None:
    """A table per pair, and what to know with it, on stdout."""
    console = stdout()
    for pair in pairs:
        tell(f"{pair.name}  against  {pair.reference}", "bold")
        print_table(_table(pair.tasks))
        if with_scores and pair.scores:
            print_table(_score_table(pair.scores))
        for line in remarks(pair, with_scores=with_scores):
            console.print(cell(line))
    if with_scores:
        console.print(cell(NO_KL))


def _table(tasks: Sequence[TaskParity]) -> Table:
    names = ("docs", "largest", "mean", "flips", "same text", "verdict")
    table = figure_table("task", *names, left=("verdict",))
    for found in tasks:
        same = f"{found.texts_equal}/{found.texts}" if found.texts else ""
        counts = (_nats(found.largest), _nats(found.mean), found.flips, same)
        table.add_row(cell(found.task), cell(found.docs), *map(cell, counts), cell(_verdict(found)))
    return table


def _score_table(scores: Sequence[tuple[str, str, Duel]]) -> Table:
    table = figure_table("task", "reference", "this", "lost/won", "p", "test", left=("test",))
    for task, metric, found in scores:
        flips = f"{found.losses}/{found.wins}"
        values = (number(found.score_a), number(found.score_b), flips, p_value(found.p), found.method)
        table.add_row(cell(f"{task} {metric}"), *map(cell, values))
    return table


def _nats(value: float | None) -> str:
    return "" if value is None else "0" if value == 0 else f"{value:.1e}"


def _verdict(found: TaskParity) -> str:
    if found.verdict in ("within", "beyond") and found.tolerance is not None:
        return f"{found.verdict} {found.tolerance.absolute:g}"
    return found.verdict


def remarks(pair: Pair, *, with_scores: bool = False) -> list[str]:
    """What a reader must know of one pair."""
    from benchbench.extensions.parity.verdict import TOLERANCES

    lines = ["largest, mean: differences of log-likelihoods, in nats. flips: docs whose chosen answer differs."]
    unknown = list(dict.fromkeys(dtype for dtype in pair.dtypes if dtype not in TOLERANCES))
    if UNSTATED in unknown:
        lines.append("not judged: a server does not say in which number type it computes; read largest and flips.")
        unknown.remove(UNSTATED)
    if unknown:
        lines.append(
            f"not judged: no tolerance holds for {' and '.join(unknown)}, which rounds on its own; read flips."
        )
    if any(task.texts for task in pair.tasks):
        lines.append("Texts are counted and not judged: after one near tie all that follows may differ.")
    for task in pair.tasks:
        if task.beyond:
            share = f"{task.beyond} of {task.loglikelihoods} log-likelihoods are beyond the tolerance"
            lines.append(f"{task.task}: {share}; the largest is in doc {task.worst_doc}.")
        if task.tokens_differ:
            why = "other tokenizers"
            if UNSTATED in pair.dtypes:
                why += ", or a server that does not count the token that begins a text"
            lines.append(f"{task.task}: {task.tokens_differ} docs differ in their number of tokens: {why}.")
        if task.left_out:
            lines.append(f"{task.task}: {task.left_out} docs were left out, which a side failed or lacks.")
    if with_scores:
        lines.append("lost/won: docs on which this model does worse / better than the reference.")
    return lines

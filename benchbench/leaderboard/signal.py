"""Which tasks, shots and metrics tell checkpoints apart: from the trainings in the store, for a budget of docs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchbench.core.errors import ArgumentError, StoreError
from benchbench.core.types import Json
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Cell, Records, Variant
from benchbench.leaderboard.trainings import series_of_cells
from benchbench.stats.allocation import Resolution, allocate, resolution

ENOUGH = 2.0
"""Ratio of signal to noise below which a task is left out."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One way of asking and scoring a task, over all trainings that have it."""

    task: str
    num_fewshot: str
    metric: str
    trainings: int
    docs: int
    ratio: float
    """Median over the trainings of gain over the second half, in its standard errors."""
    monotonicity: float | None
    spread: float
    """Median standard deviation of one doc's share in the gain."""
    is_chosen: bool = False
    """The best of its task, and above `ENOUGH`."""
    share_of_budget: int | None = None
    """Docs that the budget gives it."""


def signals(records: Records, budget: int | None = None) -> list[Signal]:
    """Every task, shots and metric, the strongest first; of each task the strongest is chosen if it is enough.

    Raises:
        ArgumentError: no training has four checkpoints of any task, or the budget is smaller than the tasks chosen.
    """
    found: dict[tuple[Variant, str], list[Resolution]] = {}
    items = ItemScores()
    for entries in records.trainings().values():
        for variant in sorted({variant for entry in entries for variant in entry.cells}):
            known = [(entry.position, entry.cells[variant]) for entry in entries if variant in entry.cells]
            for metric in dict.fromkeys(row.metric for _, cell in known for row in cell.rows):
                one = _resolution([(place, cell.by(metric)) for place, cell in known], items)
                if one is not None:
                    found.setdefault((variant, metric), []).append(one)
    if not found:
        raise ArgumentError("no training here has four checkpoints of a task with known errors: no signal can be read.")
    rows = sorted((_summed(variant, metric, known) for (variant, metric), known in found.items()), key=_strength)
    return _chosen(rows, budget)


def _strength(row: Signal) -> float:
    return -row.ratio


def _resolution(points: Sequence[tuple[int | None, Cell | None]], items: ItemScores) -> Resolution | None:
    known = [(place, cell) for place, cell in points if place is not None and cell is not None]
    if len(known) < 4:
        return None
    try:
        series, _ = series_of_cells([place for place, _ in known], [cell for _, cell in known], items)
    except (StoreError, ValueError):
        return None
    return resolution(series)


def _summed(variant: Variant, metric: str, known: Sequence[Resolution]) -> Signal:
    rises = [one.monotonicity for one in known if one.monotonicity is not None]
    return Signal(
        variant.task,
        variant.num_fewshot,
        metric,
        len(known),
        max(one.docs for one in known),
        float(np.median([one.ratio for one in known])),
        float(np.median(rises)) if rises else None,
        float(np.median([one.spread for one in known])),
    )


def _chosen(rows: Sequence[Signal], budget: int | None) -> list[Signal]:
    best: dict[str, Signal] = {}
    for row in rows:
        best.setdefault(row.task, row)
    chosen = [row for row in best.values() if row.ratio >= ENOUGH]
    docs: dict[int, int] = {}
    if budget is not None and chosen:
        if budget < len(chosen):
            raise ArgumentError(f"--budget {budget} is less than a doc for each of {len(chosen)} tasks; give more.")
        given = allocate([r.spread for r in chosen], [r.docs for r in chosen], [1.0] * len(chosen), budget)
        docs = dict(zip(map(id, chosen), given, strict=True))
    kept = {id(row) for row in chosen}
    return [replace(row, is_chosen=id(row) in kept, share_of_budget=docs.get(id(row))) for row in rows]


def suite_file(name: str, rows: Sequence[Signal]) -> str:
    """A suites.yaml of the tasks chosen; ArgumentError if none is."""
    chosen = [row for row in rows if row.is_chosen]
    if not chosen:
        raise ArgumentError(f"no task here has a signal of {ENOUGH:g} times its noise; there is no suite to write.")
    about = "Tasks that told checkpoints apart, the strongest first; by benchbench sweep signal."
    lines = [f"{name}:", f"  description: {about}", "  tasks:"]
    for row in chosen:
        limit = "" if row.share_of_budget is None else f", --limit {row.share_of_budget} --random-docs"
        lines.append(f"    - {row.task}  # {row.metric}, {row.num_fewshot} shots, signal/noise {row.ratio:.1f}{limit}")
    return "\n".join(lines) + "\n"


def as_json_row(row: Signal) -> dict[str, Json]:
    """A row for `--json`."""
    names = ("task", "num_fewshot", "metric", "trainings", "docs", "ratio", "monotonicity", "is_chosen")
    return {name: getattr(row, name) for name in (*names, "share_of_budget")}

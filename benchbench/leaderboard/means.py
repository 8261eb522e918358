"""Mean of one model's tasks, each from chance (0) to the best score (1), with its interval: of boards and curves."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from benchbench.leaderboard.records import Cell, finite
from benchbench.stats.board import chance_normalised
from benchbench.stats.groups import GroupMean, group_mean
from benchbench.stats.intervals import Interval


def mean_score(
    cells: Sequence[Cell], weights: Sequence[float] | None = None, correlation: ArrayLike | None = None
) -> GroupMean:
    """Weighted mean of the cells' normalised scores.

    Args:
        cells: of one model, one per task.
        weights: scaled to sum 1; equal where None.
        correlation: shape (tasks, tasks), of the tasks' errors; independent where None.
    """
    return group_mean(
        [normalised(cell) for cell in cells],
        [scaled_error(cell) for cell in cells],
        [max(1, (cell.row.get("n_clusters") or cell.row["n"] or 2) - 1) for cell in cells],
        weights,
        intervals=[_scaled_interval(cell) for cell in cells],
        correlation=correlation,
    )


def normalised(cell: Cell) -> float:
    """The score from chance (0) to the best (1); not cut at 0. Without a value: 0."""
    floor, ceiling = bounds(cell)
    return chance_normalised(floor if cell.value is None else cell.value, floor, ceiling)


def scaled_error(cell: Cell) -> float | None:
    """The score's standard error on that scale."""
    floor, ceiling = bounds(cell)
    return None if cell.stderr is None else cell.stderr / (ceiling - floor)


def bounds(cell: Cell) -> tuple[float, float]:
    """Score of a guesser and best score; 0 and 1 where they are not known."""
    return cell.range or (0.0, 1.0)


def _scaled_interval(cell: Cell) -> Interval | None:
    floor, ceiling = bounds(cell)
    low, high = finite(cell.row.get("ci_low")), finite(cell.row.get("ci_high"))
    if low is None or high is None:
        return None
    return Interval((low - floor) / (ceiling - floor), (high - floor) / (ceiling - floor))

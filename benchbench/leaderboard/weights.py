"""How much each task counts in a mean of tasks: one rule for suites, boards, comparisons and trainings.

Benchmarks count alike, and the tasks of one benchmark share its weight: by their number of docs where the benchmark
says so (MMLU), else alike. Were tasks to count alike, MMLU's 57 subjects beside ten other tasks would be 85 % of the
mean. That is the other rule, for those who want it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from benchbench.core.record import RunRecord
from benchbench.leaderboard.records import Cell
from benchbench.stats.groups import GroupMean, group_mean
from benchbench.stats.intervals import Interval
from benchbench.stats.ranks import chance_normalised

Weighting = Literal["benchmarks", "tasks"]
"""What counts alike."""
RULES: Mapping[Weighting, str] = {
    "benchmarks": "benchmarks count alike, and the tasks of one share its weight",
    "tasks": "tasks count alike",
}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Tasks that count as one, such as the subjects of MMLU."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool


def benchmarks(records: Iterable[RunRecord]) -> tuple[Benchmark, ...]:
    """The groups that the runs' records name, largest first; of two of one name the one with more tasks."""
    found: dict[str, Benchmark] = {}
    for record in records:
        for group in record.groups:
            made = Benchmark(group.name, group.tasks, group.weight_by_size)
            known = found.get(made.name)
            if known is None or len(made.tasks) > len(known.tasks):
                found[made.name] = made
    return tuple(sorted(found.values(), key=lambda group: (-len(group.tasks), group.name)))


def benchmark_of(task: str, groups: Sequence[Benchmark]) -> Benchmark | None:
    """The largest benchmark that the task belongs to; None for a task that is one by itself."""
    return next((group for group in groups if task in group.tasks), None)


def weights_of(
    docs: Mapping[str, float], groups: Sequence[Benchmark], weighting: Weighting = "benchmarks"
) -> dict[str, float]:
    """Task → weight, sum 1. `docs` holds the number of docs of each task."""
    units: dict[str, dict[str, float]] = {}
    for task, count in docs.items():
        group = None if weighting == "tasks" else benchmark_of(task, groups)
        share = count if group is not None and group.weight_by_size else 1.0
        units.setdefault(f"task {task}" if group is None else f"group {group.name}", {})[task] = share
    return {
        task: share / sum(members.values()) / len(units)
        for members in units.values()
        for task, share in members.items()
    }


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
        [max(1, (cell.row.n_clusters or cell.row.n or 2) - 1) for cell in cells],
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
    low, high = cell.row.ci_low, cell.row.ci_high
    if low is None or high is None:
        return None
    return Interval((low - floor) / (ceiling - floor), (high - floor) / (ceiling - floor))

"""How much each task counts in a mean of tasks: one rule for suites, boards, comparisons and trainings.

Benchmarks count alike, and the tasks of one benchmark share its weight: by their number of docs where the benchmark
says so (MMLU), else alike. Were tasks to count alike, MMLU's 57 subjects beside ten other tasks would be 85 % of the
mean. That is the other rule, for those who want it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Weighting = Literal["benchmarks", "tasks"]
"""What counts alike."""
WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
SAID: Mapping[Weighting, str] = {
    "benchmarks": "benchmarks count alike, and the tasks of one share its weight",
    "tasks": "tasks count alike",
}


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Tasks that count as one, such as the subjects of MMLU."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool


def benchmarks(records: Iterable[Mapping[str, Any]]) -> tuple[Benchmark, ...]:
    """The groups that the runs' records name, largest first; of two of one name the one with more tasks."""
    found: dict[str, Benchmark] = {}
    for record in records:
        for group in record["groups"]:
            made = Benchmark(str(group["name"]), tuple(map(str, group["tasks"])), bool(group["weight_by_size"]))
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

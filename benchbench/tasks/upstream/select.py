"""`lm_eval:NAME` → tasks, and the groups whose rows are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchbench.core.errors import TaskError
from benchbench.tasks.index import Group, GroupMetric
from benchbench.tasks.upstream import PREFIX
from benchbench.tasks.upstream.definition import UpstreamTask
from benchbench.tasks.upstream.library import Leaf, leaves, load
from benchbench.tasks.upstream.names import find


def select(entry: str) -> tuple[list[UpstreamTask], list[Group]]:
    """The tasks of a name, glob, tag, group or YAML file. TaskError if lm-eval has none, or is not installed."""
    tasks: dict[str, UpstreamTask] = {}
    groups: dict[str, Group] = {}
    for named in find(entry.removeprefix(PREFIX)):
        loaded = load(named)
        for leaf in leaves(loaded):
            tasks[leaf.task_name] = UpstreamTask.of(leaf)
        groups |= {group.name: group for group in _groups(loaded)}
    if not tasks:
        raise TaskError(f"{entry} holds no task.")
    return [*tasks.values()], [*groups.values()]


def _groups(loaded: Any) -> Iterator[Group]:
    """A group and those below it, the inner ones first; those that aggregate nothing are left out."""
    if isinstance(loaded, (Leaf, list)):
        return
    for child in loaded:
        yield from _groups(child)
    if loaded.has_aggregation:
        tasks = tuple(PREFIX + leaf.task_name for leaf in leaves(loaded))
        metrics = tuple(_metric(stated) for stated in loaded.aggregate_metric_list)
        yield Group(PREFIX + loaded.name, tasks, all(one.weight_by_size for one in metrics), metrics)


def _metric(stated: Any) -> GroupMetric:
    filters = stated.filter_list
    names = None if filters is None else (filters,) if isinstance(filters, str) else tuple(map(str, filters))
    return GroupMetric(str(stated.metric), names, bool(stated.weight_by_size))

"""lm-eval as a source of tasks: `lm_eval:NAME` → tasks, and the groups whose rows are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchbench.core.errors import TaskError
from benchbench.core.task_scoring import Group, GroupMetric
from benchbench.extensions.lm_eval import PREFIX
from benchbench.extensions.lm_eval.library import Definition, definitions, load
from benchbench.extensions.lm_eval.names import find, matching
from benchbench.extensions.lm_eval.task import UpstreamTask
from benchbench.tasks.prepared import PreparedTask
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.sources import SourceEntry


class LmEvalTasks:
    """See `tasks.sources.TaskSource`."""

    title = "lm-eval"

    def entries(self, pattern: str) -> list[SourceEntry]:
        """See TaskSource: names, groups and tags, from the heads of lm-eval's files."""
        found = matching(pattern.removeprefix(PREFIX))
        return [SourceEntry(PREFIX + one.name, one.kind, one.path, one.members) for one in found]

    def select(self, entry: str) -> tuple[list[UpstreamTask], list[Group]]:
        """See TaskSource: the tasks of a name, glob, tag, group or YAML file."""
        tasks: dict[str, UpstreamTask] = {}
        groups: dict[str, Group] = {}
        for named in find(entry.removeprefix(PREFIX)):
            loaded = load(named)
            for definition in definitions(loaded):
                tasks[definition.task_name] = UpstreamTask.of(definition)
            groups |= {group.name: group for group in _groups(loaded)}
        if not tasks:
            raise TaskError(f"{entry} holds no task.")
        return [*tasks.values()], [*groups.values()]

    def prepare(self, task: UpstreamTask, settings: RenderSettings) -> PreparedTask:
        """See TaskSource. TaskError for Python without permission."""
        from benchbench.extensions.lm_eval.prepare import prepare_upstream  # the statistics only where docs are scored

        return prepare_upstream(task, settings)


def _groups(loaded: Any) -> Iterator[Group]:
    """A group and those below it, the inner ones first; those that aggregate nothing are left out."""
    if isinstance(loaded, (Definition, list)):
        return
    for child in loaded:
        yield from _groups(child)
    if loaded.has_aggregation:
        tasks = tuple(PREFIX + definition.task_name for definition in definitions(loaded))
        metrics = tuple(_metric(stated) for stated in loaded.aggregate_metric_list)
        yield Group(PREFIX + loaded.name, tasks, all(one.weight_by_size for one in metrics), metrics)


def _metric(stated: Any) -> GroupMetric:
    filters = stated.filter_list
    names = None if filters is None else (filters,) if isinstance(filters, str) else tuple(map(str, filters))
    return GroupMetric(str(stated.metric), names, bool(stated.weight_by_size))

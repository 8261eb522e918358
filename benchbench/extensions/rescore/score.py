"""`score`: metrics for a finished run, from what it stored. The run's own results are never touched."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from benchbench.core import __version__
from benchbench.core.errors import ArgumentError, DataError, did_you_mean
from benchbench.core.post_metrics import post_metric_names
from benchbench.core.record import GroupRecord, Row, RunRecord
from benchbench.core.registry import FAMILIES, metric_names
from benchbench.core.types import Item, Json, MetricResult, OutputType, ScoringSpec
from benchbench.extensions.rescore.post_metric import CostEstimate, EstimatesCost, PostMetric, make_post_metric
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import (
    ScoredMetric,
    ScoreResult,
    State,
    StoredTask,
    column_names,
    needs_documents,
    rescore,
    spec_for,
)
from benchbench.runner.events import Note, OnEvent, ignore
from benchbench.runner.record import now, versions
from benchbench.scoring.aggregation import aggregate, aggregate_group
from benchbench.store.damage import damage_of_run, restore_file
from benchbench.store.extra_scores import SCORES, AddedMetric, live_path, read_added, remove_added, write_added
from benchbench.store.files import remove_strays
from benchbench.store.folder import RunFolder
from benchbench.store.lock import RunLock
from benchbench.store.names import folder_name
from benchbench.tasks.index import TaskIndex

SEED = 1234
"""Where the record does not say which seed the run had."""
SAME = 1e-9
"""Relative difference up to which a recomputed value is the recorded one."""


def score(run: RunFolder, settings: ScoreSettings, *, on_event: OnEvent = ignore) -> ScoreResult:
    """Computes the metrics for every task of the run that they fit, and adds what the run does not have itself.

    Raises the BenchbenchError of whatever is wrong with the run, its data, a metric's name or COMET's environment.
    """
    _check_metrics(settings.metrics)
    run.own_record()
    with RunLock(run.path), ExitStack() as stack:
        remove_strays(run.path)
        _take_damaged_away(run, settings.metrics, on_event)
        record = run.own_record()
        rescoring = Rescoring(run, record, settings, on_event, stack)
        scored = [one for metric in settings.metrics for one in rescoring.score(metric)]
        rescoring.add_groups({one.metric for one in scored})
    return ScoreResult(run.path, run.record(), tuple(scored))


def estimate_costs(
    run: RunFolder, settings: ScoreSettings, *, on_event: OnEvent = ignore
) -> list[tuple[str, str, CostEstimate]]:
    """(metric, task, what scoring it would ask of a model), for metrics that can tell. Opens no model, writes nothing.

    ArgumentError if none of the metrics can tell.
    """
    _check_metrics(settings.metrics)
    found = []
    with ExitStack() as stack:
        rescoring = Rescoring(run, run.own_record(), settings, on_event, stack)
        for metric in settings.metrics:
            found += [(metric, task, cost) for task, cost in rescoring.costs(metric)]
    if not found:
        raise ArgumentError(f"--dry-run: {', '.join(settings.metrics)} asks no model that counts tokens beforehand.")
    return found


def score_again(run: RunFolder, lost: Sequence[Path], *, on_event: OnEvent = ignore) -> None:
    """Makes added scores again of which a file is damaged: those that the paths in `lost` name. Errors as `score`."""
    record, index = run.own_record(), {folder_name(name): name for name in run.own_record().tasks}
    for folder, metric in dict.fromkeys((path.parent.name, _metric_of(path)) for path in lost):
        members = next((one.tasks for one in record.groups if folder_name(one.name) == folder), ())
        tasks = ",".join([index[folder]] if folder in index else members)
        plan = run.plan().provenance
        data_root = None if plan.data_root is None else Path(plan.data_root)
        paths = tuple(map(Path, plan.include_paths))
        settings = ScoreSettings((metric,), tasks=tasks or None, include_paths=paths, data_root=data_root)
        score(run, settings, on_event=on_event)


def _metric_of(path: Path) -> str:
    """The metric of `<metric>.json`, or of `<metric>-<8 hex>.parquet`."""
    return path.stem if path.suffix == ".json" else path.stem[:-9]


def _take_damaged_away(run: RunFolder, metrics: Sequence[str], on_event: OnEvent) -> None:
    """Restores what is damaged of added scores from its copy; takes away what is made again now."""
    for damage in [one for one in damage_of_run(run) if one.path.parent.parent == run.path / SCORES]:
        metric = _metric_of(damage.path)
        if damage.remedy in ("copy", "original"):
            restore_file(damage)
            on_event(Note(f"{damage.why} It was restored."))
        elif damage.path.suffix == ".json" and any(folder_name(name) == metric for name in metrics):
            remove_added(run.path, damage.path.parent.name, metric)
            on_event(Note(f"{damage.why} It is made again."))


def _check_metrics(metrics: Sequence[str]) -> None:
    known = post_metric_names() | {name for kind in FAMILIES for name in metric_names(kind)}
    for name in metrics:
        if name not in known:
            raise ArgumentError(
                f"there is no metric {name!r}.{did_you_mean(name, known)} There are {', '.join(sorted(known))}."
            )


class Rescoring:
    """One run while it is scored again."""

    def __init__(
        self,
        run: RunFolder,
        record: RunRecord,
        settings: ScoreSettings,
        on_event: OnEvent,
        stack: ExitStack,
    ) -> None:
        self.run, self.record, self.settings, self.on_event, self._stack = run, record, settings, on_event, stack
        self._made: dict[tuple[str, tuple[tuple[str, str], ...]], _FromItems | _FromPostMetric] = {}
        self.tasks = [
            StoredTask(run, record, name, lambda: self.index, settings.data_root)
            for name in _chosen(list(record.tasks), settings.tasks)
        ]

    @cached_property
    def index(self) -> TaskIndex:
        """Task files of today."""
        return TaskIndex(self.settings.include_paths)

    def score(self, metric: str) -> list[ScoredMetric]:
        """The metric for every task that it fits.

        Raises:
            ArgumentError: it fits none of the tasks that were asked for.
            DataError: it has a value for none of them.
        """
        fitting = [(task, way) for task in self.tasks for way in self._ways(metric, task) if _fits(way, task)]
        if not fitting:
            kinds = {task.name: f"is {task.spec.output_type}" for task in self.tasks}
            raise ArgumentError(f"{metric} fits no task of the run: {_some(kinds)}.")
        reasons_of = [(task, way, _missing(way, task)) for task, way in fitting]
        skipped = {task.name: reason for task, _, reason in reasons_of if reason is not None}
        if all(reason is not None for _, _, reason in reasons_of):
            raise ArgumentError(f"{metric} cannot be computed: {_some(skipped)}.")
        if skipped:
            self.on_event(Note(f"{metric}: {len(skipped)} of {len(fitting)} tasks passed over: {_some(skipped)}."))
        found = [way.score(task) for task, way, reason in reasons_of if reason is None]
        reasons = [one for one in found if isinstance(one, str)]
        if len(reasons) == len(found):
            raise DataError(f"{metric} has no value from what the run stored: {'; '.join(reasons[:3])}.")
        if reasons:
            self.on_event(Note(f"{metric} has no value for {'; '.join(reasons[:3])}."))
        return [one for one in found if not isinstance(one, str)]

    def costs(self, metric: str) -> list[tuple[str, CostEstimate]]:
        """What the metric would cost for each task, where it can tell. ArgumentError if a task lacks something."""
        found = []
        for task in self.tasks:
            for way in self._ways(metric, task):
                if isinstance(way, _FromPostMetric) and _fits(way, task):
                    if (reason := _missing(way, task)) is not None:
                        raise ArgumentError(f"{metric} cannot be computed: {task.name} {reason}.")
                    if (cost := way.cost(task)) is not None:
                        found.append((task.name, cost))
        return found

    def _ways(self, metric: str, task: StoredTask) -> list[_FromItems | _FromPostMetric]:
        """How the metric is computed for the task: once, or for each time that its `metric_list` names it."""
        listed = task.listed(metric, self.on_event, trusted=self.settings.trust_task_code)
        return [self._way(metric, tuple(sorted(options.items()))) for options in listed or [{}]]

    def _way(self, metric: str, options: tuple[tuple[str, str], ...]) -> _FromItems | _FromPostMetric:
        """The same for all tasks that list the metric with the same options."""
        if (metric, options) not in self._made:
            settings = replace(self.settings, options={**dict(options), **self.settings.options})
            post_metric = make_post_metric(metric, settings, self.on_event)
            if post_metric is None:
                self._made[metric, options] = _FromItems(self, metric)
            else:
                self._stack.callback(post_metric.close)
                self._made[metric, options] = _FromPostMetric(self, metric, post_metric)
        return self._made[metric, options]

    def before(self, task: str, metric: str) -> AddedMetric | None:
        """What was added to the task under this name before."""
        return next((one for one in read_added(self.run.path) if (one.task, one.metric) == (task, metric)), None)

    def rows(
        self,
        task: str,
        spec: ScoringSpec,
        items: Sequence[Item],
        signature: tuple[str, ...],
        remarks: Sequence[str] = (),
        *,
        best_of_targets: bool = True,
    ) -> tuple[Row, ...]:
        """Rows of the one metric, shaped as those of the run."""
        model, seed = self.record.rows_of(task)[0], self.record.settings.get("seed")
        wanted = column_names(spec)
        found = [
            result
            for result in aggregate(spec, items, seed=seed if isinstance(seed, int) else SEED)
            if result.metric in wanted
        ]
        several = any(len(item.targets) > 1 for item in items) and bool(signature) and best_of_targets
        notes = (*remarks, *signature, *(["of several references the best counts"] if several else []))
        return tuple(_row(model, result, signature, notes) for result in found)

    def add(
        self,
        task: str,
        spec: ScoringSpec,
        items: Sequence[Item],
        rows: tuple[Row, ...],
        made: Mapping[str, Json],
        asked: str | None = None,
    ) -> ScoredMetric | str:
        """Writes the rows, or says why there is no value. `asked` is the name by which a post-metric was asked for."""
        metric = spec.metrics[0]
        if all(row.value is None for row in rows):
            return f"{task}: {rows[0].note}"
        state: State = "added" if self.before(task, metric.name) is None else "replaced"
        write_added(
            self.run.path,
            AddedMetric(task=task, spec=metric, rows=rows, part=None, made={**_made_now(), **made}, asked=asked),
            items,
        )
        return ScoredMetric(task, metric.name, state, rows)

    def add_groups(self, metrics: set[str]) -> None:
        """Rows of the run's groups, for metrics that all tasks of a group now have in the same way."""
        record = self.run.record()
        added = {(one.task, one.metric): one for one in read_added(self.run.path)}
        for group in self.record.groups:
            for metric in metrics:
                found = [added.get((task, metric)) for task in group.tasks]
                members = [one for one in found if one is not None]
                specs = [one.spec for one in members]
                if len(members) < len(found) or any(spec != specs[0] for spec in specs) or not members:
                    remove_added(self.run.path, group.name, metric)
                    continue
                self._add_group(group, record, members)

    def _add_group(self, group: GroupRecord, record: RunRecord, members: Sequence[AddedMetric]) -> None:
        name = group.name
        model = next((row for row in record.rows if row.task == name and row.is_group), None)
        if model is None:
            return
        results = {one.task: [_result(row) for row in one.rows] for one in members}
        found = aggregate_group(name, results, weight_by_size=group.weight_by_size)
        rows = tuple(_row(model, result, (), ()) for result in found)
        write_added(self.run.path, AddedMetric(task=name, spec=members[0].spec, rows=rows, part=None, made=_made_now()))


class _FromItems:
    """A metric of benchbench's own, computed again from the stored items."""

    def __init__(self, rescoring: Rescoring, metric: str) -> None:
        self._rescoring, self._metric = rescoring, metric

    def fits(self, output_type: OutputType) -> bool:
        """Whether it scores answers of such tasks."""
        return self._metric in metric_names(output_type)

    def missing(self, task: StoredTask) -> str | None:
        """What keeps it from scoring the task, as the end of a sentence; None if nothing does."""
        return task.lacks_documents() if needs_documents(spec_for(task.spec, self._metric)) else None

    def score(self, task: StoredTask) -> ScoredMetric | str:
        """Scores the task, or says why there is no value. What the run has itself is compared and not written."""
        spec, name = spec_for(task.spec, self._metric), task.name
        found = rescore(spec, task.items, task.documents if needs_documents(spec) else None)
        rows = self._rescoring.rows(name, spec, found, signature=())
        own = {row.metric: row for row in self._rescoring.record.rows_of(name)}
        if all(row.metric in own for row in rows):
            same = all(_same(row.value, own[row.metric].value) for row in rows)
            return ScoredMetric(name, self._metric, "confirmed" if same else "differs", rows)
        by: dict[str, Json] = {"benchbench": __version__, **versions()}
        return self._rescoring.add(name, spec, found, rows, {"by": by})


class _FromPostMetric:
    """A metric with a model or program of its own; scores that rest on the same facts are kept."""

    def __init__(self, rescoring: Rescoring, name: str, metric: PostMetric) -> None:
        self._rescoring, self._name, self._metric = rescoring, name, metric

    def fits(self, output_type: OutputType) -> bool:
        """See PostMetric."""
        return self._metric.fits(output_type)

    def missing(self, task: StoredTask) -> str | None:
        """See PostMetric."""
        return self._metric.missing(task)

    def cost(self, task: StoredTask) -> CostEstimate | None:
        """What scoring would ask of a model; None where the metric cannot say."""
        return self._metric.estimate(task) if isinstance(self._metric, EstimatesCost) else None

    def score(self, task: StoredTask) -> ScoredMetric | str:
        """Scores the task and writes the scores, or says why there is no value."""
        info, name = self._metric.info(task), task.name
        before = self._rescoring.before(name, info.metric.name)
        same = before is not None and all(before.made.get(fact) == value for fact, value in info.facts.items())
        if before is not None and same and not self._rescoring.settings.fresh:
            return ScoredMetric(name, info.metric.name, "kept", before.rows)
        filters = task.spec.filters if info.every_filter and not info.parts else ()
        spec, began = replace(task.spec, metrics=(info.metric,), filters=filters), time.monotonic()
        live = live_path(self._rescoring.run.path, name, info.metric.name)
        found = self._metric.items(spec, task, live)
        parts = tuple(replace(info.metric, name=f"{info.metric.name},{part}") for part in info.parts)
        whole = replace(spec, metrics=(info.metric, *parts))
        told = (info.signature,), info.remarks
        rows = self._rescoring.rows(name, whole, found, *told, best_of_targets=info.every_filter)
        made = {**info.facts, **info.recorded, "seconds": round(time.monotonic() - began, 3)}
        return self._rescoring.add(name, spec, found, rows, made, self._name)


def _made_now() -> dict[str, Json]:
    return {"finished": now(), "host": socket.gethostname(), "benchbench": __version__}


def _fits(way: _FromItems | _FromPostMetric, task: StoredTask) -> bool:
    return way.fits(task.spec.output_type)


def _missing(method: _FromItems | _FromPostMetric, task: StoredTask) -> str | None:
    return method.missing(task) if task.has_items else "has no stored items"


def _chosen(known: list[str], wanted: str | None) -> list[str]:
    if wanted is None:
        return known
    patterns = [part.strip() for part in wanted.split(",") if part.strip()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise ArgumentError(
                f"the run has no task {pattern!r}; it has {', '.join(known[:8])}.{did_you_mean(pattern, known)}"
            )
    return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _some(passed: Mapping[str, str]) -> str:
    """Of tasks with the same reason the first is enough."""
    first: dict[str, str] = {}
    for task, reason in passed.items():
        first.setdefault(reason, task)
    return "; ".join(f"{task} {reason}" for reason, task in list(first.items())[:3])


def _row(model: Row, result: MetricResult, signature: Sequence[str], notes: Sequence[str]) -> Row:
    """`model` is a row of the same task or group: what it says of model, step and shots holds here, too."""
    parts = [part for part in model.signature.split("|") if not part.startswith("benchbench:")]
    parts = [f"n:{result.n}" if part.startswith("n:") else part for part in parts]
    line = "|".join([*parts, *signature, f"benchbench:{__version__}"])
    note = "; ".join([*([result.note] if result.note else []), *notes]) or None
    own = {field.name: getattr(result, field.name) for field in fields(MetricResult)}
    return replace(model, **{**own, "signature": line, "note": note})


def _result(row: Row) -> MetricResult:
    return MetricResult(**{field.name: getattr(row, field.name) for field in fields(MetricResult)})


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=SAME, abs_tol=SAME)

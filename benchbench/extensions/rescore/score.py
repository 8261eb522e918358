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

from benchbench.core.errors import ArgumentError, DataError, TaskError, did_you_mean
from benchbench.core.record import GroupRecord, Row, RunRecord
from benchbench.core.registry import FAMILIES, metric_names
from benchbench.core.types import Item, Json, MetricResult, OutputType, ScoringSpec
from benchbench.core.version import __version__
from benchbench.extensions.comet.model import METRIC as COMET
from benchbench.extensions.comet.process import CometProcess
from benchbench.extensions.rescore.comet_metric import comet_items, comet_spec
from benchbench.extensions.rescore.stored import (
    Scored,
    ScoreResult,
    ScoreSettings,
    State,
    column_names,
    needs_documents,
    rescore,
    spec_for,
)
from benchbench.runner.events import Note, OnEvent, OpeningModel, ignore
from benchbench.runner.record import now, versions
from benchbench.scoring import aggregate, aggregate_group
from benchbench.store.extra_scores import AddedMetric, live_path, read_added, remove_added, write_added
from benchbench.store.files import remove_strays
from benchbench.store.folder import RunFolder
from benchbench.store.lock import RunLock
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.recorded_task import Again

SEED = 1234
"""Where the record does not say which seed the run had."""
SAME = 1e-9
"""Relative difference up to which a recomputed value is the recorded one."""


def score(run: RunFolder, settings: ScoreSettings, *, on_event: OnEvent = ignore) -> ScoreResult:
    """Computes the metrics for every task of the run that they fit, and adds what the run does not have itself.

    Raises the BenchbenchError of whatever is wrong with the run, its data, a metric's name or COMET's environment.
    """
    record = run.own_record()
    _check_metrics(settings.metrics)
    with RunLock(run.path), ExitStack() as stack:
        remove_strays(run.path)
        rescoring = Rescoring(run, record, settings, on_event, stack)
        scored = [one for metric in settings.metrics for one in rescoring.score(metric)]
        rescoring.add_groups({one.metric for one in scored})
    return ScoreResult(run.path, run.record(), tuple(scored))


def _check_metrics(metrics: Sequence[str]) -> None:
    known = {COMET} | {name for kind in FAMILIES for name in metric_names(kind)}
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
        self.tasks = _chosen(list(record.tasks), settings.tasks)
        self._items: dict[str, list[Item]] = {}

    @cached_property
    def index(self) -> TaskIndex:
        """Task files of today."""
        return TaskIndex(self.settings.include_paths)

    @cached_property
    def comet(self) -> CometProcess:
        """COMET's process, started when first wanted."""
        self.on_event(OpeningModel(self.settings.comet.model))
        return self._stack.enter_context(CometProcess(self.settings.comet))

    def score(self, metric: str) -> list[Scored]:
        """The metric for every task that it fits.

        Raises:
            ArgumentError: it fits none of the tasks that were asked for.
            DataError: it has a value for none of them.
        """
        kinds = {task: self._spec(task).output_type for task in self.tasks}
        judged = [task for task in self.tasks if self._judges(metric, kinds[task])]
        if not judged:
            raise ArgumentError(f"{metric} fits no task of the run: {_some({t: f'is {k}' for t, k in kinds.items()})}.")
        passed = {task: reason for task in judged if (reason := self._lacks(task, metric)) is not None}
        if len(passed) == len(judged):
            raise ArgumentError(f"{metric} cannot be computed: {_some(passed)}.")
        if passed:
            self.on_event(Note(f"{metric}: {len(passed)} of {len(judged)} tasks passed over: {_some(passed)}."))
        found = [
            self._comet(task) if metric == COMET else self._from_stored(task, metric)
            for task in judged
            if task not in passed
        ]
        reasons = [one for one in found if isinstance(one, str)]
        if len(reasons) == len(found):
            raise DataError(f"{metric} has no value from what the run stored: {'; '.join(reasons[:3])}.")
        if reasons:
            self.on_event(Note(f"{metric} has no value for {'; '.join(reasons[:3])}."))
        return [one for one in found if not isinstance(one, str)]

    @staticmethod
    def _judges(metric: str, kind: OutputType) -> bool:
        return kind == "generate_until" if metric == COMET else metric in metric_names(kind)

    def _lacks(self, task: str, metric: str) -> str | None:
        """What keeps a metric from a task that it could judge."""
        if not self.run.is_sealed(task):
            return "has no stored items"
        if metric == COMET or needs_documents(spec_for(self._spec(task), metric)):
            try:
                self._again(task).task  # noqa: B018 - whether the record holds one of our tasks
            except TaskError:
                return "is not defined by a task file of benchbench's, so its documents cannot be read again"
        if metric == COMET and self._template(task) is None:
            return "has no `doc_to_source`, which says what was to be translated; --source gives one, as '{{ text }}'"
        return None

    def _spec(self, task: str) -> ScoringSpec:
        return self.record.tasks[task].scoring.spec(task)

    def _template(self, task: str) -> str | None:
        return self.settings.source if self.settings.source is not None else self._again(task).source_template()

    def _again(self, task: str) -> Again:
        prompt = str(self.record.settings.get("prompt") or "default")
        return Again(task, self.record.tasks[task], prompt, self.index, self.settings.data_root)

    def items(self, task: str) -> list[Item]:
        """The task's items with their scores."""
        if task not in self._items:
            self._items[task] = self.run.items(task)
        return self._items[task]

    def _from_stored(self, task: str, metric: str) -> Scored | str:
        spec = spec_for(self._spec(task), metric)
        items = self.items(task)
        docs = self._again(task).documents(items) if needs_documents(spec) else None
        found = rescore(spec, items, docs)
        rows = self._rows(task, spec, found, signature=())
        own = {row.metric: row for row in self.record.rows_of(task)}
        if all(row.metric in own for row in rows):
            same = all(_same(row.value, own[row.metric].value) for row in rows)
            return Scored(task, metric, "confirmed" if same else "differs", rows)
        return self._add(task, spec, found, rows, {"by": {"benchbench": __version__, **versions()}})

    def _comet(self, task: str) -> Scored | str:
        recorded = self._spec(task)
        model = self.comet.model
        before = self._before(task, model.metric)
        made: dict[str, Json] = {"comet": model.facts, "source": self._template(task) or ""}
        same = before is not None and all(before.made.get(name) == value for name, value in made.items())
        if before is not None and same and not self.settings.fresh:
            return Scored(task, model.metric, "kept", before.rows)
        again, items = self._again(task), self.items(task)
        docs = again.documents(items)
        sources = again.sources(docs.values(), self.settings.source)
        spec, began = comet_spec(recorded, model), time.monotonic()
        live = live_path(self.run.path, task, model.metric)
        found = comet_items(spec, items, sources, self.comet, live, self.on_event)
        rows = self._rows(task, spec, found, signature=(model.signature,))
        made |= {"device": model.device, "seconds": round(time.monotonic() - began, 3)}
        return self._add(task, spec, found, rows, made)

    def _before(self, task: str, metric: str) -> AddedMetric | None:
        return next((one for one in read_added(self.run.path) if (one.task, one.metric) == (task, metric)), None)

    def _rows(self, task: str, spec: ScoringSpec, items: Sequence[Item], signature: tuple[str, ...]) -> tuple[Row, ...]:
        """Rows of the one metric, shaped as those of the run."""
        model, seed = self.record.rows_of(task)[0], self.record.settings.get("seed")
        wanted = column_names(spec)
        found = [
            result
            for result in aggregate(spec, items, seed=seed if isinstance(seed, int) else SEED)
            if result.metric in wanted
        ]
        several = any(len(item.targets) > 1 for item in items) and bool(signature)
        notes = (*signature, *(["of several references the best counts"] if several else []))
        return tuple(_row(model, result, signature, notes) for result in found)

    def _add(
        self, task: str, spec: ScoringSpec, items: Sequence[Item], rows: tuple[Row, ...], made: Mapping[str, Json]
    ) -> Scored | str:
        """Writes the rows, or says why there is no value."""
        metric = spec.metrics[0]
        if all(row.value is None for row in rows):
            return f"{task}: {rows[0].note}"
        state: State = "added" if self._before(task, metric.name) is None else "replaced"
        stamp = {"finished": now(), "host": socket.gethostname(), "benchbench": __version__}
        write_added(
            self.run.path, AddedMetric(task=task, spec=metric, rows=rows, part=None, made={**stamp, **made}), items
        )
        return Scored(task, metric.name, state, rows)

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
        stamp = {"finished": now(), "host": socket.gethostname(), "benchbench": __version__}
        write_added(self.run.path, AddedMetric(task=name, spec=members[0].spec, rows=rows, part=None, made=stamp))


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

"""An imported run: what a reader finds in a file, and the run folder that it becomes, with `origin` in its record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import NormalDist
from typing import TypeAlias

from benchbench.core import registry
from benchbench.core.ids import content_hash
from benchbench.core.json_record import finite
from benchbench.core.record import (
    UNKNOWN,
    BackendRecord,
    Counts,
    GroupRecord,
    Origin,
    PlannedTask,
    PlanRecord,
    Provenance,
    Row,
    RunRecord,
    ScoringRecord,
    TaskRecord,
    Work,
)
from benchbench.core.registry import METRICS, metric_range
from benchbench.core.types import Item, Json, MetricSpec
from benchbench.core.version import __version__
from benchbench.extensions.interchange.lm_eval_items import SamplesFile
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.names import folder_name, home_of

PREFERRED = ("acc", "exact_match", "f1", "acc_norm", "bleu", "word_perplexity", "perplexity", "ppl")
"""Which metric a task is known by, if it has one of these: sources list metrics in any order."""


Training: TypeAlias = "tuple[str, str | None, tuple[tuple[str, str], ...]]"
"""Series, where it lay, and the arguments that change its numbers."""


@dataclass(frozen=True, slots=True)
class ImportedScore:
    """One value of a table or results file."""

    metric: str
    """`name` or `name,filter`."""
    value: float | None
    stderr: float | None
    n: int | None
    higher_is_better: bool
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """One task of a run."""

    scores: tuple[ImportedScore, ...]
    version: str | int | float | None = None
    num_fewshot: int | None = None
    """None: the source does not say."""
    output_type: str | None = None
    chance: float | None = None
    """Score of a guesser."""
    resolved: Mapping[str, Json] = field(default_factory=dict)
    """The task's configuration, where the source holds it."""
    samples: SamplesFile | None = None
    """Where its items lie, if the source holds them."""

    @property
    def lacks_chance(self) -> bool:
        """Something is chosen from, and no source says what a guesser gets."""
        return self.chance is None and self.output_type == "multiple_choice"


@dataclass(frozen=True, slots=True)
class ImportedGroup:
    """A mean of several tasks."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool
    scores: tuple[ImportedScore, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What a source says of its model."""

    name: str
    """As we name models: a checkpoint is `model@step500`."""
    series: str
    """The training run that it is a checkpoint of; of other models the name again."""
    step: int | None = None
    tokens_seen: int | None = None
    location: str | None = None
    """Folder or hub name, as the source has it."""
    arguments: tuple[tuple[str, str], ...] = ()
    """(name, value), by name, of what else changes its weights or its numbers, such as `dtype` or `peft`."""

    @property
    def training(self) -> Training:
        """What checkpoints of one training share."""
        home = None if self.location is None else home_of(self.location)
        return (self.series, home, self.arguments)

    @property
    def identity(self) -> str:
        """What stands in the record for the identity of weights that nobody has seen."""
        if self.location is None:
            return f"{UNKNOWN}, imported as {self.name}"
        known = content_hash([self.name, self.location, self.arguments], digits=8)
        return f"{UNKNOWN}, imported as {self.name} ({known})"


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """One model (or checkpoint) of a source."""

    model: ImportedModel
    tasks: Mapping[str, ImportedTask]
    origin: Origin
    groups: tuple[ImportedGroup, ...] = ()
    backend: BackendRecord | None = None
    """None: the source does not say."""
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    date: str | None = None

    def values(self) -> dict[tuple[str, str], tuple[float | None, float | None]]:
        """(task, metric) → (value, standard error)."""
        return {
            (task, score.metric): (score.value, score.stderr)
            for task, found in self.tasks.items()
            for score in found.scores
        }


def items_behind(value: float | None, stderr: float | None) -> int | None:
    """How many docs a share of right answers rests on, from its standard error; None if it is no such share.

    SE² = p(1 − p)/(n − 1) gives n exactly where the scores are 0 or 1; anything else is no whole number.
    """
    if value is None or stderr is None or not 0 < value < 1 or not stderr > 0:
        return None
    n = value * (1 - value) / stderr**2 + 1
    near = round(n)
    right = value * near
    whole = abs(n - near) < 1e-4 * max(1.0, n / 1000) and abs(right - round(right)) < 1e-4 * max(1.0, n / 1000)
    return near if near > 1 and whole else None


def imported_score(
    metric: str, value: float | None, stderr: float | None, n: int | None, higher_is_better: object = None
) -> ImportedScore:
    """A value as a source has it, with what can be worked out where the source does not say."""
    known = finite(value)
    note = None if known is not None else "the value is missing" if value is None else f"the value is {value}"
    if n is None and (n := items_behind(known, stderr)) is not None:
        note = "n worked out from the standard error"
    if higher_is_better is None:
        higher_is_better = registry.higher_is_better(metric.partition(",")[0])
    return ImportedScore(metric, None if known is None else float(known), stderr, n, bool(higher_is_better), note)


def in_order(scores: Iterable[ImportedScore]) -> tuple[ImportedScore, ...]:
    """The metric that a task is known by first, the others as they come."""
    places = {name: place for place, name in enumerate(PREFERRED)}
    return tuple(sorted(scores, key=lambda score: places.get(score.metric.partition(",")[0], len(places))))


NORMAL = NormalDist().inv_cdf(0.975)
"""Half-width of a 95 % interval in standard errors."""


def write_imported(run: ImportedRun, root: Path) -> tuple[RunFolder, bool]:
    """The run's folder in `root`, and whether it was written now (not there before).

    The folder's name is a hash of what was imported, so that importing a file twice makes one run. A record that a
    former version made, without the model's series, is written anew.
    """
    run_id = content_hash(_identity(run), digits=12)
    folder = RunFolder(root / folder_name(run.model.name) / run_id)
    if folder.finished and not folder.is_of_former_version():
        return folder, False
    with RunWriter(folder.path, _plan(run, run_id)) as writer:
        items = {name: _write_items(writer, name, task) for name, task in run.tasks.items()}
        writer.finish(_record(run, run_id, items))
    return folder, True


def _identity(run: ImportedRun) -> dict[str, Json]:
    return {
        "origin": run.origin.to_json(),
        "model": run.model.name,
        "tasks": {
            name: [task.version, task.num_fewshot, task.chance, [[s.metric, s.value, s.stderr] for s in task.scores]]
            for name, task in run.tasks.items()
        },
    }


def _plan(run: ImportedRun, run_id: str) -> PlanRecord:
    return PlanRecord(
        run_id=run_id,
        model=run.model.name,
        series=run.model.series,
        step=run.model.step,
        tokens_seen=run.model.tokens_seen,
        origin=run.origin,
        settings=_settings(run),
        compute={"imported": run_id},
        tasks={
            name: PlannedTask(
                output_type=task.output_type, docs=_docs(task), num_fewshot=task.num_fewshot, keys=PLANNED_TASK
            )
            for name, task in run.tasks.items()
        },
        provenance=Provenance(created=run.date or "", location=run.model.location, keys=("created",)),
        keys=PLAN,
    )


def _settings(run: ImportedRun) -> dict[str, Json]:
    return {"model": run.model.name, "model_args": dict(run.model.arguments), "limit": None, "seed": None}


PLAN = (
    *("schema_version", "run_id", "model", "series", "step", "tokens_seen", "origin"),
    *("settings", "compute", "tasks", "provenance"),
)
PLANNED_TASK = ("output_type", "docs", "num_fewshot")
BACKEND = ("dtype", "device", "max_length", "revision", "num_parameters", "name", "model_identity")
PROVENANCE = ("started", "finished", "seconds", "reused", "notes", "tasks")
TASK = (
    *("version", "output_type", "num_fewshot", "prompt_hash", "data_hash", "data_revision", "notes"),
    *("counts", "scoring", "resolved", "example"),
)
SCORING = ("output_type", "metrics", "filters", "chance")
ROW = (
    *("model", "task", "metric", "value", "stderr", "ci_low", "ci_high", "n", "n_clusters", "se_method"),
    *("higher_is_better", "num_fewshot", "is_group", "signature", "note"),
)
"""Keys that the parts of an imported record have: what no source ever says is left out."""


def _docs(task: ImportedTask) -> int:
    return max((score.n or 0 for score in task.scores), default=0)


def _write_items(writer: RunWriter, name: str, task: ImportedTask) -> list[Item]:
    items = task.samples.items() if task.samples is not None else []
    if items:
        writer.open_task(name).close()
        writer.seal(name, items)
    return items


def _record(run: ImportedRun, run_id: str, items: Mapping[str, Sequence[Item]]) -> RunRecord:
    rows = [_row(run, name, task.num_fewshot, score) for name, task in run.tasks.items() for score in task.scores]
    shots = {name: task.num_fewshot for name, task in run.tasks.items()}
    for group in run.groups:
        common = {shots.get(name) for name in group.tasks}
        num_fewshot = common.pop() if len(common) == 1 else None
        rows += [_row(run, group.name, num_fewshot, score, is_group=True) for score in group.scores]
    backend = run.backend or BackendRecord(name=run.origin.kind)
    return RunRecord(
        run_id=run_id,
        model=run.model.name,
        series=run.model.series,
        step=run.model.step,
        tokens_seen=run.model.tokens_seen,
        origin=run.origin,
        settings={**_settings(run), **run.settings},
        backend=replace(backend, model_identity=run.model.identity, keys=BACKEND),
        versions={"benchbench": __version__, **run.versions},
        tasks={name: _task(task, items[name]) for name, task in run.tasks.items()},
        groups=tuple(
            GroupRecord(name=group.name, tasks=group.tasks, weight_by_size=group.weight_by_size)
            for group in run.groups
            if group.tasks
        ),
        rows=tuple(rows),
        work=Work(docs=sum(_docs(task) for task in run.tasks.values()), keys=("docs",)),
        provenance=Provenance(
            finished=run.date,
            reused=0,
            notes=(f"imported from {run.origin.file}",),
            location=run.model.location,
            keys=PROVENANCE,
        ),
    )


def _task(task: ImportedTask, items: Sequence[Item]) -> TaskRecord:
    return TaskRecord(
        version=task.version,
        output_type=task.output_type,
        num_fewshot=task.num_fewshot,
        prompt_hash=content_hash([item.item_key for item in items], digits=8) if items else None,
        data_hash=content_hash([item.doc_hash for item in items]) if items else None,
        counts=_counts(_docs(task), items),
        scoring=ScoringRecord(
            output_type=task.output_type,
            metrics=tuple(map(_metric, task.scores)),
            chance=task.chance,
            keys=SCORING,
        ),
        resolved=task.resolved,
        example=None if task.samples is None else task.samples.example(),
        keys=TASK,
    )


def _counts(n: int, items: Sequence[Item]) -> Counts:
    if not items:
        return Counts(n=n, keys=("n",))
    ended = Counter(item.outcome for item in items)
    return Counts(
        n=n,
        answered=ended["answered"],
        unanswered=ended["unanswered"],
        truncated=ended["truncated"],
        failed=ended["failed"],
        keys=("n", "answered", "unanswered", "truncated", "failed"),
    )


def _metric(score: ImportedScore) -> MetricSpec:
    name = score.metric.partition(",")[0]
    known = METRICS.get(name)
    aggregation = "perplexity" if name == "ppl" else known.aggregation if known is not None else "mean"
    return MetricSpec(name, aggregation, score.higher_is_better)


def _row(run: ImportedRun, name: str, num_fewshot: int | None, score: ImportedScore, *, is_group: bool = False) -> Row:
    low, high = _interval(score)
    task = run.tasks.get(name)
    version = "?" if task is None or task.version is None else task.version
    shots = "?" if num_fewshot is None else num_fewshot
    n = "?" if score.n is None else score.n
    return Row(
        model=run.model.name,
        task=name,
        metric=score.metric,
        value=score.value,
        stderr=score.stderr,
        ci_low=low,
        ci_high=high,
        n=score.n,
        se_method=None if score.stderr is None else "imported",
        higher_is_better=score.higher_is_better,
        num_fewshot=num_fewshot,
        is_group=is_group,
        signature=f"{name}.v{version}|shots:{shots}|n:{n}|imported:{run.origin.kind}",
        note=score.note,
        keys=ROW,
    )


def _interval(score: ImportedScore) -> tuple[float | None, float | None]:
    """Value ± 1.96 standard errors, within the metric's range."""
    if score.value is None or score.stderr is None or not math.isfinite(score.stderr):
        return None, None
    bounds = metric_range(score.metric) or (-math.inf, math.inf)
    half = NORMAL * score.stderr
    return max(bounds[0], score.value - half), min(bounds[1], score.value + half)

"""An imported run as a run folder: the store's own format, with `origin` in the record."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist

from benchbench.core import __version__
from benchbench.core.ids import content_hash
from benchbench.core.json_record import finite
from benchbench.core.record import (
    BackendRecord,
    Counts,
    GroupRecord,
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
from benchbench.extensions.interchange.imported import ImportedRun, ImportedScore, ImportedTask, Samples, Stated
from benchbench.extensions.interchange.samples_check import with_notes
from benchbench.store.damage import damage_of_run, is_complete, remove_aside, restore
from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.lock import RunLock
from benchbench.store.names import folder_name

NORMAL = NormalDist().inv_cdf(0.975)
"""Half-width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Written:
    """An imported run in the results folder."""

    folder: RunFolder
    is_new: bool
    """Written now, not there before."""
    problems: tuple[str, ...] = ()
    """What of its samples was not taken, a sentence each."""


def write_imported(run: ImportedRun, root: Path) -> Written:
    """Writes the run's folder in `root`, unless it is there.

    The folder's name is a hash of what was imported, so that importing a file twice makes one run. A record that a
    former version made, without the model's series, is written anew, and so is a damaged one.
    """
    run_id = content_hash(_identity(run), digits=12)
    folder = RunFolder(root / folder_name(run.model.name) / run_id)
    if any(damage_of_run(folder)):
        with RunLock(folder.path):
            restore(folder)
        folder.forget()
    if is_complete(folder) and not folder.is_of_former_version():
        return Written(folder, is_new=False)
    samples = {name: task.samples.read() for name, task in run.tasks.items() if task.samples is not None}
    noted, problems = with_notes(run, samples)
    with RunWriter(folder.path, _plan(noted, run_id)) as writer:
        for name, found in samples.items():
            _write_items(writer, name, found)
        writer.finish(_record(noted, run_id, samples))
        remove_aside(writer)
    return Written(folder, is_new=True, problems=tuple(problems))


def _identity(run: ImportedRun) -> dict[str, Json]:
    added: dict[str, Json] = {"asked": list(run.asked)} if run.asked else {}
    if run.source_run:
        added["source_run"] = run.source_run
    return {
        **added,
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


def _write_items(writer: RunWriter, name: str, found: Samples) -> None:
    if found.items:
        writer.open_task(name).close()
        writer.seal(name, list(found.items))


def _record(run: ImportedRun, run_id: str, samples: Mapping[str, Samples]) -> RunRecord:
    rows = [_row(run, name, task.num_fewshot, score) for name, task in run.tasks.items() for score in task.scores]
    shots = {name: task.num_fewshot for name, task in run.tasks.items()}
    for group in run.groups:
        common = {shots.get(name) for name in group.tasks}
        num_fewshot = common.pop() if len(common) == 1 else group.num_fewshot
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
        tasks={name: _task(run, task, samples.get(name)) for name, task in run.tasks.items()},
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


def _asked_hash(asked: Sequence[str]) -> str | None:
    """In place of a hash of prompts that nobody has seen: chat rows must not stand in one column with plain ones."""
    return content_hash(list(asked), digits=8) if asked else None


def _task(run: ImportedRun, task: ImportedTask, found: Samples | None) -> TaskRecord:
    items, asked = () if found is None else found.items, (*run.asked, *task.asked)
    return TaskRecord(
        version=task.version,
        output_type=task.output_type,
        num_fewshot=task.num_fewshot,
        prompt_hash=content_hash([item.item_key for item in items], digits=8) if items else _asked_hash(asked),
        data_hash=content_hash([item.doc_hash for item in items]) if items else None,
        counts=_counts(_docs(task), items),
        scoring=ScoringRecord(
            output_type=task.output_type,
            metrics=tuple(map(_metric, task.scores)),
            chance=task.chance,
            keys=SCORING,
        ),
        resolved=task.resolved,
        example=None if found is None else found.example,
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
    stated = score.stated or Stated()
    low, high = _interval(score) if score.stated is None else (stated.ci_low, stated.ci_high)
    return Row(
        model=run.model.name,
        task=name,
        metric=score.metric,
        value=score.value,
        stderr=score.stderr,
        ci_low=low,
        ci_high=high,
        n=score.n,
        n_clusters=stated.n_clusters,
        se_method=stated.se_method or (None if score.stderr is None else "imported"),
        higher_is_better=score.higher_is_better,
        num_fewshot=num_fewshot,
        is_group=is_group,
        signature=_signature(run, name, num_fewshot, score),
        note=score.note,
        keys=ROW,
    )


def _signature(run: ImportedRun, name: str, num_fewshot: int | None, score: ImportedScore) -> str:
    """What is known of all that moves the number. One that benchbench wrote says more, and keeps what it says."""
    if score.stated is not None and score.stated.signature:
        known = score.stated.signature
        return known if "|imported:" in known else f"{known}|imported:{run.origin.kind}"
    task = run.tasks.get(name)
    version = "?" if task is None or task.version is None else task.version
    shots = "?" if num_fewshot is None else num_fewshot
    n = "?" if score.n is None else score.n
    asked = "".join(f"|{one}" for one in (*run.asked, *(() if task is None else task.asked)))
    return f"{name}.v{version}|shots:{shots}|n:{n}{asked}|imported:{run.origin.kind}"


def _interval(score: ImportedScore) -> tuple[float | None, float | None]:
    """Value ± 1.96 standard errors, within the metric's range."""
    if score.value is None or score.stderr is None or not math.isfinite(score.stderr):
        return None, None
    bounds = metric_range(score.metric) or (-math.inf, math.inf)
    half = NORMAL * score.stderr
    return finite(max(bounds[0], score.value - half)), finite(min(bounds[1], score.value + half))

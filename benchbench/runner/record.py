"""run.json: everything a reader needs to know what was measured, without our task or backend code.

All that may differ between two runs with the same results (times, host, paths, work really done) is under `provenance`.
"""

from __future__ import annotations

import math
import platform
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from operator import or_
from typing import TYPE_CHECKING

from benchbench.backends.engines import engines
from benchbench.backends.protocol import ChatFormat
from benchbench.core import __version__
from benchbench.core.ids import content_hash
from benchbench.core.item_table import table_of
from benchbench.core.json_record import as_json, finite, text
from benchbench.core.post_metrics import listed_metrics
from benchbench.core.record import (
    BackendRecord,
    Counts,
    Example,
    GroupRecord,
    PlanRecord,
    Provenance,
    Row,
    RunRecord,
    ScoringRecord,
    TaskRecord,
    Work,
)
from benchbench.core.task_scoring import ScoredTask, family_of
from benchbench.core.types import (
    BackendInfo,
    Item,
    Json,
    LoglikelihoodRequest,
    MetricResult,
    Request,
    RollingRequest,
    ScoringSpec,
)
from benchbench.runner.evaluate import scoring_of
from benchbench.runner.plan import Plan, draws_ties
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from benchbench.tasks.task import PreparedTask

_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "numpy",
    "pyarrow",
    "jinja2",
    "sacrebleu",
    "rouge-score",
)

EXAMPLE_LENGTH, EXAMPLE_CHOICES = 20_000, 12


def now() -> str:
    """UTC time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions of benchbench, Python and the libraries that touch numbers, where installed."""
    found = {"benchbench": __version__, "python": platform.python_version()}
    for name in (*_PACKAGES, *(name for engine in engines() for name in engine.packages)):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def make_record(
    plan: Plan,
    settings: RunSettings,
    identity: PlanRecord,
    info: BackendInfo,
    items: Mapping[str, Sequence[Item]],
    log: Sequence[Mapping[str, Json]],
) -> RunRecord:
    """The whole record. `identity` says which run it is, and of which model; `log` holds the events of log.jsonl."""
    results, tasks = {}, {}
    for prepared in plan.tasks:
        name, scoring = prepared.task.name, scoring_of(prepared)
        results[name] = scoring.rows(items[name], settings.render.seed)
        tasks[name] = _task_record(prepared, items[name], scoring.complete(results[name]), plan.chat)
    rows = [
        _row(result, identity, prepared.num_fewshot, _signature(prepared, settings, identity, info, result.n))
        for prepared in plan.tasks
        for result in _in_listed_order(prepared, results[prepared.task.name])
    ]
    return RunRecord(
        run_id=identity.run_id,
        attempt=identity.attempt,
        model=identity.model,
        series=identity.series,
        step=identity.step,
        tokens_seen=identity.tokens_seen,
        chat=identity.chat,
        settings=settings.as_record(),
        backend=BackendRecord.of(replace(info, plan=_last_plan(log) or info.plan)),
        versions=versions(),
        tasks=tasks,
        groups=tuple(
            GroupRecord(
                name=group.name,
                tasks=group.tasks,
                weight_by_size=group.weight_by_size,
                metrics=as_json(group.metrics),
            )
            for group in plan.groups
        ),
        rows=(*rows, *_group_rows(plan, settings, identity, info, items, results, rows)),
        work=_work(items),
        provenance=_provenance(log, identity),
    )


def _in_listed_order(prepared: PreparedTask, results: Sequence[MetricResult]) -> list[MetricResult]:
    """The task's results, with an empty one where it lists a metric that is computed after the run."""
    resolved = prepared.task.resolved()
    later = {one.name: pending(prepared.task.name, one.name) for one in listed_metrics(resolved)}
    if not later:
        return [*results]
    entries = resolved.get("metric_list")
    names = (
        [str(entry.get("metric")) for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    place = {name: number for number, name in reversed([*enumerate(names)])}
    every = [*results, *later.values()]
    return sorted(every, key=lambda one: place.get(one.metric.partition(",")[0], len(place)))


def pending(task: str, metric: str) -> MetricResult:
    """The result of a metric that is not computed yet."""
    note = f"not computed yet; `benchbench score RUN --metric {metric}` does it"
    return MetricResult(task, metric, None, None, None, None, 0, note=note)


def _task_record(
    prepared: PreparedTask, items: Sequence[Item], scoring: ScoringSpec, chat: ChatFormat | None
) -> TaskRecord:
    return TaskRecord(
        version=prepared.task.version,
        output_type=prepared.task.output_type,
        num_fewshot=prepared.num_fewshot,
        prompt_hash=prepared.prompt_hash,
        data_hash=prepared.data_hash,
        data_revision=prepared.data_revision,
        data_path=prepared.data_path,
        notes=tuple(prepared.notes),
        counts=count(scoring, items),
        scoring=ScoringRecord.of(_with_chance(scoring, items)),
        resolved=prepared.task.resolved(),
        example=_example(prepared, chat),
    )


def _with_chance(scoring: ScoringSpec, items: Sequence[Item]) -> ScoringSpec:
    """Where the task states no chance, that of choosing among each doc's choices at random."""
    if scoring.chance is not None or scoring.output_type != "multiple_choice":
        return scoring
    shares = [1 / size for size in table_of(items).sizes("targets") if size]
    return replace(scoring, chance=math.fsum(shares) / len(shares)) if shares else scoring


def _example(prepared: PreparedTask, chat: ChatFormat | None) -> Example | None:
    """What was asked about the first doc, for readers who want to see a prompt; very long ones are cut."""
    first = next(iter(prepared.docs), None)
    if first is None:
        return None
    asked = [request.continuation for request in first.requests if isinstance(request, LoglikelihoodRequest)]
    prompt = _prompt_text(first.requests[0], chat) if first.requests else ""
    return Example(
        doc_id=first.doc.id,
        prompt=prompt[:EXAMPLE_LENGTH],
        characters=len(prompt),
        continuations=tuple(one[:EXAMPLE_LENGTH] for one in asked[:EXAMPLE_CHOICES]),
    )


def _prompt_text(request: Request, chat: ChatFormat | None) -> str:
    return request.text if isinstance(request, RollingRequest) else request.prompt.written(chat)


def count(spec: ScoringSpec, items: Sequence[Item]) -> Counts:
    """How many docs ended how, and what had to be left out of prompts.

    `shortened` counts docs whose prompt did not fit; `dropped_shots` and `truncated_tokens` are sums over docs.
    """
    from benchbench.scoring.score import count_outcomes

    table = table_of(items)
    dropped, truncated = table.numbers("dropped_shots"), table.numbers("truncated_tokens")
    return Counts(
        n=len(items),
        **count_outcomes(spec, items),  # type: ignore[arg-type]  # every key is a count
        shortened=sum(map(bool, map(or_, dropped, truncated))),
        dropped_shots=sum(dropped),
        truncated_tokens=sum(truncated),
    )


def _row(
    result: MetricResult, identity: PlanRecord, num_fewshot: int | None, signature: str, *, is_group: bool = False
) -> Row:
    value = finite(result.value)
    return Row(
        model=identity.model,
        step=identity.step,
        tokens_seen=identity.tokens_seen,
        task=result.task,
        metric=result.metric,
        value=value,
        stderr=finite(result.stderr),
        ci_low=finite(result.ci_low),
        ci_high=finite(result.ci_high),
        n=result.n,
        n_clusters=result.n_clusters,
        se_method=result.se_method,
        higher_is_better=result.higher_is_better,
        num_fewshot=num_fewshot,
        is_group=is_group,
        signature=signature,
        note=result.note or (None if value == result.value else f"the value is {result.value}"),
    )


def _signature(prepared: PreparedTask, settings: RunSettings, identity: PlanRecord, info: BackendInfo, n: int) -> str:
    parts = [
        f"{prepared.task.name}.v{prepared.task.version}",
        f"shots:{prepared.num_fewshot}",
        f"fewshot:{prepared.fewshot_mode}",
        f"seed:{settings.render.seed}",
        f"prompt:{prepared.prompt_hash[:8]}",
        f"data:{prepared.data_hash[:8]}",
        *_signature_of_chat(prepared, identity),
        *(["ties:draw"] if draws_ties(prepared) else []),
    ]
    return "|".join([*parts, *_signature_end(info, n)])


def _signature_of_chat(prepared: PreparedTask, identity: PlanRecord) -> list[str]:
    chat = identity.chat
    if chat is None or prepared.task.output_type == "loglikelihood_rolling":
        return []
    system = [] if chat.system_sha256 is None else [f"system:{chat.system_sha256[:8]}"]
    return [f"chat:{chat.template_sha256[:8]}", *system, *([] if chat.multiturn else ["turns:one"])]


def _signature_end(info: BackendInfo, n: int) -> list[str]:
    return [f"n:{n}", f"dtype:{info.dtype}", f"benchbench:{__version__}"]


def _group_rows(
    plan: Plan,
    settings: RunSettings,
    identity: PlanRecord,
    info: BackendInfo,
    items: Mapping[str, Sequence[Item]],
    results: Mapping[str, Sequence[MetricResult]],
    rows: Sequence[Row],
) -> list[Row]:
    tasks = {prepared.task.name: prepared for prepared in plan.tasks}
    found = []
    for group in plan.groups:
        members = {
            name: ScoredTask(
                tasks[name].task.scoring, items[name], results[name], family_of(tasks[name].task.resolved())
            )
            for name in group.tasks
            if name in results
        }
        same_shots = {tasks[name].num_fewshot for name in members}
        num_fewshot = same_shots.pop() if len(same_shots) == 1 else None
        made_of = content_hash([row.signature for row in rows if row.task in members], digits=8)
        first = next(iter(members), None)  # a group's tasks are of one source
        for result in [] if first is None else scoring_of(tasks[first]).group_rows(group, members):
            named = [group.name, f"tasks:{len(members)}", f"members:{made_of}", f"seed:{settings.render.seed}"]
            signature = "|".join([*named, *_signature_end(info, result.n)])
            found.append(_row(result, identity, num_fewshot, signature, is_group=True))
    return found


def _work(items: Mapping[str, Sequence[Item]]) -> Work:
    """Sizes that follow from the items alone, however the run was interrupted."""
    tables = [table_of(task) for task in items.values()]
    return Work(
        docs=sum(map(len, tables)),
        requests=sum(sum(table.sizes("num_tokens")) for table in tables),
        prompt_tokens=sum(table.total("prompt_tokens") for table in tables),
        scored_or_generated_tokens=sum(table.total("num_tokens") for table in tables),
    )


def _last_plan(log: Sequence[Mapping[str, Json]]) -> str | None:
    return next((str(event["plan"]) for event in reversed(log) if event.get("event") == "task"), None)


def _provenance(log: Sequence[Mapping[str, Json]], identity: PlanRecord) -> Provenance:
    sessions = [event for event in log if event.get("event") == "session"]
    tasks: dict[str, dict[str, float]] = {}
    for event in log:
        if event.get("event") == "task":
            _add_task(tasks.setdefault(str(event["task"]), {}), event)
    return Provenance(
        started=text(sessions[0]["started"]) if sessions else None,
        finished=now(),
        seconds=round(sum(float(task["seconds"]) for task in tasks.values()), 3),
        sessions=len(sessions),
        host=socket.gethostname(),
        platform=platform.platform(),
        reused=sum(int(task["reused"]) for task in tasks.values()),
        notes=tuple(dict.fromkeys(note for event in log for note in _notes(event))),
        tasks=tasks,
        location=identity.provenance.location,
        home=identity.provenance.home,
    )


def _add_task(total: dict[str, float], event: Mapping[str, Json]) -> None:
    """Adds up a task that was done in several sessions; `reused` is a count over all of them already."""
    for name, value in event.items():
        if isinstance(value, int | float):
            total[name] = value if name == "reused" else total.get(name, 0) + value


def _notes(event: Mapping[str, Json]) -> list[str]:
    notes = event.get("notes")
    return [str(note) for note in notes] if isinstance(notes, list) else []

"""An imported run as a run folder: the store's own format, with `origin` in the record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

from benchbench.core.ids import content_hash
from benchbench.core.registry import METRICS, metric_range
from benchbench.core.types import Item
from benchbench.core.version import __version__
from benchbench.extensions.interchange.model import ImportedRun, ImportedScore, ImportedTask
from benchbench.store.folder import RUN_SCHEMA_VERSION, RunFolder, RunWriter
from benchbench.store.names import folder_name

NORMAL = NormalDist().inv_cdf(0.975)
"""Half-width of a 95 % interval in standard errors."""


def write_imported(run: ImportedRun, root: Path) -> tuple[RunFolder, bool]:
    """The run's folder in `root`, and whether it was written now (not there before).

    The folder's name is a hash of what was imported, so that importing a file twice makes one run. A record that a
    former version made, without the model's series, is written anew.
    """
    run_id = content_hash(_identity(run), digits=12)
    folder = RunFolder(root / folder_name(run.model.name) / run_id)
    if folder.finished and "series" in folder.own_record():
        return folder, False
    with RunWriter(folder.path, _plan(run, run_id)) as writer:
        items = {name: _write_items(writer, name, task) for name, task in run.tasks.items()}
        writer.finish(_record(run, run_id, items))
    return folder, True


def _identity(run: ImportedRun) -> dict[str, Any]:
    return {
        "origin": dict(run.origin),
        "model": run.model.name,
        "tasks": {
            name: [task.version, task.num_fewshot, task.chance, [[s.metric, s.value, s.stderr] for s in task.scores]]
            for name, task in run.tasks.items()
        },
    }


def _plan(run: ImportedRun, run_id: str) -> dict[str, Any]:
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": run_id,
        **_names(run),
        "origin": dict(run.origin),
        "settings": _settings(run),
        "compute": {"imported": run_id},
        "tasks": {
            name: {"output_type": task.output_type, "docs": _docs(task), "num_fewshot": task.num_fewshot}
            for name, task in run.tasks.items()
        },
        "provenance": {"created": run.date or "", **_place(run)},
    }


def _names(run: ImportedRun) -> dict[str, Any]:
    model = run.model
    return {"model": model.name, "series": model.series, "step": model.step, "tokens_seen": model.tokens_seen}


def _settings(run: ImportedRun) -> dict[str, Any]:
    return {"model": run.model.name, "model_args": dict(run.model.arguments), "limit": None, "seed": None}


def _place(run: ImportedRun) -> dict[str, str]:
    return {} if run.model.location is None else {"location": run.model.location}


def _docs(task: ImportedTask) -> int:
    return max((score.n or 0 for score in task.scores), default=0)


def _write_items(writer: RunWriter, name: str, task: ImportedTask) -> list[Item]:
    items = task.samples.items() if task.samples is not None else []
    if items:
        writer.open_task(name).close()
        writer.seal(name, items)
    return items


def _record(run: ImportedRun, run_id: str, items: Mapping[str, Sequence[Item]]) -> dict[str, Any]:
    backend = {"dtype": None, "device": None, "max_length": None, "revision": None, "num_parameters": None}
    rows = [_row(run, name, task.num_fewshot, score) for name, task in run.tasks.items() for score in task.scores]
    shots = {name: task.num_fewshot for name, task in run.tasks.items()}
    for group in run.groups:
        common = {shots.get(name) for name in group.tasks}
        num_fewshot = common.pop() if len(common) == 1 else None
        rows += [_row(run, group.name, num_fewshot, score, is_group=True) for score in group.scores]
    return {
        "schema_version": RUN_SCHEMA_VERSION,
        "run_id": run_id,
        "attempt": 1,
        **_names(run),
        "origin": dict(run.origin),
        "settings": {**_settings(run), **run.settings},
        "backend": {**backend, "name": str(run.origin["kind"]), "model_identity": run.model.identity, **run.backend},
        "versions": {"benchbench": __version__, **run.versions},
        "tasks": {name: _task(task, items[name]) for name, task in run.tasks.items()},
        "groups": [
            {"name": g.name, "tasks": list(g.tasks), "weight_by_size": g.weight_by_size} for g in run.groups if g.tasks
        ],
        "rows": rows,
        "work": {"docs": sum(_docs(task) for task in run.tasks.values())},
        "provenance": {
            "started": None,
            "finished": run.date,
            "seconds": None,
            "reused": 0,
            "notes": [f"imported from {run.origin.get('file')}"],
            "tasks": {},
            **_place(run),
        },
    }


def _task(task: ImportedTask, items: Sequence[Item]) -> dict[str, Any]:
    outcomes = {
        name: sum(item.outcome == name for item in items) for name in ("answered", "unanswered", "truncated", "failed")
    }
    return {
        "version": task.version,
        "output_type": task.output_type,
        "num_fewshot": task.num_fewshot,
        "prompt_hash": content_hash([item.item_key for item in items], digits=8) if items else None,
        "data_hash": content_hash([item.doc_hash for item in items]) if items else None,
        "data_revision": None,
        "notes": [],
        "counts": {"n": _docs(task), **(outcomes if items else {})},
        "scoring": {
            "output_type": task.output_type,
            "metrics": [_metric(score) for score in task.scores],
            "filters": [],
            "chance": task.chance,
        },
        "resolved": dict(task.resolved),
        "example": None if task.samples is None else task.samples.example(),
    }


def _metric(score: ImportedScore) -> dict[str, Any]:
    name = score.metric.partition(",")[0]
    known = METRICS.get(name)
    aggregation = "perplexity" if name == "ppl" else known.aggregation if known is not None else "mean"
    return {"name": name, "aggregation": aggregation, "higher_is_better": score.higher_is_better, "kwargs": {}}


def _row(
    run: ImportedRun, name: str, num_fewshot: int | None, score: ImportedScore, *, is_group: bool = False
) -> dict[str, Any]:
    low, high = _interval(score)
    task = run.tasks.get(name)
    version = "?" if task is None or task.version is None else task.version
    shots = "?" if num_fewshot is None else num_fewshot
    n = "?" if score.n is None else score.n
    return {
        "model": run.model.name,
        "task": name,
        "metric": score.metric,
        "value": score.value,
        "stderr": score.stderr,
        "ci_low": low,
        "ci_high": high,
        "n": score.n,
        "n_clusters": None,
        "se_method": None if score.stderr is None else "imported",
        "higher_is_better": score.higher_is_better,
        "num_fewshot": num_fewshot,
        "is_group": is_group,
        "signature": f"{name}.v{version}|shots:{shots}|n:{n}|imported:{run.origin['kind']}",
        "note": score.note,
    }


def _interval(score: ImportedScore) -> tuple[float | None, float | None]:
    """Value ± 1.96 standard errors, within the metric's range."""
    if score.value is None or score.stderr is None or not math.isfinite(score.stderr):
        return None, None
    bounds = metric_range(score.metric) or (-math.inf, math.inf)
    half = NORMAL * score.stderr
    return max(bounds[0], score.value - half), min(bounds[1], score.value + half)

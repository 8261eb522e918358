"""Items and folders for the store's tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchbench.core.record import PlanRecord, RunRecord
from benchbench.core.types import Item
from benchbench.store.folder import RunWriter


def item(doc_id: int = 0, **changes: Any) -> Item:
    """A multiple-choice item that was answered rightly."""
    values: dict[str, Any] = {
        "task": "toy",
        "doc_id": doc_id,
        "doc_hash": f"{doc_id:016x}",
        "cluster": None,
        "prompt_name": "default",
        "item_key": f"key{doc_id}",
        "gold": "1",
        "targets": ("ne", "ano"),
        "prediction": "1",
        "outcome": "answered",
        "tie": False,
        "loglikelihoods": (-2.5, -1.0 / 3.0),
        "is_greedy": (False, True),
        "num_tokens": (1, 2),
        "texts": (),
        "finish_reasons": (),
        "dropped_shots": 0,
        "truncated_tokens": 0,
        "failure": None,
        "scores": {"acc": 1.0, "bpb_gold": 0.1 + 0.2},
        "prompt_tokens": (7, 7),
    }
    return Item(**{**values, **changes})


def plan(**changes: Any) -> dict[str, Any]:
    """A small plan.json."""
    compute = {"model_identity": "w1", "dtype": "float32"}
    return {"schema_version": 1, "run_id": "abc", "model": "m", "compute": compute, "tasks": {"toy": {}}, **changes}


def record(run_id: str = "abc", **changes: Any) -> dict[str, Any]:
    """A small run.json."""
    row = {
        "model": "m",
        "task": "toy",
        "metric": "acc",
        "value": 0.5,
        "stderr": 0.1,
        "ci_low": 0.3,
        "ci_high": 0.7,
        "n": 3,
        "n_clusters": None,
        "se_method": "clt",
        "higher_is_better": True,
        "num_fewshot": 0,
        "is_group": False,
        "signature": "toy.v1|n:3",
        "note": None,
    }
    counts = {"n": 3, "answered": 3, "unanswered": 0, "truncated": 0, "failed": 0, "ties": 0, "shortened": 0}
    backend = {"name": "scripted", "model_identity": "w1", "dtype": "float32", "device": "cpu", "max_length": 9}
    values: dict[str, Any] = {
        "schema_version": 1,
        "run_id": run_id,
        "attempt": 1,
        "model": "m",
        "settings": {"model": "m", "limit": None, "seed": 1},
        "backend": {**backend, "num_parameters": None, "revision": None},
        "versions": {"benchbench": "0.1.0"},
        "tasks": {
            "toy": {
                "counts": counts,
                "scoring": {"chance": 0.5},
                "resolved": {},
                "version": 1,
                "num_fewshot": 0,
                "data_hash": "d1",
                "prompt_hash": "p1",
            }
        },
        "groups": [],
        "rows": [row],
        "work": {"docs": 3},
        "provenance": {"started": "2026-01-01", "finished": "2026-01-02", "seconds": 1.0, "reused": 0, "tasks": {}},
    }
    return {**values, **changes}


def planned(**changes: Any) -> PlanRecord:
    """`plan`, read: of a former version, which did not name the series."""
    return PlanRecord.from_json(plan(**changes), "plan.json")


def recorded(values: dict[str, Any]) -> RunRecord:
    """What a run.json holds, read."""
    return RunRecord.from_json(json.loads(json.dumps(values)), "run.json")


def finished_run(path: Path, count: int = 3, **changes: Any) -> Path:
    """A whole run folder with `count` sealed items."""
    with RunWriter(path, planned(**changes)) as writer:
        with writer.open_task("toy") as live:
            for doc_id in range(count):
                live.append(item(doc_id))
        writer.seal("toy", [item(doc_id) for doc_id in range(count)])
        writer.finish(recorded(record(path.name)))
    return path

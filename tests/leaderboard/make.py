"""Finished runs with given item scores, for comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchbench.core.registry import influence_column
from benchbench.store.folder import RunFolder, RunWriter
from tests.store.make import item, planned, record, recorded


def metric(name: str = "acc", aggregation: str = "mean", **changes: Any) -> dict[str, Any]:
    """A metric as the record's scoring holds it."""
    return {"name": name, "aggregation": aggregation, "higher_is_better": True, "kwargs": {}, **changes}


def task(scores: Sequence[float | None], name: str = "acc", **changes: Any) -> dict[str, Any]:
    """A task whose items have these scores of one metric. `influence` and `value` make it a corpus metric."""
    return {"scores": scores, "metric": metric(name), "chance": None, **changes}


def measured(root: Path, model: str, tasks: dict[str, dict[str, Any]], **changes: Any) -> RunFolder:
    """A run of `tasks` in `root`. `changes` go into the record, those of a task into its part of it."""
    run_id = changes.pop("run_id", "abc")
    path = root / model.replace("/", "--") / run_id
    with RunWriter(path, planned(model=model)) as writer:
        for name, made in tasks.items():
            writer.open_task(name).close()
            writer.seal(name, _items(name, made))
        values = record(run_id, model=model, **changes)
        values["tasks"] = {name: _task(made) for name, made in tasks.items()}
        values["rows"] = [_row(name, made) for name, made in tasks.items()]
        values["backend"]["model_identity"] = f"weights of {model}"
        writer.finish(recorded(values))
    return RunFolder(path)


def _items(name: str, made: dict[str, Any]) -> list[Any]:
    clusters = made.get("clusters") or [None] * len(made["scores"])
    return [
        item(
            i,
            task=name,
            cluster=cluster,
            outcome="failed" if score is None else "answered",
            scores={made["metric"]["name"]: score, **_influence(made, i)},
        )
        for i, (score, cluster) in enumerate(zip(made["scores"], clusters, strict=True))
    ]


def _influence(made: dict[str, Any], i: int) -> dict[str, float]:
    return {influence_column(made["metric"]["name"]): made["influence"][i]} if "influence" in made else {}


def _task(made: dict[str, Any]) -> dict[str, Any]:
    scoring = {
        "output_type": made.get("output_type", "multiple_choice"),
        "metrics": [made["metric"]],
        "filters": made.get("filters", []),
        "chance": made["chance"],
    }
    known = {"num_fewshot": 0, "data_hash": "d1", "prompt_hash": "p1", "version": 1}
    counts = {"n": len(made["scores"]), "failed": 0}
    return {**{k: made.get(k, v) for k, v in known.items()}, "counts": counts, "scoring": scoring}


def _row(name: str, made: dict[str, Any]) -> dict[str, Any]:
    scores = [score for score in made["scores"] if score is not None]
    value = made.get("value", math.fsum(scores) / max(1, len(scores)))
    known = {"stderr": None, "ci_low": None, "ci_high": None, "n": len(scores), "n_clusters": _clusters(made)}
    return {**known, "task": name, "metric": made["metric"]["name"], "is_group": False, "value": value, "model": "m"}


def _clusters(made: dict[str, Any]) -> int | None:
    names = made.get("clusters")
    return None if names is None else len(set(names))

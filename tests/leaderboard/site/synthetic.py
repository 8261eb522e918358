"""Results folders of many models with items, written quickly: no fsync, one table whose score column is exchanged."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchbench.stats.influence import mean
from benchbench.stats.intervals import uncertainty
from benchbench.store.folder import PART
from benchbench.store.names import folder_name
from benchbench.store.table import encode_part
from tests.store.make import item, record

EXAMPLE = {"doc_id": 0, "prompt": "Otázka: kolik je 1 + 1?\nOdpověď:", "continuations": [" 2", " 3"]}


def write_run(
    root: Path,
    model: str,
    scores: dict[str, np.ndarray],
    *,
    run_id: str = "abc",
    chance: float = 0.25,
    weights: str | None = None,
    **changes: Any,
) -> Path:
    """A finished run: task → item scores of `acc`. `changes` go into the record; `weights` are the model's own."""
    path = root / folder_name(model) / run_id
    for task, values in scores.items():
        folder = path / "items" / folder_name(task)
        folder.mkdir(parents=True)
        pq.write_table(_table(values.size).set_column(*_column(values)), folder / PART, compression="zstd")
    values = record(run_id, model=model, **changes)
    values["tasks"] = {task: _task(s.size, chance) for task, s in scores.items()}
    values["rows"] = [_row(model, task, s) for task, s in scores.items()]
    values["backend"]["model_identity"] = weights or f"weights of {model}"
    (path / "run.json").write_text(json.dumps(values), encoding="utf-8")
    (path / "plan.json").write_text(json.dumps({"model": model, "tasks": {}}), encoding="utf-8")
    return path


_TABLES: dict[int, pa.Table] = {}


def _table(n: int) -> pa.Table:
    if n not in _TABLES:
        data = encode_part([item(i, task="t", scores={"acc": 1.0}) for i in range(n)])
        _TABLES[n] = pq.read_table(pa.BufferReader(data))
    return _TABLES[n]


def _column(values: np.ndarray) -> tuple[int, pa.Field, pa.Array]:
    names = _table(values.size).schema.names
    return names.index("acc"), pa.field("acc", pa.float64()), pa.array(values.astype(np.float64))


def _task(n: int, chance: float) -> dict[str, Any]:
    metric = {"name": "acc", "aggregation": "mean", "higher_is_better": True, "kwargs": {}}
    scoring = {"output_type": "multiple_choice", "metrics": [metric], "filters": [], "chance": chance}
    counts = {"n": n, "answered": n, "unanswered": 0, "truncated": 0, "failed": 0, "ties": 0, "shortened": 0}
    return {
        "version": 1,
        "output_type": "multiple_choice",
        "num_fewshot": 0,
        "prompt_hash": "p1",
        "data_hash": f"d{n}",
        "counts": counts,
        "scoring": scoring,
        "resolved": {"doc_to_text": "{{ question }}"},
        "example": EXAMPLE,
    }


def _row(model: str, task: str, scores: np.ndarray) -> dict[str, Any]:
    estimate = mean(scores)
    known = uncertainty(estimate)
    ends = known.interval or (None, None)
    return {
        "model": model,
        "task": task,
        "metric": "acc",
        "value": estimate.value,
        "stderr": known.stderr,
        "ci_low": ends[0],
        "ci_high": ends[1],
        "n": scores.size,
        "n_clusters": None,
        "se_method": "clt",
        "higher_is_better": True,
        "num_fewshot": 0,
        "is_group": False,
        "signature": f"{task}.v1|shots:0|n:{scores.size}",
        "note": None,
    }


def many(root: Path, models: Sequence[str], tasks: int, docs: int, seed: int = 1) -> list[dict[str, np.ndarray]]:
    """Models of slowly rising skill on the same docs; what each of them scored."""
    rng = np.random.default_rng(seed)
    hard = rng.normal(0, 1, (tasks, docs))
    made = []
    for place, model in enumerate(models):
        skill = -0.5 + 1.5 * place / max(1, len(models) - 1)
        scores = {f"task_{t:02d}": (rng.normal(skill, 1, docs) > hard[t]).astype(np.float64) for t in range(tasks)}
        assert all(math.isfinite(float(s.mean())) for s in scores.values())
        write_run(root, model, scores)
        made.append(scores)
    return made

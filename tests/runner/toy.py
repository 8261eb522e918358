"""A small world for the runner's tests: two task files, their data, and settings that use a scripted backend."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from benchbench.backends.engines import ModelOptions
from benchbench.core.record import RunRecord
from benchbench.core.settings import changed
from benchbench.runner.settings import RunSettings

QUIZ = {
    "task": "toy_quiz",
    "version": 1,
    "group": "toy",
    "dataset_path": "toy/quiz",
    "test_split": "test",
    "training_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "Otázka: {{ question }}\nOdpověď:",
    "doc_to_target": "{{ label }}",
    "doc_to_choice": "choices",
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
WRITE = {
    "task": "toy_write",
    "version": 2,
    "group": "toy",
    "dataset_path": "toy/write",
    "test_split": "test",
    "output_type": "generate_until",
    "doc_to_text": "Napiš: {{ question }}\n",
    "doc_to_target": "{{ answer }}",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 8},
    "metric_list": [{"metric": "exact_match"}],
}


def quiz_rows(count: int) -> list[dict[str, Any]]:
    """Sums with three answers, of different lengths so that batches mix docs."""
    return [
        {
            "question": f"kolik je {n} + {n}?" + " prosím" * (n % 5),
            "choices": [str(n), str(2 * n), str(3 * n)],
            "label": 1,
        }
        for n in range(1, count + 1)
    ]


def make_world(folder: Path, *, quiz: int = 12, write: int = 6) -> Path:
    """Writes `tasks/` and `hub/` into `folder` and returns it."""
    for task in (QUIZ, WRITE):
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        (folder / "tasks" / f"{task['task']}.yaml").write_text(
            yaml.safe_dump(task, allow_unicode=True), encoding="utf-8"
        )
    write_rows(folder / "hub/toy/quiz/default/test.jsonl", quiz_rows(quiz))
    write_rows(folder / "hub/toy/quiz/default/train.jsonl", quiz_rows(40)[30:])
    rows = [{"question": f"slovo {n}" + " ano" * (n % 3), "answer": f"slovo {n}"} for n in range(write)]
    write_rows(folder / "hub/toy/write/default/test.jsonl", rows)
    return folder


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON line per row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def settings(world: Path, model: str = "hash", **changes: Any) -> RunSettings:
    """Both toy tasks on a scripted model, results in the world's `results/`."""
    values: dict[str, Any] = {
        "model": ModelOptions(model, backend="scripted"),
        "tasks": "toy",
        "include_paths": (world / "tasks",),
        "data_root": world / "hub",
        "output": world / "results",
    }
    return changed(RunSettings(ModelOptions("")), **{**values, **changes})


def part_bytes(run: Path) -> dict[str, bytes]:
    """Every parquet part of a run folder, by its path in the folder."""
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.parquet"))}


def comparable(record: RunRecord | dict[str, Any]) -> dict[str, Any]:
    """A record as JSON, without what may differ between two runs with the same results."""
    values = record.to_json() if isinstance(record, RunRecord) else record
    return {name: value for name, value in values.items() if name != "provenance"}

"""Tasks written on the spot: a YAML text and rows go in, a Task comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from benchbench.tasks import index
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.task import Task

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
MakeTask = Callable[..., Task]
MakeIndex = Callable[..., TaskIndex]

QUESTIONS = [
    {"id": i, "q": f"What is {i} plus {i}?", "options": [str(2 * i), str(2 * i + 1), f"not {i}"], "right": i % 3}
    for i in range(12)
]
CHOICE = """
    task: sums
    dataset_path: json
    dataset_kwargs: {data_files: {test: test.jsonl}}
    test_split: test
    output_type: multiple_choice
    doc_to_text: "Q: {{q}}\\nA:"
    doc_to_target: right
    doc_to_choice: options
"""
"""A multiple choice task over QUESTIONS in test.jsonl."""


def write_rows(folder: Path, rows: Rows) -> None:
    """`{split: rows}` as `<folder>/<split>.jsonl`."""
    for split, values in rows.items():
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in values]
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def no_packaged_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index that knows only what the test writes; returns the empty folder of packaged tasks."""
    folder = tmp_path / "packaged"
    folder.mkdir()
    monkeypatch.setattr(index, "packaged_tasks", lambda: folder)
    return folder


@pytest.fixture
def make_index(tmp_path: Path, no_packaged_tasks: Path) -> MakeIndex:
    """Writes files (name → YAML text) and rows into a folder, and indexes it."""

    def make(files: Mapping[str, str], rows: Rows | None = None) -> TaskIndex:
        folder = tmp_path / "tasks"
        folder.mkdir(exist_ok=True)
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(dedent(text), encoding="utf-8")
        write_rows(folder, rows or {})
        return TaskIndex([folder])

    return make


@pytest.fixture
def make_task(make_index: MakeIndex) -> MakeTask:
    """One YAML text, its rows, and the name of a task in it (the first, if none is given)."""

    def make(text: str, rows: Rows | None = None, name: str | None = None) -> Task:
        found = make_index({"t.yaml": text}, rows)
        for reason in found.skipped.values():
            raise reason
        return found.task(name if name is not None else next(iter(found.variants)))

    return make

"""Conversations with two turns on scripted models, and judges whose minds are known."""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from shutil import copytree, rmtree
from tempfile import mkdtemp
from typing import Any

import pytest
import yaml

from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import NOTHING, RequestKeys, Work
from benchbench.backends.scripted import ScriptedBackend
from benchbench.core.types import Completion, Failure, GenerateRequest
from benchbench.extensions.judge import bench
from benchbench.extensions.judge.options import JudgeOptions
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.runner.run import run
from benchbench.store.folder import RunFolder
from tests.runner.toy import settings, write_rows

CHAT: dict[str, Any] = {
    "task": "toy_chat",
    "version": 1,
    "dataset_path": "toy/chat",
    "test_split": "test",
    "output_type": "generate_until",
    "turns": "turns",
    "doc_to_target": "{{ reference }}",
    "generation_kwargs": {"until": [], "max_gen_toks": 16},
    "metric_list": [{"metric": "judge", "by": "category", "references_in": "math"}],
}
CATEGORIES = ("math", "writing")


def world(folder: Path, docs: int = 12, **changes: Any) -> Path:
    """Writes task and data; `changes` are keys of the task file."""
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    (folder / "tasks" / "toy_chat.yaml").write_text(yaml.safe_dump({**CHAT, **changes}, allow_unicode=True))
    rows = [
        {
            "question_id": 81 + n,
            "category": CATEGORIES[n % 2],
            "turns": [f"Question {n}?", f"And {n} again?"],
            "reference": [f"Right {n}.", f"Right again {n}."],
        }
        for n in range(docs)
    ]
    write_rows(folder / "hub/toy/chat/default/test.jsonl", rows)
    return folder


def finished(folder: Path, model: str = "hash", **changes: Any) -> RunFolder:
    """The run of a contestant."""
    return RunFolder(run(settings(folder, model, tasks="toy_chat", **changes)).path)


@cache
def _made(docs: int) -> Path:
    """A finished world that is copied, for running it takes longer than judging it."""
    folder = Path(mkdtemp(prefix="benchbench-judges-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    finished(world(folder, docs=docs))
    return folder


def ready(folder: Path, docs: int = 12) -> RunFolder:
    """`finished(world(folder, docs))`, from a copy."""
    copytree(_made(docs), folder, dirs_exist_ok=True)
    (path,) = (found.parent for found in (folder / "results").glob("*/*/run.json"))
    return RunFolder(path)


Mind = Callable[[str, GenerateRequest], str | Failure]
"""(whole prompt, request) → what the judge says."""


class MindedBackend(ScriptedBackend):
    """A judge that says what a function says."""

    asked: list[str]

    def __init__(self, options: ModelOptions, mind: Mind) -> None:
        super().__init__(ModelOptions("hash", backend="scripted"))
        self.mind, self.asked, self.work = mind, [], Work()

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        for request in requests:
            if request.key in skip:
                continue
            self.asked.append(request.prompt.text)
            said = self.mind(request.prompt.text, request)
            if isinstance(said, Failure):
                yield said
            else:
                yield Completion(request, said, "eos", len(said.split()), len(request.prompt.text.split()))


def judges(monkeypatch: pytest.MonkeyPatch, **minds: Mind) -> dict[str, MindedBackend]:
    """Judges by name, which are opened in place of models; what was opened, with what it was asked."""
    opened: dict[str, MindedBackend] = {}

    def open_judge(options: ModelOptions) -> MindedBackend:
        name = options.model
        opened[name] = MindedBackend(options, minds[name])
        from dataclasses import replace

        opened[name].info = replace(opened[name].info, model=name, model_identity=f"weights of {name}")
        return opened[name]

    monkeypatch.setattr(bench, "open_backend", open_judge)
    return opened


def asked(folder: Path, *models: str, options: dict[str, str] | None = None, **judge: Any) -> ScoreSettings:
    """`benchbench score --metric judge --judge …`."""
    return ScoreSettings(
        ("judge",),
        include_paths=(folder / "tasks",),
        data_root=folder / "hub",
        judge=JudgeOptions(models=models, **judge),
        options=options or {},
    )


def lines(path: Path, *values: dict[str, Any]) -> Path:
    """A JSON lines file."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path

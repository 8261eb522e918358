"""What is measured, and how much faster than lm-eval each row is meant to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchbench.core.types import RenderedDoc, Request, RollingRequest
from benchbench.tasks.index import TaskIndex
from benchbench.tasks.prepare import prepare
from benchbench.tasks.settings import RenderSettings
from benchbench.tasks.task import PreparedTask

TASKS = Path(__file__).parent / "tasks"


@dataclass(frozen=True)
class Row:
    """One kind of work, scored by both sides."""

    name: str
    work: str
    tasks: tuple[str, ...]
    num_fewshot: int
    promised: float
    """How many times faster than lm-eval, at least."""
    docs: int
    """Documents per task unless --limit says otherwise."""
    pilot: int
    """Documents of the first task on which lm-eval's batch size is chosen."""
    backend: str = "hf"
    """The engine of both sides, each with its own way of using it."""


@dataclass(frozen=True)
class Start:
    """A command that only looks something up."""

    name: str
    arguments: tuple[str, ...]
    promised: float
    """Seconds, at most."""


MMLU = ("mmlu_anatomy", "mmlu_college_physics", "mmlu_econometrics", "mmlu_philosophy", "mmlu_world_religions")
ROWS = (
    Row("hellaswag-0", "HellaSwag, 4 long choices, 0-shot", ("hellaswag",), 0, 1.8, docs=200, pilot=16),
    Row("hellaswag-5", "HellaSwag, 5-shot fixed", ("hellaswag_shots",), 5, 8.0, docs=100, pilot=16),
    Row("mmlu-5", "MMLU, one-letter answers, 5-shot", MMLU, 5, 5.0, docs=40, pilot=32),
    Row("mmlu-5-vllm", "MMLU, one-letter answers, 5-shot, vLLM", MMLU, 5, 8.0, docs=20, pilot=0, backend="vllm"),
    Row("hellaswag-5-vllm", "HellaSwag, 5-shot, vLLM", ("hellaswag_shots",), 5, 8.0, docs=40, pilot=0, backend="vllm"),
    Row("triviaqa-5", "TriviaQA, 5-shot generation", ("triviaqa_shots",), 5, 2.0, docs=100, pilot=32),
    Row("wmt14-5", "WMT14 fr-en, 5-shot generation", ("wmt14-fr-en",), 5, 2.0, docs=48, pilot=32),
)
STARTS = (
    Start("help", ("--help",), 0.4),
    Start("tasks-ls", ("tasks", "ls"), 1.0),
)


def render(row: Row, data_root: Path | None, limit: int | None) -> list[PreparedTask]:
    """The row's tasks in few-shot mode `fixed`. Both sides are asked with these prompts."""
    index = TaskIndex([TASKS])
    settings = RenderSettings(num_fewshot=row.num_fewshot, limit=limit or row.docs, data_root=data_root)
    return [_cut_left(prepare(index.task(name), settings)) for name in row.tasks]


def _cut_left(prepared: PreparedTask) -> PreparedTask:
    """The same task with lm-eval's rule for prompts that do not fit, so that both sides see the same tokens."""
    return replace(prepared, docs=tuple(_cut_left_doc(doc) for doc in prepared.docs))


def _cut_left_doc(doc: RenderedDoc) -> RenderedDoc:
    return replace(doc, requests=tuple(_cut_left_request(request) for request in doc.requests))


def _cut_left_request(request: Request) -> Request:
    if isinstance(request, RollingRequest):
        return request
    return replace(request, prompt=replace(request.prompt, overflow="truncate_left"))


def requests_of(prepared: Sequence[PreparedTask]) -> list[list[Request]]:
    """All requests, one list per task."""
    return [[request for doc in task.docs for request in doc.requests] for task in prepared]

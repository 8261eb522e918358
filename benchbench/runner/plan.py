"""Which tasks, which docs, which requests: everything that is known before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchbench.backends.protocol import ChatFormat
from benchbench.core.errors import ArgumentError, TaskError
from benchbench.core.format import several
from benchbench.core.ids import content_hash
from benchbench.core.memory import rare_collections
from benchbench.core.registry import has_ties
from benchbench.core.task_scoring import Group
from benchbench.core.types import GenerateRequest, Json, RenderedDoc, Request, RollingRequest
from benchbench.runner.events import Note, OnEvent, Preparing
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from benchbench.tasks.task import PreparedTask

MOVES_NOTHING = ("file", "doc_to_source")
"""Keys of a task that change neither what is asked nor what the run itself scores."""
BYTES_PER_TOKEN = 4
"""Rough size of a token, for estimates made without a tokenizer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The prepared tasks of a run, in order, and the groups whose aggregate rows are shown."""

    tasks: tuple[PreparedTask, ...]
    groups: tuple[Group, ...] = ()
    chat: ChatFormat | None = None
    """How conversations become text, where prompts are conversations; known once the model is open."""

    @property
    def docs(self) -> int:
        """Docs of all tasks."""
        return sum(len(prepared.docs) for prepared in self.tasks)

    @property
    def requests(self) -> int:
        """Requests of all tasks."""
        return sum(prepared.asked.requests for prepared in self.tasks)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a task will ask of a model, guessed from text sizes."""

    task: str
    docs: int
    requests: int
    num_fewshot: int
    tokens_alone: int
    """If each request were computed on its own."""
    tokens_shared: int
    """If every shared few-shot block and every doc's prompt were computed once."""


@rare_collections()
def make_plan(settings: RunSettings, on_event: OnEvent) -> Plan:
    """Selects, loads and renders the tasks. TaskError or DataError, naming the task, if one cannot be."""
    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.prepare import prepare

    index = TaskIndex(settings.include_paths)
    selection = index.select(settings.tasks)
    if index.skipped:
        first = next(iter(index.skipped.values()))
        on_event(Note(f"{several(len(index.skipped), 'file')} of --include-path skipped, e.g. {first}"))
    if settings.tasks is None:
        on_event(Note(f"No --tasks given: running the default suite, {len(selection.tasks)} tasks."))
    rendering, prepared = settings.render, []
    for position, task in enumerate(selection.tasks, start=1):
        on_event(Preparing(task.name, position, len(selection.tasks)))
        prepared.append(prepare(task, rendering))
        for text in prepared[-1].notes:
            on_event(Note(f"{task.name}: {text}"))
    if not prepared:
        raise TaskError(f"--tasks {settings.tasks!r} selects no task. See `benchbench tasks ls`.")
    if settings.render.gen_kwargs and all(one.task.output_type != "generate_until" for one in prepared):
        raise ArgumentError("--gen-kwargs was given, but none of the tasks writes texts; leave it out.")
    return Plan(tuple(prepared), selection.groups)


def task_identity(prepared: PreparedTask) -> dict[str, Json]:
    """What must be equal for two runs to have asked and scored the same: goes into the run id."""
    return {
        "prompt": prepared.prompt_hash,
        "data": prepared.data_hash,
        "num_fewshot": prepared.num_fewshot,
        "docs": len(prepared.docs),
        "version": prepared.task.version,
        "scoring": content_hash(prepared.task.scoring.as_json() | ({"ties": "draw"} if draws_ties(prepared) else {})),
        "resolved": content_hash({k: v for k, v in prepared.task.resolved().items() if k not in MOVES_NOTHING}),
    }


def draws_ties(prepared: PreparedTask) -> bool:
    """Whether one of equally likely choices is drawn for some metric, and not the first taken as lm-eval does."""
    if prepared.own_scoring is not None or prepared.task.output_type != "multiple_choice":
        return False
    takes = [metric.kwargs.get("ties") for metric in prepared.task.scoring.metrics if has_ties(metric.name)]
    return any(rule != "first" for rule in takes)


def estimate(prepared: PreparedTask) -> Estimate:
    """Sizes of a prepared task."""
    alone = sum(_request_bytes(request) for doc in prepared.docs for request in doc.requests)
    return Estimate(
        task=prepared.task.name,
        docs=len(prepared.docs),
        requests=prepared.asked.requests,
        num_fewshot=prepared.num_fewshot,
        tokens_alone=alone // BYTES_PER_TOKEN,
        tokens_shared=_shared_bytes(prepared.docs) // BYTES_PER_TOKEN,
    )


def _request_bytes(request: Request) -> int:
    if isinstance(request, RollingRequest):
        return _size(request.text)
    written = 0 if isinstance(request, GenerateRequest) else _size(request.continuation)
    return sum(map(_size, request.prompt.shared)) + _size(request.prompt.question) + written


def _shared_bytes(docs: Iterable[RenderedDoc]) -> int:
    blocks: dict[tuple[str, ...], int] = {}
    total = 0
    for doc in docs:
        questions: set[str] = set()
        for request in doc.requests:
            if isinstance(request, RollingRequest):
                total += _size(request.text)
                continue
            block = request.prompt.shared
            blocks.setdefault(block, sum(map(_size, block)))
            questions.add(request.prompt.question)
            total += 0 if isinstance(request, GenerateRequest) else _size(request.continuation)
        total += sum(map(_size, questions))
    return total + sum(blocks.values())


def _size(text: str) -> int:
    return len(text.encode("utf-8", errors="replace"))

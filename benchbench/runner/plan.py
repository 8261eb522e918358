"""Which tasks, which docs, which requests: everything that is known before a model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchbench.backends.protocol import ChatFormat
from benchbench.core.errors import ArgumentError, DataError, TaskError
from benchbench.core.format import several
from benchbench.core.ids import content_hash
from benchbench.core.memory import rare_collections
from benchbench.core.post_metrics import without_listed
from benchbench.core.registry import has_ties
from benchbench.core.task_scoring import Group
from benchbench.core.types import GenerateRequest, Json, RenderedDoc, Request, RollingRequest
from benchbench.runner.events import Note, OnEvent, Preparing
from benchbench.runner.settings import RunSettings

if TYPE_CHECKING:
    from pathlib import Path

    from benchbench.tasks.index import TaskIndex
    from benchbench.tasks.task import AnyTask, PreparedTask

MOVES_NOTHING = ("file", "doc_to_source", "doc_to_program")
"""Keys of a task that change neither what is asked nor what the run itself scores."""
BYTES_PER_TOKEN = 4
"""Rough size of a token, for estimates made without a tokenizer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The prepared tasks of a run, in order, and the groups whose aggregate rows are shown."""

    tasks: tuple[PreparedTask, ...]
    groups: tuple[Group, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Task of the default suite → why it cannot be asked: its data are not in the data root."""
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
    from benchbench.tasks.rows import root_or_env
    from benchbench.tasks.task import Task

    index = TaskIndex(settings.include_paths)
    selection = index.select(settings.tasks)
    for text in _remarks(settings, index, selection.tasks):
        on_event(Note(text))
    rendering, prepared = settings.render, []
    root, left_out = root_or_env(rendering.data_root), dict[str, str]()
    for position, task in enumerate(selection.tasks, start=1):
        on_event(Preparing(task.name, position, len(selection.tasks)))
        try:
            prepared.append(prepare(task, rendering))
        except DataError as error:
            if settings.tasks is not None or root is None:
                raise _with_others(error, selection.tasks, root) from error
            left_out[task.name] = str(error)
            continue
        for text in prepared[-1].notes:
            on_event(Note(f"{task.name}: {text}"))
    if left_out:
        _tell_left_out(left_out, len(selection.tasks), root, on_event)
    if settings.render.metadata and all(isinstance(one.task, Task) for one in prepared):
        raise ArgumentError("--metadata is read by tasks of lm_eval: alone, and none of them was named; leave it out.")
    if not prepared:
        raise TaskError(f"--tasks {settings.tasks!r} selects no task. See `benchbench tasks ls`.")
    if settings.render.gen_kwargs and all(one.task.output_type != "generate_until" for one in prepared):
        raise ArgumentError("--gen-kwargs was given, but none of the tasks writes texts; leave it out.")
    return Plan(tuple(prepared), selection.groups, left_out)


def _remarks(settings: RunSettings, index: TaskIndex, tasks: Sequence[AnyTask]) -> Iterator[str]:
    """What is to be known of the selected tasks before any is loaded."""
    if index.skipped:
        first = next(iter(index.skipped.values()))
        yield f"{several(len(index.skipped), 'file')} of --include-path skipped, e.g. {first}"
    if settings.tasks is None:
        yield f"No --tasks given: running the default suite, {len(tasks)} tasks."
    for task in tasks:
        yield from task.remarks


def _with_others(error: DataError, tasks: Sequence[AnyTask], root: Path | None) -> DataError:
    """The error of the first task without its data, which also names the others, so that one command fetches all."""
    from benchbench.tasks.data_root import lacking_in

    if root is None or len(tasks) == 1 or not root.is_dir():
        return error
    lacking = lacking_in(root, tasks)
    if len(lacking) < 2:
        return error
    fetch = f"`benchbench data pull {','.join(lacking)} --to {root}` fetches all of it."
    return DataError(
        f"{error} {len(lacking)} of the {len(tasks)} tasks lack data there: {first_names(lacking)}. {fetch}"
    )


def _tell_left_out(left_out: Mapping[str, str], count: int, root: Path | None, on_event: OnEvent) -> None:
    """Says what of the default suite is not asked, and why. DataError if that is every task."""
    fetch = f"`benchbench data pull default --to {root}` fetches what is missing."
    if len(left_out) == count:
        first = next(iter(left_out.values()))
        raise DataError(f"None of the {count} tasks of the default suite finds its data in {root}. {fetch} {first}")
    names = first_names([*left_out])
    on_event(Note(f"{len(left_out)} of the {count} tasks lack data in {root} and are left out: {names}. {fetch}"))


def first_names(names: Sequence[str], most: int = 10) -> str:
    """The names, or the first of them and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def task_identity(prepared: PreparedTask) -> dict[str, Json]:
    """What must be equal for two runs to have asked and scored the same: goes into the run id.

    Metrics that are computed after the run are no part of it: another judge judges the same answers.
    """
    resolved = without_listed(prepared.task.resolved())
    return {
        "prompt": prepared.prompt_hash,
        "data": prepared.data_hash,
        "num_fewshot": prepared.num_fewshot,
        "docs": len(prepared.docs),
        "version": prepared.task.version,
        "scoring": content_hash(prepared.task.scoring.as_json() | ({"ties": "draw"} if draws_ties(prepared) else {})),
        "resolved": content_hash({k: v for k, v in resolved.items() if k not in MOVES_NOTHING}),
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

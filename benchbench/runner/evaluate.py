"""One task through the backend: what is known is kept, the rest asked; a doc is an item when its last answer comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import add, attrgetter
from typing import TYPE_CHECKING, Any, cast

from benchbench.backends.protocol import Backend
from benchbench.core.errors import BackendError, BenchbenchError
from benchbench.core.quick_dataclass import quick_dataclass
from benchbench.core.task_scoring import TaskScoring
from benchbench.core.types import (
    WINDOW,
    Completion,
    Failure,
    GenerateRequest,
    Item,
    ItemScore,
    Json,
    Loglikelihood,
    LoglikelihoodRequest,
    RenderedDoc,
    Request,
    Response,
    RollingRequest,
)
from benchbench.runner.events import OnEvent, Progress, TaskStarted
from benchbench.runner.turns import answer_turns
from benchbench.store.folder import LiveLog, RunFolder, RunWriter
from benchbench.store.questions import KeepQuestions, keep_questions
from benchbench.store.reuse import reusable
from benchbench.store.table import sort_items, storable

if TYPE_CHECKING:
    from benchbench.tasks.task import PreparedTask


def scoring_of(prepared: PreparedTask) -> TaskScoring:
    """The scoring that the task's source brought, else benchbench's own."""
    from benchbench.scoring.score import StandardScoring

    return prepared.own_scoring or StandardScoring(prepared.task.scoring)


def score_item(scoring: TaskScoring, rendered: RenderedDoc, responses: Sequence[Response], item_key: str) -> Item:
    """The item of a doc whose responses are all in, `responses` in request order.

    A scorer that raises makes a failed item, never a wrong one. TaskError and its like pass: the task is
    wrong, and would be for every doc.
    """
    try:
        score = scoring.score(rendered, responses)
    except BenchbenchError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer that raises becomes a record, not the end of a run
        from benchbench.scoring.score import failed

        score = failed(scoring.spec, f"scoring_error: {error!r}")
    if score.outcome == "failed":
        failure = _why(responses) or score.explanation or "the item could not be scored"
        return _item(rendered, (), item_key, score, failure)
    return _item(rendered, responses, item_key, score, None)


def _why(responses: Sequence[Response]) -> str | None:
    return next((f"{one.kind}: {one.message}" for one in responses if isinstance(one, Failure)), None)


def _item(
    rendered: RenderedDoc, responses: Sequence[Response], item_key: str, score: ItemScore, failure: str | None
) -> Item:
    totals, greedy, texts, reasons, num_tokens, prompt_tokens, dropped, truncated = _answers(responses)
    doc, prediction = rendered.doc, score.prediction
    return Item(  # by position, in the order of its fields: by 21 names it takes four times as long
        rendered.task,
        doc.id,
        doc.hash,
        doc.cluster,
        rendered.prompt_name,
        item_key,
        _gold(rendered),
        tuple(map(storable, rendered.choices or rendered.targets)),
        None if prediction is None else storable(prediction),
        score.outcome,
        score.tie,
        totals,
        greedy,
        num_tokens,
        tuple(map(storable, texts)),
        reasons,
        max(dropped) if dropped else 0,
        max(truncated) if truncated else 0,
        None if failure is None else storable(failure),
        {name: None if value is None else float(value) for name, value in score.scores.items()},
        prompt_tokens,
    )


_COUNTS = ("num_tokens", "prompt_tokens", "dropped_shots", "truncated_tokens")
_SCORED, _WRITTEN = attrgetter("total", "is_greedy", *_COUNTS), attrgetter("text", "finish_reason", *_COUNTS)
_NOTHING: tuple[tuple[Any, ...], ...] = ((),) * (4 + len(_COUNTS))


def _answers(responses: Sequence[Response]) -> Sequence[tuple[Any, ...]]:
    """Of log-likelihoods totals and greedy, of texts these and why they ended, of all `_COUNTS`: one value each."""
    kinds = {*map(type, responses)}
    if len(kinds) > 1:
        scored = [one for one in responses if isinstance(one, Loglikelihood)]
        return [*map(add, _answers(scored), _answers([one for one in responses if isinstance(one, Completion)]))]
    if Loglikelihood in kinds:
        totals, greedy, *counts = zip(*map(_SCORED, responses), strict=True)
        return totals, greedy, (), (), *counts
    if Completion in kinds:
        return (), (), *zip(*map(_WRITTEN, responses), strict=True)
    return _NOTHING


def _gold(rendered: RenderedDoc) -> str | None:
    if rendered.gold:
        return str(rendered.gold[0])
    return storable(rendered.targets[0]) if rendered.targets else None


@quick_dataclass(frozen=True, slots=True)
class AskedDoc:
    """A rendered doc with the hash of what it asks."""

    rendered: RenderedDoc
    key: str


AskedDocs = Mapping[int, AskedDoc]
"""Docs by their id, in order."""


def evaluate(
    prepared: PreparedTask, backend: Backend, writer: RunWriter, others: Sequence[RunFolder], on_event: OnEvent
) -> Sequence[Item]:
    """All items of the task, sorted and sealed on disk. Goes on from what the folder already holds.

    A task of more docs than a window is asked, scored and written window by window, and its items are read from disk.
    `others` are runs of the same weights whose responses may be taken over.
    """
    task = prepared.task.name
    if writer.is_sealed(task):
        writer.drop_live(task)
        return writer.sealed_items(task)
    began, before = time.monotonic(), backend.work.copy()
    with keep_questions(writer, task) as keep:
        asking = _TaskRun(prepared, backend, writer, others, on_event, keep)
        items, reused = asking.at_once() if asking.windows == 1 else asking.by_windows()
    work = backend.work.since(before).totals()
    about: dict[str, Json] = {"plan": backend.info.plan, "notes": list(backend.notes)}
    seconds = round(time.monotonic() - began, 3)
    writer.note({"event": "task", "task": task, "seconds": seconds, "reused": reused, **about, **work})
    return items()


class _TaskRun:
    """A task while it is asked."""

    def __init__(
        self,
        prepared: PreparedTask,
        backend: Backend,
        writer: RunWriter,
        others: Sequence[RunFolder],
        on_event: OnEvent,
        keep: KeepQuestions,
    ) -> None:
        self._prepared, self._backend, self._writer = prepared, backend, writer
        self._others, self._on_event, self._keep = others, on_event, keep
        self._task, self._scoring = prepared.task.name, scoring_of(prepared)
        held = len(prepared.docs) if prepared.own_scoring else WINDOW  # a source holds its documents anyway
        self._starts = range(0, len(prepared.docs), max(1, held))
        self.windows = max(1, len(self._starts))

    def at_once(self) -> tuple[Callable[[], Sequence[Item]], int]:
        """All docs: how to seal and get their items, and how many were reused."""
        done, reused, _ = self._window(self._prepared.docs, self._writer.live(self._task), is_first=True)
        items = self._scoring.with_influence(sort_items(done))

        def seal() -> Sequence[Item]:
            self._writer.seal(self._task, items)
            return items

        return seal, len(reused)

    def by_windows(self) -> tuple[Callable[[], Sequence[Item]], int]:
        """As `at_once`, holding the docs and items of one window at a time."""
        from benchbench.scoring.estimates import influence

        count = 0
        for number, start in enumerate(self._starts):
            earlier = [*self._writer.window(self._task, number), *self._writer.live(self._task)]
            docs = self._prepared.docs[start : start + self._starts.step]
            items, reused, is_new = self._window(docs, earlier, is_first=number == 0)
            if is_new or not self._writer.has_window(self._task, number):
                self._writer.seal_window(self._task, number, items, reused)
            count += len(reused)
        find = partial(influence, self._scoring.spec)
        return lambda: self._writer.seal_windows(self._task, self.windows, find), count

    def _window(
        self, rendered: Sequence[RenderedDoc], earlier: Sequence[tuple[Item, bool]], *, is_first: bool
    ) -> tuple[list[Item], set[int], bool]:
        """The items of some docs, the ids of those that were reused, and whether any is new."""
        keys = self._backend.request_keys([doc.requests for doc in rendered])
        docs = {one.doc.id: AskedDoc(one, key) for one, key in zip(rendered, keys, strict=True)}
        kept = _kept(docs, earlier)
        reused = {item.doc_id for item, was_reused in earlier if was_reused and item.doc_id in kept}
        with self._writer.open_task(self._task) as live:
            taken = _take_over(docs, kept, self._others, self._scoring, live)
            kept, reused = {**kept, **taken}, reused | taken.keys()
            self._tell(docs, kept, is_first=is_first)
            asked = _ask(docs, kept, self._backend, self._scoring, live, self._on_event)
        self._keep(rendered)
        return [*kept.values(), *asked], reused, bool(taken or asked)

    def _tell(self, docs: AskedDocs, kept: Mapping[int, Item], *, is_first: bool) -> None:
        """That the task begins, and how many of its requests need no asking."""
        done = sum(len(docs[number].rendered.requests) for number in kept)
        if is_first:
            self._on_event(TaskStarted(self._task, self._prepared.asked.requests, done))
        else:
            for _ in range(done):
                self._on_event(Progress(self._task))


def _kept(docs: AskedDocs, live: Iterable[tuple[Item, bool]]) -> dict[int, Item]:
    """Items of an earlier session that still answer what is asked. Those that failed for now are asked again."""
    return {
        item.doc_id: item
        for item, _ in live
        if item.doc_id in docs and docs[item.doc_id].key == item.item_key and not item.failed_for_now
    }


def _take_over(
    docs: AskedDocs, kept: dict[int, Item], others: Sequence[RunFolder], scoring: TaskScoring, live: LiveLog
) -> dict[int, Item]:
    """Scores docs anew from the responses of other runs and keeps them here too."""
    from benchbench.scoring.score import kept_responses

    if not others:
        return {}
    wanted = {number: doc for number, doc in docs.items() if number not in kept}
    found = reusable(others, scoring.spec.task, {doc.key for doc in wanted.values()})
    taken: dict[int, Item] = {}
    for number, doc in wanted.items():
        responses = kept_responses(found[doc.key], doc.rendered.requests) if doc.key in found else None
        if responses is not None:
            taken[number] = score_item(scoring, doc.rendered, responses, doc.key)
            live.append(taken[number], reused=True)
    return taken


def _ask(
    docs: AskedDocs,
    kept: dict[int, Item],
    backend: Backend,
    scoring: TaskScoring,
    live: LiveLog,
    on_event: OnEvent,
) -> list[Item]:
    """Asks the backend for every doc that is not kept; each is scored and written as it is complete."""
    task = scoring.spec.task
    requests = [request for doc in docs.values() for request in doc.rendered.requests]
    skip = frozenset([request.key for number in kept for request in docs[number].rendered.requests])
    waiting: dict[int, tuple[AskedDoc, dict[int, Response]]]
    """Docs of which responses are still out, with those that are in, by their index."""
    waiting = {number: (doc, {}) for number, doc in docs.items() if number not in kept}
    done: list[Item] = []
    progress, failed = Progress(task), Progress(task, failed=True)
    rendered_docs = [doc.rendered for doc in docs.values()]
    in_turns = any(doc.turns for doc in rendered_docs)
    responses = answer_turns(rendered_docs, kept, backend) if in_turns else _responses(backend, requests, skip)
    for response in responses:
        on_event(failed if isinstance(response, Failure) else progress)
        request = response.request
        if (found := waiting.get(request.doc_id)) is None:
            continue
        doc, answers = found
        answers[request.index] = response
        rendered = doc.rendered
        if len(answers) == len(rendered.requests):
            del waiting[request.doc_id]
            item = score_item(scoring, rendered, [answers[one.index] for one in rendered.requests], doc.key)
            done.append(item)
            live.append(item)
    if waiting:
        raise BackendError(
            f"the backend {backend.info.name} left {len(waiting)} docs of {task} without an answer;"
            " the same command asks for them again."
        )
    return done


def _responses(
    backend: Backend, requests: Sequence[Request], skip: frozenset[tuple[str, int, int]]
) -> Iterator[Response]:
    """Sends each kind of request to its method, always the whole list, so that the layout is the same on resume."""
    methods: list[tuple[type, Callable[..., Iterator[Any]]]] = [
        (LoglikelihoodRequest, backend.loglikelihood),
        (RollingRequest, backend.loglikelihood_rolling),
        (GenerateRequest, backend.generate),
    ]
    for kind, method in methods:
        chosen = [request for request in requests if isinstance(request, kind)]
        if any(request.key not in skip for request in chosen):
            yield from cast("Iterator[Response]", method(chosen, skip=skip))

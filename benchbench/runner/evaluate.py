"""One task through the backend: what is known is kept, the rest asked; a doc is an item when its last answer comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from benchbench.backends.protocol import Backend, Work
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
from benchbench.store.folder import LiveLog, RunFolder, RunWriter
from benchbench.store.questions import keep_questions
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
    failed_ones = [f"{response.kind}: {response.message}" for response in responses if isinstance(response, Failure)]
    failure = failed_ones[0] if failed_ones else None
    try:
        score = scoring.score(rendered, responses)
    except BenchbenchError:
        raise
    except Exception as error:  # noqa: BLE001 - a scorer that raises becomes a record, not the end of a run
        from benchbench.scoring.score import failed

        score = failed(scoring.spec, f"scoring_error: {error!r}")
    if failure is None and score.outcome == "failed":
        failure = score.explanation or "the item could not be scored"
    return _item(rendered, responses, item_key, score, failure)


def _item(
    rendered: RenderedDoc, responses: Sequence[Response], item_key: str, score: ItemScore, failure: str | None
) -> Item:
    kept = responses if failure is None else ()
    lls = [response for response in kept if isinstance(response, Loglikelihood)]
    completions = [response for response in kept if isinstance(response, Completion)]
    good: list[Loglikelihood | Completion] = [*lls, *completions]
    return Item(
        task=rendered.task,
        doc_id=rendered.doc.id,
        doc_hash=rendered.doc.hash,
        cluster=rendered.doc.cluster,
        prompt_name=rendered.prompt_name,
        item_key=item_key,
        gold=_gold(rendered),
        targets=tuple(map(storable, rendered.choices or rendered.targets)),
        prediction=None if score.prediction is None else storable(score.prediction),
        outcome=score.outcome,
        tie=score.tie,
        loglikelihoods=tuple(map(_TOTAL, lls)),
        is_greedy=tuple(map(_IS_GREEDY, lls)),
        num_tokens=tuple(map(_NUM_TOKENS, good)),
        texts=tuple([storable(written.text) for written in completions]),
        finish_reasons=tuple([written.finish_reason for written in completions]),
        dropped_shots=max(map(_DROPPED_SHOTS, good), default=0),
        truncated_tokens=max(map(_TRUNCATED_TOKENS, good), default=0),
        failure=None if failure is None else storable(failure),
        scores={name: None if value is None else float(value) for name, value in score.scores.items()},
        prompt_tokens=tuple(map(_PROMPT_TOKENS, good)),
    )


# By `attrgetter`: a doc makes one item, and this is read of each of its responses.
_TOTAL, _IS_GREEDY, _NUM_TOKENS, _PROMPT_TOKENS, _DROPPED_SHOTS, _TRUNCATED_TOKENS = map(
    attrgetter, ("total", "is_greedy", "num_tokens", "prompt_tokens", "dropped_shots", "truncated_tokens")
)


def _gold(rendered: RenderedDoc) -> str | None:
    if rendered.gold:
        return str(rendered.gold[0])
    return storable(rendered.targets[0]) if rendered.targets else None


@quick_dataclass(frozen=True, slots=True)
class AskedDoc:
    """A rendered doc with the hash of what it asks."""

    rendered: RenderedDoc
    key: str

    @property
    def id(self) -> int:
        """The doc's row number."""
        return self.rendered.doc.id


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
    began, before = time.monotonic(), _totals(backend.work)
    asking = _TaskRun(prepared, backend, writer, others, on_event)
    items, reused = asking.at_once() if asking.windows == 1 else asking.by_windows()
    after = _totals(backend.work)
    keep_questions(writer, task, questions_of(prepared))
    work = {name: after[name] - before.get(name, 0) for name in after}
    about: dict[str, Json] = {"plan": backend.info.plan, "notes": list(backend.notes)}
    seconds = round(time.monotonic() - began, 3)
    writer.note({"event": "task", "task": task, "seconds": seconds, "reused": reused, **about, **work})
    return items()


def questions_of(prepared: PreparedTask) -> Iterator[tuple[int, str]]:
    """(doc id, what it asks) of every doc."""
    return ((rendered.doc.id, rendered.question) for rendered in prepared.docs)


class _TaskRun:
    """A task while it is asked."""

    def __init__(
        self,
        prepared: PreparedTask,
        backend: Backend,
        writer: RunWriter,
        others: Sequence[RunFolder],
        on_event: OnEvent,
    ) -> None:
        self._prepared, self._backend, self._writer = prepared, backend, writer
        self._others, self._on_event = others, on_event
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
        docs = [AskedDoc(one, key) for one, key in zip(rendered, keys, strict=True)]
        kept = _kept(docs, earlier)
        reused = {item.doc_id for item, was_reused in earlier if was_reused and item.doc_id in kept}
        with self._writer.open_task(self._task) as live:
            taken = _take_over(docs, kept, self._others, self._scoring, live)
            kept, reused = {**kept, **taken}, reused | taken.keys()
            self._tell(docs, kept, is_first=is_first)
            asked = _ask(docs, kept, self._backend, self._scoring, live, self._on_event)
        return [*kept.values(), *asked], reused, bool(taken or asked)

    def _tell(self, docs: Sequence[AskedDoc], kept: Mapping[int, Item], *, is_first: bool) -> None:
        """That the task begins, and how many of its requests need no asking."""
        done = sum(len(doc.rendered.requests) for doc in docs if doc.id in kept)
        if is_first:
            self._on_event(TaskStarted(self._task, self._prepared.asked.requests, done))
        else:
            for _ in range(done):
                self._on_event(Progress(self._task))


def _totals(work: Work) -> dict[str, float]:
    return {
        "tokens_needed": work.tokens_needed,
        "tokens_computed": work.tokens_computed,
        "batches": work.batches,
        "out_of_memory_retries": work.out_of_memory_retries,
        **work.served,
    }


def _kept(docs: Sequence[AskedDoc], live: Iterable[tuple[Item, bool]]) -> dict[int, Item]:
    """Items of an earlier session that still answer what is asked. Those that failed for now are asked again."""
    keys = {doc.id: doc.key for doc in docs}
    return {item.doc_id: item for item, _ in live if keys.get(item.doc_id) == item.item_key and not item.failed_for_now}


def _take_over(
    docs: Sequence[AskedDoc], kept: dict[int, Item], others: Sequence[RunFolder], scoring: TaskScoring, live: LiveLog
) -> dict[int, Item]:
    """Scores docs anew from the responses of other runs and keeps them here too."""
    from benchbench.scoring.score import kept_responses

    wanted = [doc for doc in docs if doc.id not in kept]
    found = reusable(others, scoring.spec.task, {doc.key for doc in wanted})
    taken: dict[int, Item] = {}
    for doc in wanted:
        responses = kept_responses(found[doc.key], doc.rendered.requests) if doc.key in found else None
        if responses is not None:
            taken[doc.id] = score_item(scoring, doc.rendered, responses, doc.key)
            live.append(taken[doc.id], reused=True)
    return taken


def _ask(
    docs: Sequence[AskedDoc],
    kept: dict[int, Item],
    backend: Backend,
    scoring: TaskScoring,
    live: LiveLog,
    on_event: OnEvent,
) -> list[Item]:
    """Asks the backend for every doc that is not kept; each is scored and written as it is complete."""
    task = scoring.spec.task
    requests = [request for doc in docs for request in doc.rendered.requests]
    skip = frozenset([request.key for doc in docs if doc.id in kept for request in doc.rendered.requests])
    waiting = {doc.id: _OpenDoc(doc) for doc in docs if doc.id not in kept}
    done: list[Item] = []
    progress, failed = Progress(task), Progress(task, failed=True)
    for response in _responses(backend, requests, skip):
        on_event(failed if isinstance(response, Failure) else progress)
        doc = waiting.get(response.request.doc_id)
        if doc is not None and doc.complete_with(response):
            del waiting[doc.doc.id]
            done.append(score_item(scoring, doc.doc.rendered, doc.in_order(), doc.doc.key))
            live.append(done[-1])
    if waiting:
        raise BackendError(
            f"the backend {backend.info.name} left {len(waiting)} docs of {task} without an answer;"
            " the same command asks for them again."
        )
    return done


class _OpenDoc:
    """A doc of which some responses are still out."""

    __slots__ = ("_responses", "doc")

    def __init__(self, doc: AskedDoc) -> None:
        self.doc = doc
        self._responses: dict[int, Response] = {}

    def complete_with(self, response: Response) -> bool:
        self._responses[response.request.index] = response
        return len(self._responses) == len(self.doc.rendered.requests)

    def in_order(self) -> list[Response]:
        return [self._responses[request.index] for request in self.doc.rendered.requests]


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

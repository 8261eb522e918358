"""Many workers as one `Backend`: who asks does not know of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

from benchbench.backends.pool.chunks import Doc, cut, docs_of, extremes
from benchbench.backends.pool.deal import Crew, Job, Lost, deal
from benchbench.backends.pool.worker import Method, Reply, whole
from benchbench.backends.protocol import NOTHING, ChatFormat, RequestKeys, Work
from benchbench.core.errors import BackendError
from benchbench.core.types import (
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)

SMALLEST = {"cpu": 8_000, "cuda": 131_072}
"""Characters of the smallest chunk by the kind of device: a few batches of it."""
WRITING = 4
"""How many times larger it is where texts are written: those of a batch are written together, and more fit in one."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A chunk that the workers can reach."""

    docs: tuple[int, ...]
    """Their places in what was cut."""
    requests: tuple[Request, ...]
    sizes: tuple[int, ...]
    """Requests of each doc."""
    handle: Any
    """What stands for `requests` in a job."""


@dataclass(frozen=True, slots=True)
class _Cut:
    """Docs, and their chunks."""

    docs: Sequence[Doc]
    parts: Sequence[_Part]


class Pool:
    """Workers that hold the same model, behind the protocol of one."""

    def __init__(self, crew: Crew, *, keep_tokens: bool = False) -> None:
        self.work = Work()
        self._crew = crew
        self._keep_tokens = keep_tokens
        self._about = crew.about()
        self.info = self._about.info
        self._notes = dict.fromkeys(self._about.notes)
        self._refusals: dict[GenerationParams, str | None] = {}
        self._cuts: dict[tuple[str, int, int], _Cut] = {}
        """By the first request of what was cut."""
        self._homes: dict[_Part, Any] = {}
        """The worker that has a part's tokens."""
        self._task = 0
        """Counts what was asked for its keys: workers forget the tokens of what came before."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Of all workers, each once."""
        return (*self._notes, *self._crew.notes)

    def refuses(self, params: GenerationParams) -> str | None:
        """See `Backend`."""
        if params not in self._refusals:
            self._refusals[params] = self._any("refuses", params)
        return self._refusals[params]

    @cached_property
    def chat(self) -> ChatFormat:
        """See `Backend`."""
        return cast("ChatFormat", self._any("chat"))

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """Made by all workers, in the chunks in which the answers will be asked for."""
        if not self._keep_tokens:
            self._cuts.clear()
            self._homes.clear()
            self._task += 1
        asked = [place for place, doc in enumerate(docs) if doc]
        jobs: dict[Job, _Part] = {}
        for part in self._cut([tuple(docs[place]) for place in asked]):
            jobs[Job("request_keys", (part.handle, part.sizes, self._task), self._homes.get(part))] = part
        keys: dict[int, str] = {}
        for job, found in deal(self._crew, list(jobs)):
            if isinstance(found, Lost):
                raise BackendError(f"the requests cannot be made into tokens: {found.why}.")
            part = jobs[job]
            keys.update(zip([asked[place] for place in part.docs], found, strict=True))
            self._homes[part] = job.home
        for place in set(range(len(docs))) - set(asked):
            keys[place] = self._key_of_nothing
        return [keys[place] for place in range(len(docs))]

    @cached_property
    def _key_of_nothing(self) -> str:
        return cast("str", self._any("request_keys", self._crew.put(()), (0,), self._task)[0])

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """See `Backend`."""
        return self._answers("loglikelihood", requests, skip)

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """See `Backend`."""
        return self._answers("loglikelihood_rolling", requests, skip)

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """See `Backend`."""
        return self._answers("generate", requests, skip)

    def load_weights(self, checkpoint: str) -> None:
        """In every worker, in place."""
        self._about = self._crew.load_weights(checkpoint)
        self.info = replace(self._about.info, chosen=self.info.chosen)
        self._notes = dict.fromkeys(self._about.notes)
        self._refusals.clear()

    def close(self) -> None:
        """Ends all workers."""
        self._crew.close()

    def _any(self, method: str, *arguments: Any) -> Any:
        """What one worker says."""
        ((_, result),) = deal(self._crew, [Job(method, arguments)])
        if isinstance(result, Lost):
            raise BackendError(f"no worker of the pool answers: {result.why}.")
        return result

    def _cut(self, docs: Sequence[Doc]) -> Sequence[_Part]:
        """The chunks of the docs; the same ones where the same docs were cut before."""
        if not docs:
            return ()
        known = self._cuts.get(docs[0][0].key)
        if known is None or known.docs != docs:
            smallest = SMALLEST["cuda" if self.info.device.startswith("cuda") else "cpu"]
            if any(isinstance(request, GenerateRequest) for request in docs[0]):
                smallest *= WRITING
            known = _Cut(docs, [self._part(docs, chunk.docs) for chunk in cut(docs, smallest)])
            self._cuts[docs[0][0].key] = known
        return known.parts

    def _part(self, docs: Sequence[Doc], places: Sequence[int]) -> _Part:
        chosen = [docs[place] for place in places]
        requests = tuple(request for doc in chosen for request in doc)
        return _Part(tuple(places), requests, tuple(map(len, chosen)), self._crew.put(requests))

    def _answers(self, method: Method, requests: Sequence[Request], skip: RequestKeys) -> Iterator[Any]:
        """The answers to all that is not in `skip`."""
        docs = docs_of(requests)
        parts = self._cut(docs)
        wanted = [part for part in parts if any(request.key not in skip for request in part.requests)]
        lessons = self._lessons(method, docs) if self._about.learns and len(parts) > 1 and wanted else None
        for part, reply in self._asked(method, wanted, skip, lessons):
            yield from self._whole(part, reply, skip)

    def _lessons(self, method: Method, docs: Sequence[Doc]) -> bytes | None:
        """What one worker finds out on the task's extremes, so that all compute alike; also where these are known."""
        part = self._part(docs, extremes(docs))
        skip = frozenset(request.key for request in part.requests)
        for _, reply in self._asked(method, [part], skip, None):
            if isinstance(reply, Reply):
                self._count(reply)
                return reply.lessons
        return None

    def _asked(
        self, method: Method, parts: Sequence[_Part], skip: RequestKeys, lessons: bytes | None
    ) -> Iterator[tuple[_Part, Reply | Lost]]:
        jobs: dict[Job, _Part] = {}
        for part in parts:
            known = frozenset(request.key for request in part.requests if request.key in skip)
            jobs[Job("answer", (method, part.handle, known, lessons), self._homes.get(part))] = part
        for job, reply in deal(self._crew, list(jobs)):
            self._homes[jobs[job]] = job.home
            yield jobs[job], reply

    def _whole(self, part: _Part, reply: Reply | Lost, skip: RequestKeys) -> Iterator[Any]:
        """The responses with their requests."""
        if isinstance(reply, Lost):
            for request in part.requests:
                if request.key not in skip:
                    yield Failure(request, "worker_died", reply.why)
            return
        self._count(reply)
        for place, answer in reply.answers:
            request = part.requests[place]
            if request.key not in skip:
                yield whole(answer, request)

    def _count(self, reply: Reply) -> None:
        self.work.add(reply.work)
        self._notes.update(dict.fromkeys(reply.notes))
        if reply.plan != self.info.plan:
            self.info = replace(self.info, plan=reply.plan)

"""One worker of a pool: an engine in a process of its own, and what crosses between it and the pool."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, TypeAlias, cast

from benchbench.backends.engines import ModelOptions, open_engine
from benchbench.backends.protocol import Backend, ChatFormat, Learner, RequestKeys, Work
from benchbench.backends.tokens import TokenBackend
from benchbench.core import __version__
from benchbench.core.errors import BackendError
from benchbench.core.types import BackendInfo, Completion, Failure, GenerationParams, Loglikelihood, Request

Method: TypeAlias = Literal["loglikelihood", "loglikelihood_rolling", "generate"]
Bare: TypeAlias = Loglikelihood | Completion | Failure
"""A response without its request, which the pool has already."""


@dataclass(frozen=True, slots=True)
class About:
    """Who a worker is."""

    info: BackendInfo
    notes: tuple[str, ...]
    learns: bool
    """Its engine is a `Learner`."""
    host: str
    pid: int
    version: str
    """Of benchbench."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a worker sends back of one chunk."""

    answers: tuple[tuple[int, Bare], ...]
    """The place of the request in the chunk, and its response."""
    work: Work
    """What was computed for this chunk."""
    notes: tuple[str, ...]
    plan: str
    lessons: bytes | None
    """What the engine found out about itself, see `Learner`; None if nothing, or if it was told. Pickled: the pool only
    hands it on, and need not load the engine's code.
    """


class Worker:
    """Opens one engine and answers chunks with it."""

    def __init__(self) -> None:
        self._backend: Backend | None = None
        self._held: dict[Any, tuple[Request, ...]] = {}
        """Chunks by their handles: an engine knows the tokens of these very requests."""
        self._task = 0

    @property
    def backend(self) -> Backend:
        """The open engine."""
        if self._backend is None:
            raise BackendError("the worker's engine is not open.")
        return self._backend

    def open(self, options: ModelOptions, threads: int | None) -> About:
        """Opens the engine; `threads` of the processor are its own, None: as many as it likes."""
        if threads is not None:
            # Before torch is imported: it reads this once.
            os.environ["OMP_NUM_THREADS"] = str(threads)
        # What is to be forgotten, and when, the pool says.
        self._backend = open_engine(replace(options, keep_tokens=True))
        return self.about()

    def about(self) -> About:
        """Who it is now."""
        backend = self.backend
        return About(
            info=backend.info,
            notes=tuple(backend.notes),
            learns=isinstance(backend, Learner),
            host=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
        )

    def answer(self, method: Method, chunk: Any, skip: RequestKeys, lessons: bytes | None) -> Reply:
        """The answers to a chunk, but for those in `skip`. `lessons` are those of the task's extremes."""
        backend, requests = self.backend, self._requests(chunk)
        if isinstance(backend, Learner):
            backend.take_lessons(None if lessons is None else pickle.loads(lessons))  # noqa: S301  # another worker's
        places = {request.key: place for place, request in enumerate(requests)}
        before = backend.work.copy()
        found = getattr(backend, method)(requests, skip=skip)
        answers = tuple([(places[response.request.key], bare(response)) for response in found])
        learnt = pickle.dumps(backend.lessons()) if isinstance(backend, Learner) and lessons is None else None
        return Reply(answers, backend.work.since(before), tuple(backend.notes), backend.info.plan, learnt)

    def request_keys(self, chunk: Any, sizes: Sequence[int], task: int) -> list[str]:
        """See `Backend`; the docs of the chunk have `sizes` requests each. Another `task` than before: tokens of what
        was asked before are forgotten.
        """
        if task != self._task:
            self._task = task
            self._held.clear()
            if isinstance(self.backend, TokenBackend):
                self.backend.forget_tokens()
        requests = iter(self._requests(chunk))
        return self.backend.request_keys([tuple(islice(requests, size)) for size in sizes])

    def refuses(self, params: GenerationParams) -> str | None:
        """See `Backend`."""
        return self.backend.refuses(params)

    def chat(self) -> ChatFormat:
        """See `Backend`."""
        return self.backend.chat

    def load_weights(self, checkpoint: str) -> About:
        """See `Backend`."""
        self.backend.load_weights(checkpoint)
        return self.about()

    def close(self) -> None:
        """Gives memory back."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def _requests(self, chunk: Any) -> tuple[Request, ...]:
        if chunk not in self._held:
            self._held[chunk] = self.fetch(chunk)
        return self._held[chunk]

    def fetch(self, chunk: Any) -> tuple[Request, ...]:
        """What the handle stands for."""
        return cast("tuple[Request, ...]", chunk)


def bare(response: Any) -> Bare:
    """The response without its request."""
    return cast("Bare", replace(response, request=None))


def whole(response: Bare, request: Request) -> Any:
    """A bare response with its request again."""
    return replace(response, request=request)  # type: ignore[arg-type]  # the method that was asked answers its kind

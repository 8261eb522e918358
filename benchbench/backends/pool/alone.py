"""A crew of one in this process: the chunks that many workers compute, computed by one of them alone."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.backends.pool.deal import Job
from benchbench.backends.pool.worker import About, Worker
from benchbench.core.types import Request


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """Stands for a chunk; known by being the same object."""

    requests: tuple[Request, ...]


class Alone:
    """One worker, which is called. See `Crew`."""

    notes: Sequence[str] = ()

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def about(self) -> About:
        """See `Crew`."""
        return self._worker.about()

    def workers(self) -> Sequence[Hashable]:
        """See `Crew`."""
        return (0,)

    def put(self, requests: tuple[Request, ...]) -> Laid:
        """See `Crew`."""
        return Laid(requests)

    def begin(self, worker: Hashable, job: Job) -> Job:
        """See `Crew`; the work is done when its result is asked for."""
        return job

    def finished(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        """See `Crew`."""
        return tickets[:1]

    def result(self, ticket: Any) -> Any:
        """See `Crew`."""
        return getattr(self._worker, ticket.method)(*ticket.arguments)

    def replace(self, worker: Hashable, why: str) -> None:
        """Never called: this process does not outlive its worker."""
        raise AssertionError(why)

    def load_weights(self, checkpoint: str) -> About:
        """See `Crew`."""
        return self._worker.load_weights(checkpoint)

    def close(self) -> None:
        """See `Crew`."""
        self._worker.close()

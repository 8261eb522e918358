"""Chunks to workers as they become free; what a worker that dies was doing goes to another."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from benchbench.backends.pool.worker import About
from benchbench.core.errors import BackendError
from benchbench.core.types import Request

MOST_DEATHS = 3
"""A chunk at which so many workers died is not given to another."""


@dataclass(slots=True, eq=False)
class Job:
    """A call of a worker's method. Doing it twice is harmless."""

    method: str
    arguments: tuple[Any, ...]
    home: Hashable | None = None
    """The worker that is asked first, because it holds the tokens; then the one that was asked."""
    deaths: int = 0
    """Workers that died at it."""


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of a result: workers died at it."""

    why: str


class WorkerDied(Exception):  # noqa: N818 - what happened, no error of the call
    """The process is gone; the text says why."""


class Crew(Protocol):
    """Workers with the same model open, in processes of their own."""

    @property
    def notes(self) -> Sequence[str]:
        """What happened to workers, as sentences."""
        ...

    def about(self) -> About:
        """Who the workers are."""
        ...

    def workers(self) -> Sequence[Hashable]:
        """Those that can be asked; waits while there is none but some are being opened."""
        ...

    def put(self, requests: tuple[Request, ...]) -> Any:
        """Lays a chunk where all workers reach it; what stands for it in a job."""
        ...

    def begin(self, worker: Hashable, job: Job) -> Hashable:
        """Sends the job; the ticket names it in `finished`."""
        ...

    def finished(self, tickets: Sequence[Hashable]) -> Sequence[Hashable]:
        """Waits until at least one of them is done; those that are."""
        ...

    def result(self, ticket: Hashable) -> Any:
        """Of a finished job. Raises WorkerDied, or what the method raised."""
        ...

    def replace(self, worker: Hashable, why: str) -> None:
        """The worker is dead: it is none of `workers` any more; another takes its place where one can be opened."""
        ...

    def load_weights(self, checkpoint: str) -> About:
        """See `Backend`; in all workers, and in those that will take a dead one's place."""
        ...

    def close(self) -> None:
        """Ends all workers."""
        ...


def deal(crew: Crew, jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
    """Every job with its result, as they finish; `Lost` for one at which `MOST_DEATHS` workers died.

    Raises what a job raises, and BackendError when no worker is left.
    """
    waiting = deque(jobs)
    running: dict[Hashable, tuple[Job, Hashable]] = {}
    while waiting or running:
        _fill(crew, waiting, running)
        for ticket in crew.finished(list(running)):
            if ticket not in running:  # its worker died, as an earlier ticket told
                continue
            try:
                result = crew.result(ticket)
            except WorkerDied as death:
                yield from _died(crew, running[ticket][1], str(death), waiting, running)
            else:
                yield running.pop(ticket)[0], result


def _died(
    crew: Crew, worker: Hashable, why: str, waiting: deque[Job], running: dict[Hashable, tuple[Job, Hashable]]
) -> Iterator[tuple[Job, Lost]]:
    """What the worker was doing goes to another, unless too many died at it. What it had not begun is not to blame."""
    crew.replace(worker, why)
    tickets = [ticket for ticket, (_, one) in running.items() if one == worker]
    jobs = [running.pop(ticket)[0] for ticket in tickets]
    jobs[0].deaths += 1
    for job in jobs:
        job.home = None
        if job.deaths < MOST_DEATHS:
            waiting.appendleft(job)
        else:
            yield job, Lost(f"{job.deaths} workers died at it; the last: {why}")


def _fill(crew: Crew, waiting: deque[Job], running: dict[Hashable, tuple[Job, Hashable]]) -> None:
    """Gives every worker its next job, and while there are plenty one more, so that it never waits for its next."""
    workers = crew.workers()
    if not workers:
        raise BackendError("no worker of the pool is left; the same command goes on from what is done.")
    busy = dict.fromkeys(workers, 0)
    for _, worker in running.values():
        busy[worker] = busy.get(worker, 0) + 1
    for depth in (1, 2):
        for worker in workers:
            is_plenty = depth == 1 or len(waiting) > 2 * len(workers)
            if waiting and busy[worker] < depth and is_plenty:
                job = _next(waiting, worker)
                job.home = worker
                running[crew.begin(worker, job)] = (job, worker)
                busy[worker] += 1


def _next(waiting: deque[Job], worker: Hashable) -> Job:
    """The worker's own next job, else one that is nobody's, else the first: jobs become smaller, and the small ones are
    for the end.
    """
    for wanted in (worker, None):
        for job in waiting:
            if job.home == wanted:
                waiting.remove(job)
                return job
    return waiting.popleft()

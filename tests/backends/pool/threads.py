"""Workers of a pool as threads of this process, some of which die when told: the pool itself, without Ray."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any

from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool.deal import Job, WorkerDied
from benchbench.backends.pool.worker import About, Worker
from benchbench.core.types import Request


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """What stands for a chunk."""

    requests: tuple[Request, ...]


class ThreadWorker(Worker):
    """Reads the copies that it would get from another process."""

    def fetch(self, chunk: Laid) -> tuple[Request, ...]:
        return tuple(replace(request) for request in chunk.requests)


class ThreadCrew:
    """`kills(worker, job)`: the worker dies of the job."""

    def __init__(
        self, options: ModelOptions, count: int, kills: Callable[[int, Job], bool] = lambda worker, job: False
    ) -> None:
        self.notes: list[str] = []
        self.asked: list[tuple[int, Job]] = []
        self._options, self._kills = options, kills
        self._numbers = itertools.count()
        self._live: dict[int, tuple[ThreadWorker, ThreadPoolExecutor]] = {}
        self._abouts = [self._start() for _ in range(count)]

    def _start(self) -> About:
        worker = ThreadWorker()
        about = worker.open(self._options, None)
        self._live[next(self._numbers)] = (worker, ThreadPoolExecutor(1))
        return about

    def about(self) -> About:
        return self._abouts[0]

    def workers(self) -> Sequence[int]:
        return list(self._live)

    def put(self, requests: tuple[Request, ...]) -> Laid:
        return Laid(requests)

    def begin(self, worker: Any, job: Job) -> Hashable:
        self.asked.append((worker, job))
        one, thread = self._live[worker]

        def call() -> Any:
            if self._kills(worker, job):
                raise WorkerDied("killed by signal 9")
            return getattr(one, job.method)(*job.arguments)

        return thread.submit(call)

    def finished(self, tickets: Sequence[Any]) -> Sequence[Any]:
        return list(wait(tickets, return_when=FIRST_COMPLETED).done)

    def result(self, ticket: Any) -> Any:
        future: Future[Any] = ticket
        return future.result()

    def replace(self, worker: Any, why: str) -> None:
        self.notes.append(f"A worker died ({why}).")
        self._live.pop(worker)[1].shutdown(wait=False)
        self._start()

    def load_weights(self, checkpoint: str) -> About:
        self._abouts = [worker.load_weights(checkpoint) for worker, _ in self._live.values()]
        self._options = replace(self._options, model=checkpoint)
        return self.about()

    def close(self) -> None:
        for worker, thread in self._live.values():
            thread.shutdown()
            worker.close()
        self._live.clear()

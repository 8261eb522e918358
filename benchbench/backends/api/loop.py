"""An event loop in a thread of its own, so that answers can be iterated over like any other."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, TypeVar

J = TypeVar("J")
T = TypeVar("T")


class LoopThread:
    """Runs coroutines while the caller waits, or iterates over what comes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="benchbench-api", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def stream(self, jobs: Iterable[J], handle: Callable[[J], Awaitable[T]], *, width: int) -> Iterator[T]:
        """`handle` of every job, at most `width` at once, as they finish.

        What `handle` raises ends the iteration, after what was finished before; so does closing the iterator.
        """
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        end = object()

        async def worker(feed: Iterator[J]) -> None:
            for job in feed:
                done.put(await handle(job))

        async def work() -> None:
            feed = iter(jobs)
            workers = [asyncio.ensure_future(worker(feed)) for _ in range(width)]
            try:
                await asyncio.gather(*workers)
            finally:
                for one in workers:
                    one.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
                done.put(end)

        running = asyncio.run_coroutine_threadsafe(work(), self._loop)
        try:
            while (result := done.get()) is not end:
                yield result
            running.result()
        finally:
            running.cancel()

    def close(self) -> None:
        """Ends the thread."""
        if self._loop.is_running():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()

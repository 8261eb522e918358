"""Many families in a few processes, each with a time limit: a family that hangs or dies costs only itself."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
import warnings
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection

from tests.zoo.check import Result, check
from tests.zoo.families import Kind

LIMIT = 600.0
"""Seconds that one family may take."""
Job = tuple[str, Kind]


def check_all(
    jobs: Sequence[Job], *, dtype: str = "float32", processes: int = 1, said: Callable[[Result], None] | None = None
) -> list[Result]:
    """Each family's result, by name; `said` is called as they come."""
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    results: list[Result] = []
    lock = threading.Lock()

    def keep(result: Result) -> None:
        with lock:
            results.append(result)
            if said is not None:
                said(result)

    threads = [threading.Thread(target=_drive, args=(waiting, dtype, keep)) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(results, key=lambda result: result.family)


def _drive(waiting: queue.SimpleQueue[Job], dtype: str, keep: Callable[[Result], None]) -> None:
    """One process, begun anew after a family that it did not survive."""
    worker, pipe = _begin()
    while True:
        try:
            job = waiting.get_nowait()
        except queue.Empty:
            break
        pipe.send((*job, dtype))
        try:
            if pipe.poll(LIMIT):
                keep(pipe.recv())
                continue
            ended = Result(*job, outcome="time limit", sentence=f"not done in {LIMIT:.0f} s")
        except (EOFError, ConnectionError):
            ended = Result(*job, outcome="traceback", sentence="the process died")
        keep(ended)
        worker.kill()
        worker.join()
        worker, pipe = _begin()
    pipe.close()
    worker.join()


def _begin() -> tuple[multiprocessing.process.BaseProcess, Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    worker = context.Process(target=_work, args=(theirs,), daemon=True)
    worker.start()
    theirs.close()
    return worker, ours


def _work(pipe: Connection) -> None:
    prepare()
    while True:
        try:
            family, kind, dtype = pipe.recv()
        except EOFError:
            return
        pipe.send(check(family, kind, dtype))


def prepare() -> None:
    """One thread, no Hub, nothing said by transformers."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore")
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()

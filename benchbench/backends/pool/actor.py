"""A worker as an actor of Ray: a process on some node, which is told where to work before it opens an engine."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import ray

from benchbench.backends.engines import ModelOptions
from benchbench.backends.pool.alone import Alone, Laid
from benchbench.backends.pool.pool import Pool
from benchbench.backends.pool.worker import About, Worker
from benchbench.backends.protocol import Backend
from benchbench.core import __version__
from benchbench.core.checkpoint_names import with_revision
from benchbench.core.errors import BackendError, ModelError
from benchbench.core.plugins import load_place
from benchbench.core.types import Request

HANDED_ON = ("BENCHBENCH_", "HF_HOME", "HF_HUB_", "HF_DATASETS_", "TRANSFORMERS_")
"""Beginnings of the variables that a worker gets from the process that was started by hand. Keys are not among them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Names requests in Ray's store; the worker, not Ray, reads them, once."""

    ref: Any


def greeting() -> dict[str, str]:
    """Who this process is: a mapping, which every version of benchbench can read."""
    return {
        "host": socket.gethostname(),
        "process": str(os.getpid()),
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "benchbench": __version__,
    }


def handed_on() -> dict[str, str]:
    """The variables of this process that workers get."""
    return {name: value for name, value in os.environ.items() if name.startswith(HANDED_ON)}


class RayWorker(Worker):
    """A worker that reads chunks from Ray's store, and runs functions beside its engine. A `Host`."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: object = None
        self.swaps = 0
        self._threads: int | None = None

    def greet(
        self, folder: str, variables: Mapping[str, str], threads: int | None, needs: Sequence[str]
    ) -> dict[str, str]:
        """Goes where the command was given, if the node has that folder; who it is.

        `unseen` is what the node does not see of `needs`, paths of files and folders; "" where it sees all.
        """
        os.environ.update(variables)
        self._threads = threads
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(threads)
        if Path(folder).is_dir():
            os.chdir(folder)
        return {**greeting(), "unseen": next((path for path in needs if not Path(path).exists()), "")}

    def fetch(self, chunk: Chunk | Laid) -> tuple[Request, ...]:
        """See `Worker`."""
        return chunk.requests if isinstance(chunk, Laid) else cast("tuple[Request, ...]", ray.get(chunk.ref))

    def hold(self, options: ModelOptions) -> About:
        """The engine with the model of `options`: swapped in place if the open engine allows it, else opened anew."""
        self.swaps += 1
        if self._backend is not None:
            try:
                return self.load_weights(with_revision(options.model, options.revision))
            except (ModelError, BackendError):  # another architecture, length or format
                self.close()
        return self.open(options, self._threads)

    def one_backend(self, options: ModelOptions) -> Backend:
        """See `Host`."""
        self.close()
        self.open(options, self._threads)
        return Pool(Alone(self), keep_tokens=options.keep_tokens)

    def lend(self, place: str, arguments: Sequence[Any]) -> Any:
        """What the function at `place` returns for this worker and `arguments`."""
        return cast("Callable[..., Any]", load_place(place))(self, *arguments)

"""Workers as actors of Ray: on this machine, or on a cluster that is running already."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayTaskError,
    WorkerCrashedError,
)

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.find import split_revision
from benchbench.backends.pool.deal import Job, WorkerDied
from benchbench.backends.pool.pool import Pool
from benchbench.backends.pool.worker import About, Worker
from benchbench.core.errors import ArgumentError, BackendError, BenchbenchError
from benchbench.core.types import Request

DEATHS = (RayActorError, WorkerCrashedError, OutOfMemoryError, ObjectLostError, ActorUnschedulableError)
"""What Ray raises where the process that should answer is gone."""
SECONDS_TO_ANSWER = 10
CORES_OF_AUTO = 4
"""Of each worker that computes on processors, where their number was left to benchbench."""


@dataclass(frozen=True, slots=True)
class Share:
    """What each worker takes of its node."""

    cores: float
    gpus: float = 0
    threads: int | None = None
    """Threads of the engine; None: as many as it likes."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Names requests in Ray's store; the worker, not Ray, reads them, once."""

    ref: Any


class RayWorker(Worker):
    """A worker that reads chunks from Ray's store."""

    def fetch(self, chunk: Chunk) -> tuple[Request, ...]:
        """See `Worker`."""
        found: tuple[Request, ...] = ray.get(chunk.ref)
        return found


@dataclass(frozen=True, slots=True)
class Open:
    """A worker that can be asked."""

    actor: Any
    about: About


class RayCrew:
    """Workers that hold the model of `options`, each an actor with its `share` of a node.

    Those that cannot be opened are told of in `notes`, and the others go on. Raises what opening raised if none can.
    """

    def __init__(self, options: ModelOptions, count: int, share: Share, *, owns_ray: bool = False) -> None:
        self.notes: list[str] = []
        self._options, self._share, self._owns_ray = options, share, owns_ray
        self.live: dict[int, Open] = {}
        """By the worker's number."""
        self._opening: dict[Any, tuple[int, Any]] = {}
        """What an opening will return → the worker's number and actor."""
        self._started = 0
        self._about: About | None = None
        self._failure: BenchbenchError | None = None
        for _ in range(count):
            self._start()
        if not self.workers():
            self.close()
            raise self._failure or BackendError("no worker of the pool could be started.")

    def about(self) -> About:
        """See `Crew`."""
        if self._about is None:
            raise BackendError("no worker of the pool is open.")
        return self._about

    def workers(self) -> Sequence[int]:
        """See `Crew`."""
        self._welcome(timeout=0)
        while not self.live and self._opening:
            self._welcome(timeout=None)
        return list(self.live)

    def put(self, requests: tuple[Request, ...]) -> Chunk:
        """See `Crew`."""
        return Chunk(ray.put(requests))

    def begin(self, worker: Any, job: Job) -> Any:
        """See `Crew`."""
        return getattr(self.live[worker].actor, job.method).remote(*job.arguments)

    def finished(self, tickets: Sequence[Any]) -> Sequence[Any]:
        """See `Crew`; nothing where a worker that was being opened is ready before."""
        return [ref for ref in _ready([*tickets, *self._opening]) if ref not in self._opening]

    def result(self, ticket: Any) -> Any:
        """See `Crew`."""
        try:
            return ray.get(ticket)
        except DEATHS as error:
            raise WorkerDied(_why(error)) from error
        except RayTaskError as error:
            raise error.cause from None

    def replace(self, worker: Any, why: str) -> None:
        """See `Crew`."""
        dead = self.live.pop(worker)
        where = f"process {dead.about.pid} on {dead.about.host}"
        self.notes.append(f"A worker died ({where}: {why}); what it was doing was given to another.")
        _end(dead.actor)
        self._start()

    def load_weights(self, checkpoint: str) -> About:
        """See `Crew`."""
        while self._opening:
            self._welcome(timeout=None)
        name, revision = split_revision(checkpoint)
        self._options = replace(self._options, model=name, revision=revision)
        tickets = {one.actor.load_weights.remote(checkpoint): worker for worker, one in self.live.items()}
        found: list[About] = []
        for ticket, worker in tickets.items():
            try:
                found.append(self.result(ticket))
            except WorkerDied as death:
                self.replace(worker, str(death))
        # Where all died, the first that takes a place says who the workers are now.
        self._about = found[0] if found else None
        if not self.workers():
            raise self._failure or BackendError("no worker of the pool is left.")
        return self.about()

    def close(self) -> None:
        """Ends all workers, and Ray where it was started for them."""
        for actor in (*(one.actor for one in self.live.values()), *(actor for _, actor in self._opening.values())):
            _end(actor)
        self.live.clear()
        self._opening.clear()
        if self._owns_ray:
            ray.shutdown()

    def _start(self) -> None:
        share = self._share
        made = ray.remote(RayWorker).options(
            num_cpus=share.cores, num_gpus=share.gpus, scheduling_strategy="SPREAD", max_restarts=0
        )
        actor = made.remote()
        self._started += 1
        self._opening[actor.open.remote(self._options, share.threads)] = (self._started, actor)

    def _welcome(self, timeout: float | None) -> None:
        """Takes up the workers that have opened their engine meanwhile; `timeout`: how long to wait for one."""
        for ref in _ready([*self._opening], timeout):
            number, actor = self._opening.pop(ref)
            why = self._joins(number, actor, ref)
            if why is not None:
                self.notes.append(f"A worker could not be used: {why}")
                _end(actor)

    def _joins(self, number: int, actor: Any, ref: Any) -> str | None:
        """Takes the worker up; why not, where it is not like the others or has no engine."""
        try:
            about: About = self.result(ref)
        except WorkerDied as death:
            self._failure = self._failure or BackendError(f"a worker died while it opened the model: {death}.")
            return f"it died while it opened the model ({death})."
        except BenchbenchError as error:
            self._failure = self._failure or error
            return str(error)
        why = None if self._about is None else _difference(self._about, about)
        if why is None:
            self._about = self._about or about
            self.live[number] = Open(actor, about)
        return why


def open_pool(options: ModelOptions) -> Pool:
    """As many workers as `options.workers` says.

    Raises ArgumentError for more workers than there is room for, BackendError for a cluster that does not answer, and
    what the engine raises where no worker can open the model.
    """
    owns_ray = _connect(options.ray_address)
    try:
        count, share = share_out(options, ray.cluster_resources())
        own = replace(options, workers=None, ray_address=None)
        crew = RayCrew(own, count, share, owns_ray=owns_ray)
    except BaseException:
        if owns_ray:
            ray.shutdown()
        raise
    return Pool(crew, keep_tokens=options.keep_tokens)


def share_out(options: ModelOptions, resources: dict[str, float]) -> tuple[int, Share]:
    """How many workers, and what each takes. `resources`: of all nodes, as Ray names them."""
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    if options.device.startswith("cuda:"):
        raise ArgumentError(f"--device {options.device} names one GPU, and --workers gives each worker its own.")
    wanted = options.workers or "auto"
    if gpus and options.device in ("auto", "cuda"):
        each = int(dict(options.model_args).get("tensor_parallel_size", 1))
        count = gpus // each if wanted == "auto" else int(wanted)
        if count < 1 or count * each > gpus:
            raise ArgumentError(
                f"--workers {wanted} with {each} GPU(s) each needs more than the {gpus} that Ray sees; "
                f"give --workers {gpus // each} or fewer."
            )
        return count, Share(cores=min(1, cores / count), gpus=each)
    own = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(own) if own.isdecimal() and int(own) else None
    count = max(1, cores // (threads or CORES_OF_AUTO)) if wanted == "auto" else int(wanted)
    if count > cores:
        raise ArgumentError(f"--workers {count}: Ray sees {cores} processor cores; give {cores} or fewer.")
    return count, Share(cores=cores // count, threads=threads or cores // count)


def _connect(address: str | None) -> bool:
    """Connects to the cluster at `address`, or starts Ray on this machine; whether it was started here."""
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address is None:
        ray.init(include_dashboard=False, **quiet)
        return True
    try:
        _knock(address)
        ray.init(address=address, **quiet)
    except (OSError, ValueError, RuntimeError) as error:
        raise BackendError(f"--ray-address {address}: no cluster answers there ({_why(error)}).") from error
    return True


def _knock(address: str) -> None:
    """OSError where nobody listens at HOST:PORT: Ray would wait for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()


def _difference(first: About, other: About) -> str | None:
    """Why what the other computes cannot stand beside what the first does."""
    named = {
        "benchbench": (first.version, other.version),
        "weights": (first.info.model_identity[:12], other.info.model_identity[:12]),
        "tokenizer": (first.info.tokenizer_identity[:12], other.info.tokenizer_identity[:12]),
        "engine": (f"{first.info.name} {first.info.version}", f"{other.info.name} {other.info.version}"),
        "dtype": (first.info.dtype, other.info.dtype),
    }
    for what, (one, another) in named.items():
        if one != another:
            return f"{other.host} has other {what} ({another}) than {first.host} ({one})."
    return None


def _ready(refs: Sequence[Any], timeout: float | None = None) -> list[Any]:
    """All that are ready as soon as one is; none after `timeout` seconds (None: it waits), or where there are none."""
    if not refs or not ray.wait(refs, num_returns=1, timeout=timeout)[0]:
        return []
    found: list[Any] = ray.wait(refs, num_returns=len(refs), timeout=0)[0]
    return found


def _end(actor: Any) -> None:
    ray.kill(actor, no_restart=True)


def _why(error: Exception) -> str:
    """The first sentence of what Ray says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(".")

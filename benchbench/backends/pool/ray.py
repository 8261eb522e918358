"""Workers as actors of Ray: on this machine, or on a cluster that is running already."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

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
from benchbench.backends.pool.actor import Chunk, RayWorker, handed_on
from benchbench.backends.pool.alike import difference, other_node
from benchbench.backends.pool.cluster import Share, connect, first_sentence, nodes, share_out
from benchbench.backends.pool.deal import Job, WorkerDied
from benchbench.backends.pool.pool import Pool
from benchbench.backends.pool.worker import About
from benchbench.backends.protocol import Backend
from benchbench.backends.workers import Returned
from benchbench.core.errors import ArgumentError, BackendError, BenchbenchError, ModelError
from benchbench.core.types import Request

DEATHS = (RayActorError, WorkerCrashedError, OutOfMemoryError, ObjectLostError, ActorUnschedulableError)
"""What Ray raises where the process that should answer is gone."""
SECONDS_FOR_ROOM = 300
"""In which a node has to have room for at least one worker."""


@dataclass(frozen=True, slots=True)
class Open:
    """A worker that can be asked."""

    actor: Any
    about: About


@dataclass(frozen=True, slots=True)
class Busy:
    """A worker that cannot be asked now."""

    number: int
    actor: Any
    doing: Literal["greet", "hold", "lent"]
    holds: ModelOptions | None = None
    """The model that it is opening."""


class RayCrew:
    """Workers, each an actor with its `share` of a node; with `holds`, all have the model of `options` open.

    Those that cannot be used are told of in `notes`, and the others go on. Raises what went wrong if none can.
    See `Crew`, and `Workers`.
    """

    def __init__(
        self,
        options: ModelOptions,
        count: int,
        share: Share,
        *,
        needs: Sequence[str] = (),
        owns_ray: bool = False,
        holds: bool = True,
    ) -> None:
        self.notes: list[str] = []
        self.live: dict[int, Open] = {}
        """By the worker's number: those that hold the wanted model."""
        self._idle: dict[int, Any] = {}
        """Number → actor of those that have nothing to do."""
        self._busy: dict[Any, Busy] = {}
        """By what they will return."""
        self._wanted = options if holds else None
        """The model that workers are to hold."""
        self._places: dict[int, str] = {}
        """Where each is that has greeted."""
        self._proven: set[int] = set()
        """Workers that have had a model open."""
        self._cannot: set[int] = set()
        """Workers that could not open the wanted model."""
        self._not_alone: set[int] = set()
        """Workers that came back from what they were lent for without its result."""
        self._returned: list[Returned] = []
        self._share, self._count, self._needs, self._owns_ray = share, count, tuple(needs), owns_ray
        self._started = 0
        self._about: About | None = None
        self._failure: BenchbenchError | None = None
        self._start_all()
        if holds and not self.workers():
            self.close()
            raise self._none_left()

    @property
    def count(self) -> int:
        """See `Workers`."""
        return len(self.live) + len(self._idle) + len(self._busy)

    def about(self) -> About:
        """See `Crew`."""
        if self._about is None:
            raise self._none_left()
        return self._about

    def workers(self) -> Sequence[int]:
        """See `Crew`."""
        self._welcome(0)
        while not self.live and self._busy:
            self._wait_for_one()
        return list(self.live)

    def put(self, requests: tuple[Request, ...]) -> Chunk:
        """See `Crew`."""
        return Chunk(ray.put(requests))

    def begin(self, worker: Any, job: Job) -> Any:
        """See `Crew`."""
        return getattr(self.live[worker].actor, job.method).remote(*job.arguments)

    def finished(self, tickets: Sequence[Any]) -> Sequence[Any]:
        """See `Crew`; nothing where a worker that was busy otherwise is ready before."""
        return [ref for ref in _ready([*tickets, *self._busy]) if ref not in self._busy]

    def result(self, ticket: Any) -> Any:
        """See `Crew`."""
        try:
            return ray.get(ticket)
        except DEATHS as error:
            raise WorkerDied(first_sentence(error)) from error
        except RayTaskError as error:
            raise error.cause from None

    def replace(self, worker: Any, why: str) -> None:
        """See `Crew`."""
        self._replace(worker, self.live.pop(worker).actor, why)

    def load_weights(self, checkpoint: str) -> About:
        """See `Crew`."""
        if self._wanted is None:
            raise BackendError("the workers hold no model.")
        name, revision = split_revision(checkpoint)
        return self._hold(replace(self._wanted, model=name, revision=revision))

    def open(self, options: ModelOptions) -> Backend:
        """See `Workers`."""
        self._hold(replace(options, workers=None, ray_address=None))
        return Shift(self, keep_tokens=options.keep_tokens)

    def lend(self, place: str, *arguments: object) -> Any:
        """See `Workers`. Those that come back without a result are not lent again: their node may be to blame."""
        self._welcome(0, joins=False)
        while not self.live and not self._idle and self._busy and all(o.doing == "greet" for o in self._busy.values()):
            self._wait_for_one(joins=False)
        everyone = {**{number: one.actor for number, one in self.live.items()}, **self._idle}
        number = next((number for number in reversed(everyone) if number not in self._not_alone), None)
        if number is None:
            return None
        self.live.pop(number, None)
        self._idle.pop(number, None)
        return self._ask(number, everyone[number], "lent", "lend", place, arguments)

    def returned(self, seconds: float) -> Sequence[Returned]:
        """See `Workers`."""
        self._welcome(0 if self._returned else seconds, joins=False)
        found, self._returned = self._returned, []
        if not found and not self.count:
            raise self._none_left()
        return found

    def close(self) -> None:
        """Ends all workers, and Ray where it was started for them."""
        for actor in (
            *(one.actor for one in self.live.values()),
            *self._idle.values(),
            *(one.actor for one in self._busy.values()),
        ):
            _end(actor)
        self.live.clear()
        self._idle.clear()
        self._busy.clear()
        if self._owns_ray:
            ray.shutdown()

    def _none_left(self) -> BenchbenchError:
        return self._failure or BackendError(
            "no worker of the pool is left; the same command goes on from what is done."
        )

    def _replace(self, number: int, actor: Any, why: object) -> None:
        self.notes.append(f"A worker died ({self._places[number]}: {why}); what it was doing was given to another.")
        _end(actor)
        self._start()

    def _start_all(self) -> None:
        for _ in range(self._count):
            self._start()

    def _start(self) -> None:
        share = self._share
        made = ray.remote(RayWorker).options(
            num_cpus=share.cores, num_gpus=share.gpus, scheduling_strategy="SPREAD", max_restarts=0
        )
        self._started += 1
        where, needs = str(Path.cwd()), self._needs
        self._ask(self._started, made.remote(), "greet", "greet", where, handed_on(), share.threads, needs)

    def _ask(
        self,
        number: int,
        actor: Any,
        doing: Literal["greet", "hold", "lent"],
        method: str,
        *arguments: object,
        holds: ModelOptions | None = None,
    ) -> Any:
        ref = getattr(actor, method).remote(*arguments)
        self._busy[ref] = Busy(number, actor, doing, holds)
        return ref

    def _hold(self, options: ModelOptions) -> About:
        """All that are not lent open this model; who the first of them is. The others join it when they are ready."""
        if not self.count:
            self._start_all()
        self._wanted, self._about, self._failure = options, None, None
        self._cannot.clear()
        self._idle.update({number: one.actor for number, one in self.live.items()})
        self.live.clear()
        if not self.workers():
            raise self._none_left()
        return self.about()

    def _wait_for_one(self, *, joins: bool = True) -> None:
        """Waits until a worker that is busy is no longer. BackendError where no node has room for any."""
        until = time.monotonic() + SECONDS_FOR_ROOM
        while not _ready([*self._busy], 1):
            if time.monotonic() > until and all(one.doing == "greet" for one in self._busy.values()):
                raise BackendError(
                    f"no node had room for a worker ({self._share.gpus:g} GPU(s), {self._share.cores:g} core(s)) for "
                    f"{SECONDS_FOR_ROOM} s: other work has them, or nodes are gone. `ray status` shows what is free."
                )
        self._welcome(0, joins=joins)

    def _welcome(self, seconds: float, *, joins: bool = True) -> None:
        """Takes up those that have done what kept them busy; `seconds`: how long to wait for one.

        `joins`: those that are idle then begin to open the wanted model.
        """
        self._call_in(joins=joins)
        for ref in _ready([*self._busy], seconds):
            one = self._busy.pop(ref)
            try:
                self._back(one, ref, self.result(ref))
            except WorkerDied as death:
                self._is_dead(one, ref, death)
            except BenchbenchError as error:
                self._has_failed(one, ref, error)
        self._call_in(joins=joins)

    def _call_in(self, *, joins: bool) -> None:
        if joins and self._wanted is not None:
            for number in self._idle.keys() - self._cannot:
                self._ask(number, self._idle.pop(number), "hold", "hold", self._wanted, holds=self._wanted)

    def _back(self, one: Busy, ref: Any, value: Any) -> None:
        """Of what it was asked it returned `value`."""
        why = None
        if one.doing == "greet":
            self._places[one.number] = f"process {value.get('process')} on {value.get('host')}"
            why = other_node(value)
        elif one.doing == "lent":
            self._returned.append(Returned(ref, value))
        elif one.holds is self._wanted:
            why = None if self._about is None else difference(self._about, value)
            if why is None:
                self._about = self._about or value
                self._proven.add(one.number)
                self.live[one.number] = Open(one.actor, value)
                return
        if why is None:
            self._idle[one.number] = one.actor
        else:
            self._leaves(one, BackendError(why))

    def _has_failed(self, one: Busy, ref: Any, error: BenchbenchError) -> None:
        if one.doing == "lent":
            self._returned.append(Returned(ref, None, error))
            self._not_alone.add(one.number)
        elif one.doing == "hold" and isinstance(error, ModelError | ArgumentError):
            self._failure = self._failure or error
            self.notes.append(f"A worker could not be used: {error}")
            self._cannot.add(one.number)  # the model is to blame, or the node; there may be another model
        else:
            self._leaves(one, error)
            return
        self._idle[one.number] = one.actor

    def _is_dead(self, one: Busy, ref: Any, death: WorkerDied) -> None:
        if one.doing == "lent":
            self._returned.append(Returned(ref, None, BackendError(f"its worker died: {death}.")))
            self._replace(one.number, one.actor, death)
        elif one.doing == "hold" and one.number in self._proven:
            self._replace(one.number, one.actor, death)
        elif one.doing == "hold":
            self._leaves(one, BackendError(f"a worker died while it opened the model: {death}."))
        else:
            self._leaves(one, BackendError(f"a worker could not be started: {_last_error(death)}."))

    def _leaves(self, one: Busy, why: BenchbenchError) -> None:
        self._failure = self._failure or why
        self.notes.append(f"A worker could not be used: {why}")
        _end(one.actor)


class Shift(Pool):
    """A crew that is a backend for a while."""

    def close(self) -> None:
        """The workers stay."""


def open_pool(options: ModelOptions) -> Pool:
    """As many workers as `options.workers` says, as one backend.

    Raises ArgumentError for more workers than there is room for, BackendError for a cluster that does not answer, and
    what the engine raises where no worker can open the model.
    """
    return Pool(_open_crew(options, _paths(options), holds=True), keep_tokens=options.keep_tokens)


def open_workers(options: ModelOptions, needs: Sequence[str]) -> RayCrew:
    """As many workers as `options.workers` says, without a model. `needs`: what each has to see, as absolute paths.

    Raises ArgumentError and BackendError as `open_pool`.
    """
    return _open_crew(options, [*needs, *_paths(options)], holds=False)


def _open_crew(options: ModelOptions, needs: Sequence[str], *, holds: bool) -> RayCrew:
    owns_ray = connect(options.ray_address)
    try:
        count, share = share_out(options, nodes())
        own = replace(options, workers=None, ray_address=None)
        return RayCrew(own, count, share, needs=needs, owns_ray=owns_ray, holds=holds)
    except BaseException:
        if owns_ray:
            ray.shutdown()
        raise


def _paths(options: ModelOptions) -> list[str]:
    """Files and folders of this machine that the options name."""
    named = [options.model, options.base, options.tokenizer]
    paths = [Path(name).expanduser().absolute() for name in named if name]
    return [str(path) for path in paths if path.exists()]


def _last_error(death: WorkerDied) -> str:
    """What went wrong where a process did not come as far as benchbench: it may not be installed there."""
    lines = [line.strip() for line in str(death.__cause__).splitlines()]
    return next((line[:200] for line in reversed(lines) if "Error: " in line), str(death))


def _ready(refs: Sequence[Any], timeout: float | None = None) -> list[Any]:
    """All that are ready as soon as one is; none after `timeout` seconds (None: it waits), or where there are none."""
    if not refs or not ray.wait(refs, num_returns=1, timeout=timeout)[0]:
        return []
    found: list[Any] = ray.wait(refs, num_returns=len(refs), timeout=0)[0]
    return found


def _end(actor: Any) -> None:
    ray.kill(actor, no_restart=True)

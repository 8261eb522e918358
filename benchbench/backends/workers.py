"""Many workers as a sweep has them: each for whole pieces of work, or all of them as one backend."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchbench.backends.engines import ModelOptions
from benchbench.backends.protocol import Backend
from benchbench.core.errors import BenchbenchError


@dataclass(frozen=True, slots=True)
class Returned:
    """What a worker that was lent came back with."""

    ticket: Hashable
    value: object
    """What the function returned; None where there is an error."""
    error: BenchbenchError | None = None
    """What it raised, or that the worker died."""


class Host(Protocol):
    """What a function that is run in a worker is given of it."""

    kept: object
    """Whatever the function wants to find again when it is next run there; None at first."""
    swaps: int
    """How often others put weights into the worker's engine."""

    def one_backend(self, options: ModelOptions) -> Backend:
        """The engine with the model of `options`; it computes the chunks that many workers would."""
        ...


class Workers(Protocol):
    """Processes with an engine each. Those that are lent are not part of the backend until they have returned."""

    @property
    def count(self) -> int:
        """How many there are, those included that are being started."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What happened to workers, as sentences."""
        ...

    def open(self, options: ModelOptions) -> Backend:
        """All that are not lent, as one backend with the model of `options`. Closing it ends no worker."""
        ...

    def lend(self, place: str, *arguments: object) -> Hashable | None:
        """Runs the function at `place` (`module:name`) in a worker that is free, with the `Host` and the arguments.

        The ticket names it in `returned`; None where no worker is free.
        """
        ...

    def returned(self, seconds: float) -> Sequence[Returned]:
        """Those that came back since it was asked last; waits so long where nothing has happened to any worker.

        Raises BackendError, or what went wrong, where no worker is left.
        """
        ...

    def close(self) -> None:
        """Ends all workers."""
        ...

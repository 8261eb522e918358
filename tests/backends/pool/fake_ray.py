"""The few calls of Ray that the crew makes, answered in this process: what nodes say and do is told by a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayTaskError

from benchbench.core.errors import BenchbenchError

Instead = Callable[[int, str], Any]
"""(number of the actor, method) → what to return or raise in place of calling it; None: it is called."""


@dataclass(eq=False)
class Ref:
    """A result that is there already."""

    value: Any = None
    error: Exception | None = None


class Actor:
    """Methods called at once; `instead` may take their place."""

    def __init__(self, made: Any, number: int, instead: Instead) -> None:
        self._made, self._number, self._instead = made, number, instead

    def __getattr__(self, name: str) -> Any:
        actor = self

        class Method:
            @staticmethod
            def remote(*arguments: Any) -> Ref:
                return actor.call(name, arguments)

        return Method

    def call(self, name: str, arguments: tuple[Any, ...]) -> Ref:
        found = self._instead(self._number, name)
        if isinstance(found, RayActorError):
            return Ref(error=found)
        try:
            if isinstance(found, BenchbenchError):
                raise found
            value = getattr(self._made, name)(*arguments)
        except BenchbenchError as error:
            return Ref(error=RayTaskError("f", "", error))
        return Ref({**value, **found} if isinstance(found, Mapping) else value)


class FakeRay:
    """Stands where the module `ray` does."""

    def __init__(self, instead: Instead = lambda number, method: None) -> None:
        self.actors: list[Actor] = []
        self.killed: list[Actor] = []
        self._instead = instead

    def remote(self, kind: type) -> Any:
        fake = self

        class Made:
            @staticmethod
            def options(**options: Any) -> Any:
                return Made

            @staticmethod
            def remote() -> Actor:
                fake.actors.append(Actor(kind(), len(fake.actors), fake._instead))
                return fake.actors[-1]

        return Made

    def put(self, value: Any) -> Ref:
        return Ref(value)

    def get(self, ref: Ref) -> Any:
        if ref.error is not None:
            raise ref.error
        return ref.value

    def wait(self, refs: Sequence[Ref], num_returns: int, timeout: float | None) -> tuple[list[Ref], list[Ref]]:
        return list(refs[:num_returns]), list(refs[num_returns:])

    def kill(self, actor: Actor, *, no_restart: bool) -> None:
        self.killed.append(actor)

    def shutdown(self) -> None:
        pass

"""What a backend is: one narrow seam between requests and engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Protocol, TypeAlias, runtime_checkable

from benchbench.core.chat import Conversation
from benchbench.core.types import (
    BackendInfo,
    Completion,
    Failure,
    GenerateRequest,
    GenerationParams,
    Json,
    Loglikelihood,
    LoglikelihoodRequest,
    Request,
    RollingRequest,
)


class ChatFormat(Protocol):
    """How a model, or the server in front of it, writes a conversation down."""

    @property
    def sha256(self) -> str:
        """Of the chat template's source; `server` where it is not known."""
        ...

    @property
    def system_role(self) -> str:
        """Where a system prompt goes: `system`, or `first user turn`."""
        ...

    @property
    def arguments(self) -> Mapping[str, Json]:
        """What the template is told beside the conversation."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the results should see."""
        ...

    def text(self, conversation: Conversation) -> str:
        """The conversation as the model reads it, up to where its answer begins."""
        ...

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """What follows `text` where the assistant says `continuation`."""
        ...


RequestKeys: TypeAlias = frozenset[tuple[str, int, int]]
NOTHING: RequestKeys = frozenset()


@dataclass(slots=True)
class Work:
    """Running totals of one backend: what the requests needed and what was really computed."""

    tokens_needed: int = 0
    """Model input tokens if every request were computed alone, without padding."""
    tokens_computed: int = 0
    """Model input tokens that went through the model, padding included."""
    batches: int = 0
    out_of_memory_retries: int = 0
    served: dict[str, float] = field(default_factory=dict)
    """What a server counted: requests, retries, prompt_tokens, completion_tokens; cost, where prices were given."""

    def totals(self) -> dict[str, float]:
        """All of them by name."""
        counted = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "served"}
        return {**counted, **self.served}

    def copy(self) -> Work:
        """As it is now."""
        return replace(self, served=dict(self.served))

    def since(self, before: Work) -> Work:
        """What was added to `before`, a copy that was taken earlier."""
        return Work(
            self.tokens_needed - before.tokens_needed,
            self.tokens_computed - before.tokens_computed,
            self.batches - before.batches,
            self.out_of_memory_retries - before.out_of_memory_retries,
            {name: value - before.served.get(name, 0) for name, value in self.served.items()},
        )

    def add(self, other: Work) -> None:
        """Counts what another backend did as well."""
        self.tokens_needed += other.tokens_needed
        self.tokens_computed += other.tokens_computed
        self.batches += other.batches
        self.out_of_memory_retries += other.out_of_memory_retries
        for name, value in other.served.items():
            self.served[name] = self.served.get(name, 0) + value


class Backend(Protocol):
    """Turns requests into responses, as they finish, each naming its request. Knows nothing of tasks, metrics or files.

    The three request methods take all requests of a task, and in `skip` the keys of those whose
    responses are already kept. Work is laid out over all of them, so that a resumed run computes
    the same batches as an uninterrupted one and its numbers are the same to the last bit; batches
    that hold nothing but skipped requests are not computed, and skipped requests are not answered.
    """

    info: BackendInfo
    work: Work

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the model or engine that a reader of the results should see; may grow while it works."""
        ...

    def refuses(self, params: GenerationParams) -> str | None:
        """Why this engine cannot write with these settings, as a sentence, or None if it can. Requests that it refuses
        are answered by a Failure of kind `unsupported`.
        """
        ...

    @property
    def chat(self) -> ChatFormat:
        """How requests whose prompt is a `Conversation` become a prompt of the model. ModelError where they cannot."""
        ...

    def request_keys(self, docs: Sequence[Sequence[Request]]) -> list[str]:
        """For each doc's requests the sha256 of what would be asked of the model (tokens after the
        overflow policy, or texts; generation settings): equal keys, equal answers.
        """
        ...

    def loglikelihood(
        self, requests: Sequence[LoglikelihoodRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each continuation after its prompt."""
        ...

    def loglikelihood_rolling(
        self, requests: Sequence[RollingRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Loglikelihood | Failure]:
        """Score each whole text in disjoint windows of the model's length."""
        ...

    def generate(
        self, requests: Sequence[GenerateRequest], *, skip: RequestKeys = NOTHING
    ) -> Iterator[Completion | Failure]:
        """Write text after each prompt."""
        ...

    def load_weights(self, checkpoint: str) -> None:
        """Swap in another checkpoint of the same architecture; forgets every cached activation."""
        ...

    def close(self) -> None:
        """Give memory back."""
        ...


@runtime_checkable
class Learner(Protocol):
    """A backend that finds out about its own model while it works, and computes by what it found.

    Engines that answer parts of one task must know the same, or their numbers would differ by who took which part.
    """

    def lessons(self) -> object:
        """What was found out so far; it may be sent to another process."""
        ...

    def take_lessons(self, lessons: object) -> None:
        """Know these and no others. None: nothing, and what is asked next is asked in order to learn, even if all of
        it is skipped.
        """
        ...

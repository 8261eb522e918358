"""A prompt as a conversation, for models that were trained on turns of a user and an assistant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal, Protocol

from benchbench.core.errors import ArgumentError
from benchbench.core.settings import Setting

Overflow = Literal["drop_shots", "truncate_left"]
"""What to do when a prompt does not fit: drop whole shots, then the description; or only cut tokens on the left."""
Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """That prompts are conversations, and what they hold besides the task's own texts. ArgumentError if empty."""

    system: Annotated[
        str | None,
        Setting(
            "System prompt of every conversation, or @FILE; the task's description follows it.",
            panel="Prompts",
            may_be_file=True,
        ),
    ] = None
    multiturn: Annotated[
        bool,
        Setting(
            "Shots as turns (default), or all in the user's first turn.",
            panel="Prompts",
            flags=("--fewshot-as-multiturn/--no-fewshot-as-multiturn",),
            cli_type=bool | None,
        ),
    ] = True

    def __post_init__(self) -> None:
        if self.system is not None and not self.system.strip():
            raise ArgumentError("--system is empty; leave it out for none.")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Shot:
    """A worked example of a conversation."""

    question: str
    answer: str
    """Empty where the question holds it already: the shot then stands in the user's next turn."""
    text: str
    """Both as plain text with the trailing delimiter, for conversations whose shots are no turns."""


class ChatWriter(Protocol):
    """Writes conversations down as a model reads them: its chat template."""

    def text(self, conversation: Conversation) -> str:
        """The conversation up to where its answer begins."""
        ...

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """What follows `text` where the assistant says `continuation`."""
        ...


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a plain `Prompt` says, as turns; a model's chat template makes text of it.

    The answer begins a turn of the assistant, or goes on with `prefix` where there is one.
    """

    system: str
    """System prompt and description, joined; empty for none."""
    shots: tuple[Shot, ...]
    question: str
    prefix: str = ""
    bare_system: str = ""
    """What is left of `system` when the description has to go."""
    multiturn: bool = True
    overflow: Overflow = "drop_shots"

    @property
    def asked(self) -> str:
        """What the doc itself asks, with the beginning of the answer."""
        return f"{self.question}\n{self.prefix}" if self.prefix else self.question

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns; the last is the user's question, or the beginning of the answer."""
        found = [Message("system", self.system)] if self.system else []
        asked = ""
        for shot in self.shots:
            if self.multiturn and shot.answer:
                found += [Message("user", asked + shot.question), Message("assistant", shot.answer)]
                asked = ""
            else:
                asked += shot.text
        found.append(Message("user", asked + self.question))
        if self.prefix:
            found.append(Message("assistant", self.prefix))
        return tuple(found)

    @property
    def text(self) -> str:
        """All turns' texts one after another: what is asked, without what a template puts between."""
        return "".join(message.content for message in self.messages)

    @property
    def shared(self) -> tuple[str, ...]:
        """What the docs of a task have in common: system prompt and shots."""
        return (self.system, *(shot.text for shot in self.shots))

    @property
    def answer_begins_turn(self) -> bool:
        """Nothing stands before the answer in its turn, so that no space is needed between them."""
        return not self.prefix

    def written(self, chat: ChatWriter | None) -> str:
        """As the model reads it by its chat template; where none is known, `text`."""
        return self.text if chat is None else chat.text(self)

    def continued(self, chat: ChatWriter | None, continuation: str) -> str:
        """What follows `written` where the answer is `continuation`."""
        return continuation if chat is None else chat.continuation(self, continuation)

    def shorter(self) -> Conversation | None:
        """The next shorter one (one shot less, then no description), or None if none is left."""
        if self.overflow == "truncate_left":
            return None
        if self.shots:
            return replace(self, shots=self.shots[1:])
        return None if self.system == self.bare_system else replace(self, system=self.bare_system)


@dataclass(frozen=True, slots=True)
class GivenTurns(Conversation):
    """A conversation that another package has made: a template writes its turns and the answer as they stand."""

    turns: tuple[Message, ...] = ()

    @classmethod
    def of(cls, turns: tuple[Message, ...]) -> GivenTurns:
        """The last turn is the user's question, or the beginning of the answer."""
        system = turns[0].content if turns[0].role == "system" else ""
        begun = turns[-1].content if turns[-1].role == "assistant" else ""
        question = turns[-2 if begun and len(turns) > 1 else -1].content
        return cls(system, (), question, prefix=begun, bare_system=system, overflow="truncate_left", turns=turns)

    @property
    def messages(self) -> tuple[Message, ...]:
        """See Conversation."""
        return self.turns

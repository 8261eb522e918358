"""Conversations to text: a model's own chat template, rendered in transformers' sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from benchbench.backends.control import ControlTokens, control_tokens
from benchbench.core.chat import Conversation, Message
from benchbench.core.errors import ModelError
from benchbench.core.ids import text_hash

Apply = Callable[[list[dict[str, str]], bool], str]
"""(messages, whether the answer goes on with the last one) → text."""

TODAY = "26 Jul 2024"
"""What a template that writes today's date is told: the same prompts every day. Llama's templates fall back on it."""
PROBE = "benchbench"
TROUBLE = (TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
"""What a template's code may raise, and what transformers raises where a template loses the message to go on with."""


class ChatTemplate:
    """How one model writes a conversation down.

    `name` is what to call its owner in sentences, `source` the Jinja text, `apply` renders it.
    """

    def __init__(self, name: str, source: str, apply: Apply, control: Callable[[], ControlTokens]) -> None:
        """Raises ModelError where the template fails even on a single question."""
        self.name, self.source = name, source
        self.sha256 = text_hash(source)
        self._apply, self._control = apply, control
        self._opening = self._render((Message("user", PROBE),), "a single question")

    @cached_property
    def control(self) -> ControlTokens:
        """The control tokens that the template may write and documents may not."""
        return self._control()

    @cached_property
    def takes_system(self) -> bool:
        """Whether the template has a place for a system prompt: it neither refuses nor drops one."""
        try:
            return PROBE in self._apply([_said("system", PROBE), _said("user", "?")], False)
        except TROUBLE:
            return False

    @cached_property
    def answer_space(self) -> str:
        """White space that the template puts between the assistant's header and an answer, or nothing."""
        try:
            answered = self._apply([_said("user", PROBE), _said("assistant", PROBE)], True)
        except TROUBLE:
            return ""
        between = answered[len(self._opening) : -len(PROBE)]
        return between if answered.startswith(self._opening) and between.isspace() else ""

    @property
    def system_role(self) -> str:
        """Where a system prompt goes: `system`, or `first user turn`."""
        return "system" if self.takes_system else "first user turn"

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the results should see."""
        found = []
        if not self.takes_system:
            found.append(
                f"The chat template of {self.name} takes no system prompt: descriptions and --system stand before the "
                "first question, in the user's turn."
            )
        if "strftime_now" in self.source:
            found.append(
                f"The chat template of {self.name} writes today's date; it is told {TODAY}, so that prompts are the "
                "same every day."
            )
        return tuple(found)

    def text(self, conversation: Conversation, *, mark: Callable[[str], str] = str) -> str:
        """The conversation as the model reads it, up to where its answer begins. `mark` is applied to every turn.

        Raises ModelError where the template refuses the conversation.
        """
        messages = [Message(message.role, mark(message.content)) for message in conversation.messages]
        if messages[0].role == "system" and not self.takes_system:
            system, first = messages[0].content, messages[1].content
            gap = "" if system[-1].isspace() or first[:1].isspace() else "\n\n"
            messages[:2] = [Message("user", system + gap + first)]
        return self._render(messages, f"the question {conversation.question[:60]!r}")

    def marked(self, conversation: Conversation) -> str:
        """`text` with marks around control tokens in documents, for `ControlTokens.encode`."""
        return self.text(conversation, mark=self.control.mark)

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """What follows `text` where the assistant says `continuation`."""
        return continuation if conversation.prefix else self.answer_space + continuation

    def _render(self, messages: Sequence[Message], what: str) -> str:
        try:
            return self._apply([asdict(message) for message in messages], messages[-1].role == "assistant")
        except TROUBLE as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(f"the chat template of {self.name} fails on {what}: {said}") from error


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def template_of(tokenizer: Any) -> ChatTemplate:
    """The chat template of a transformers tokenizer. ModelError where it has none, or several and no default."""
    name = str(tokenizer.name_or_path)
    if isinstance(tokenizer.chat_template, dict) and "default" not in tokenizer.chat_template:
        raise ModelError(
            f"{name} has several chat templates ({', '.join(sorted(tokenizer.chat_template))}) and none called default."
        )
    if not tokenizer.chat_template:
        raise no_template(name)
    source: str = tokenizer.get_chat_template()
    dated = with_date(source)

    def apply(messages: list[dict[str, str]], go_on: bool) -> str:
        text: str = tokenizer.apply_chat_template(
            messages, chat_template=dated, tokenize=False, add_generation_prompt=not go_on, continue_final_message=go_on
        )
        return text

    return ChatTemplate(name, source, apply, lambda: control_tokens(tokenizer, source))


def bare_template(
    name: str, source: str | None, variables: Mapping[str, str], control: Callable[[], ControlTokens]
) -> ChatTemplate:
    """A template without a transformers tokenizer; `variables` are its bos_token and eos_token. ModelError if None."""
    if not source:
        raise no_template(name)
    dated = with_date(source)

    def apply(messages: list[dict[str, str]], go_on: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        kwargs: dict[str, Any] = {**variables, "add_generation_prompt": not go_on, "continue_final_message": go_on}
        rendered: Any = render_jinja_template(conversations=[messages], chat_template=dated, **kwargs)[0]
        return str(rendered[0])

    return ChatTemplate(name, source, apply, control)


def no_template(name: str) -> ModelError:
    """What to say of a model without one."""
    return ModelError(
        f"{name} has no chat template: it is a base model, or its chat_template.jinja was not copied. Leave "
        "--apply-chat-template out, or name a tokenizer that has one with --tokenizer."
    )


def with_date(source: str) -> str:
    """The template with a fixed date in place of today's."""
    if "strftime_now" not in source:
        return source
    return f"{{% macro strftime_now(format) %}}{TODAY}{{% endmacro %}}{source}"

"""Conversations for servers: as messages where the server has the template, as text where we have it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchbench.backends.api.client import AnswerError
from benchbench.backends.chat import ChatTemplate
from benchbench.core.chat import Conversation

Messages = list[dict[str, Any]]


class ServerChat:
    """The server's own template, of which nothing is known."""

    sha256 = "server"
    system_role = "system"
    notes = ("Conversations were sent as messages; which chat template the server makes text of them with is unknown.",)

    def text(self, conversation: Conversation) -> str:
        """The turns, each under its role."""
        return "\n\n".join(f"[{message.role}]\n{message.content}" for message in conversation.messages)

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """As it is."""
        return continuation


def as_messages(conversation: Conversation) -> Messages:
    """The turns as the API wants them."""
    return [asdict(message) for message in conversation.messages]


def going_on(messages: Messages) -> dict[str, bool]:
    """What tells vLLM and its like that the answer goes on with the last message; the API itself has no word for it."""
    is_begun = messages[-1]["role"] == "assistant"
    return {"add_generation_prompt": False, "continue_final_message": True} if is_begun else {}


class TemplatedText:
    """Conversations as text for a server that reads text: it adds the beginning-of-sequence token itself."""

    def __init__(self, template: ChatTemplate, tokenizer: Any) -> None:
        self.template = template
        first = list(tokenizer("a")["input_ids"])[:1]
        self._added = tokenizer.bos_token if first and first[0] == tokenizer.bos_token_id else ""

    def text(self, conversation: Conversation) -> str:
        """AnswerError where a turn mentions a control token: within text, a server cannot tell it from a real one."""
        for message in conversation.messages:
            self._refuse_control(message.content)
        return self.template.text(conversation).removeprefix(self._added or "")

    def continuation(self, conversation: Conversation, continuation: str) -> str:
        """What follows `text`; AnswerError as there."""
        self._refuse_control(continuation)
        return self.template.continuation(conversation, continuation)

    def _refuse_control(self, text: str) -> None:
        if self.template.control.mark(text) != text:
            raise AnswerError(
                "control_token",
                "The document mentions a control token of the model, which this server would read as a real one. A "
                "server that takes token ids (vLLM) or the model itself can be asked.",
            )

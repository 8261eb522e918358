"""Conversations to text: a model's own chat template, rendered within bounds, and its control tokens.

A document that mentions `<|im_end|>` must not end a turn. Such places are wrapped in marks before the template sees
them; afterwards everything that is marked is encoded as the text it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, cast

from jinja2 import TemplateError

from benchbench.core.chat import Conversation, GivenTurns, Message
from benchbench.core.chat_sandbox import TODAY, render
from benchbench.core.errors import ModelError
from benchbench.core.ids import text_hash
from benchbench.core.types import Json

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerBase

Apply = Callable[[list[dict[str, str]], bool], str]
"""(messages, whether the answer goes on with the last one) → text."""

PROBE = "benchbench"
TROUBLE = (
    *(TemplateError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError),
    *(MemoryError, AssertionError, SyntaxError),
)
"""What a template's code may raise, and what is raised where a template loses the message to go on with."""


class ChatTemplate:
    """How one model writes a conversation down.

    `name` is what to call its owner in sentences, `source` the Jinja text, `apply` renders it; `arguments` are what it
    is told beside the conversation.
    """

    def __init__(
        self,
        name: str,
        source: str,
        apply: Apply,
        control: Callable[[], ControlTokens],
        arguments: Mapping[str, Json] | None = None,
    ) -> None:
        """Raises ModelError where the template fails even on a single question."""
        self.name, self.source = name, source
        self.arguments = arguments or {}
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
            return PROBE in self._apply([_turn("system", PROBE), _turn("user", "?")], False)
        except TROUBLE:
            return False

    @cached_property
    def answer_space(self) -> str:
        """White space that the template puts between the assistant's header and an answer, or nothing."""
        try:
            answered = self._apply([_turn("user", PROBE), _turn("assistant", PROBE)], True)
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
        found = [
            f"The chat template of {self.name} does not read {argument}, which it was told."
            for argument in self.arguments
            if argument not in self.source
        ]
        if not self.takes_system:
            found.append(
                f"The chat template of {self.name} takes no system prompt: descriptions and --system stand before the "
                "first question, in the user's turn. Where a lm_eval: task is asked they are left out, as lm-eval does."
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
        if isinstance(conversation, GivenTurns):
            return self._as_given(messages)
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
        if conversation.prefix or isinstance(conversation, GivenTurns):
            return continuation
        return self.answer_space + continuation

    def _as_given(self, messages: list[Message]) -> str:
        """As lm-eval writes them: without the system prompt where the template refuses it."""
        with suppress(TemplateError):
            return self._apply([asdict(message) for message in messages], messages[-1].role == "assistant")
        asked = [message for message in messages if message.role != "system"]
        return self._render(asked, f"the question {asked[-1].content[:60]!r}")

    def _render(self, messages: Sequence[Message], what: str) -> str:
        try:
            return self._apply([asdict(message) for message in messages], messages[-1].role == "assistant")
        except TROUBLE as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise ModelError(f"the chat template of {self.name} fails on {what}: {said}") from error


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def template_of(tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Json] | None = None) -> ChatTemplate:
    """The chat template of a transformers tokenizer, which is told `arguments` beside the conversation.

    ModelError where it has none, or several and no default.
    """
    name = str(tokenizer.name_or_path)
    if isinstance(tokenizer.chat_template, dict) and "default" not in tokenizer.chat_template:
        raise ModelError(
            f"{name} has several chat templates ({', '.join(sorted(tokenizer.chat_template))}) and none called default."
        )
    if not tokenizer.chat_template:
        raise no_template(name)
    found: object = tokenizer.chat_template
    source = found["default"] if isinstance(found, dict) else found
    special = tokenizer.special_tokens_map
    return bare_template(name, source, special, lambda: control_tokens(tokenizer, str(source)), arguments)


def bare_template(
    name: str,
    source: object,
    variables: Mapping[str, str],
    control: Callable[[], ControlTokens],
    arguments: Mapping[str, Json] | None = None,
) -> ChatTemplate:
    """The template `source`, which reads `variables`, special tokens by name, and `arguments`, which come before them.

    ModelError where it is none.
    """
    if not source:
        raise no_template(name)
    if not isinstance(source, str):
        raise ModelError(f"the chat template of {name} is a {type(source).__name__}, not text.")
    text, told = source, {**variables, **(arguments or {})}

    def apply(messages: list[dict[str, str]], go_on: bool) -> str:
        return render(text, messages, told, go_on=go_on)

    return ChatTemplate(name, text, apply, control, arguments)


def no_template(name: str) -> ModelError:
    """What to say of a model without one."""
    return ModelError(
        f"{name} has no chat template: it is a base model, or its chat_template.jinja was not copied. Leave "
        "--apply-chat-template out, or name a tokenizer that has one with --tokenizer."
    )


START, END, CHAT = "\ufdd0", "\ufdd1", "\ufdd2"
"""Around control tokens in documents, and before text that a template has made. Noncharacters: no text holds them."""

Pieces = Sequence[tuple[str, bool]]
"""(text, whether it is a control token that the template wrote), in order."""


class ControlTokens:
    """The control tokens of one tokenizer, and how it encodes text that mentions them."""

    def __init__(self, tokens: Sequence[str], encode: Callable[[Pieces], list[int]]) -> None:
        """`encode` gives the token ids of pieces, without adding special tokens of its own."""
        self._encode = encode
        longest_first = sorted(filter(None, set(tokens)), key=lambda token: (-len(token), token))
        names = "|".join(map(re.escape, longest_first)) or "(?!)"
        # Longest first: where one control token begins another, the whole of the longer is meant.
        self._mentioned = re.compile(names)
        self._written = re.compile(f"{START}(?:{names}){END}|({names})")

    def mark(self, text: str) -> str:
        """The text with its control tokens marked as mere text."""
        # A document that brings marks of its own could end ours early and have its control token taken for a real one.
        text = unmarked(text)
        return self._mentioned.sub(f"{START}\\g<0>{END}", text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that a template has made of marked ones."""
        pieces: list[tuple[str, bool]] = []
        plain, last = "", 0
        for found in self._written.finditer(text):
            # A marked one is text like its surroundings: the piece goes on, so that the tokenizer may join across it.
            if found[1] is not None:
                plain += unmarked(text[last : found.start()])
                pieces += [(plain, False), (found[1], True)]
                plain, last = "", found.end()
        pieces.append((plain + unmarked(text[last:]), False))
        return self._encode([piece for piece in pieces if piece[0]])


def unmarked(text: str) -> str:
    """The text without marks."""
    return text.replace(START, "").replace(END, "").replace(CHAT, "")


def control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> ControlTokens:
    """Those of a transformers tokenizer: its special tokens, and other added tokens that the template writes."""
    added = [
        token
        for token in tokenizer.added_tokens_decoder.values()
        if not token.content.isspace() and (token.special or token.content in template)
    ]
    return ControlTokens([token.content for token in added], _Pieces(tokenizer, added))


class _Pieces:
    """Encodes pieces with a copy of the tokenizer, made when a document first mentions a control token.

    In the copy control tokens are text, and stand-ins take their place where they are meant. So words are split and
    spaces are added exactly where the tokenizer itself would.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, added: Sequence[AddedToken]) -> None:
        self._tokenizer, self._added = tokenizer, added
        self._copy: Tokenizer | None = None
        self._stand_ins: dict[str, str] = {}
        self._ids: dict[int, int] = {}

    def __call__(self, pieces: Pieces) -> list[int]:
        if self._copy is None:
            self._copy = self._make()
        text = "".join(self._stand_ins[piece] if is_control else piece for piece, is_control in pieces)
        return [self._ids.get(token, token) for token in self._copy.encode(text, add_special_tokens=False).ids]

    def _make(self) -> Tokenizer:
        from tokenizers import AddedToken, Tokenizer

        told = json.loads(self._tokenizer.backend_tokenizer.to_str())
        names = {token.content for token in self._added}
        # `encode_special_tokens` makes text of special tokens only, and a template may write added ones that are none.
        for entry in told["added_tokens"]:
            entry["special"] = entry["special"] or entry["content"] in names
        copy = Tokenizer.from_str(json.dumps(told))
        copy.no_truncation()
        copy.no_padding()
        copy.encode_special_tokens = True
        for number, token in enumerate(self._added):
            # No text holds a stand-in, because marks are removed from it; `normalized=False` finds it before a
            # normaliser could change it, and the token's own habits take the white space beside it as the token does.
            stand_in = f"{START}{number}{END}"
            habits = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word")}
            copy.add_tokens([AddedToken(stand_in, normalized=False, special=False, **habits)])
            self._stand_ins[token.content] = stand_in
            meant = self._tokenizer.convert_tokens_to_ids(token.content)
            self._ids[int(copy.token_to_id(stand_in) or 0)] = cast(int, meant)
        return copy

"""Control tokens that a chat template writes, told from the same characters in a document.

A document that mentions `<|im_end|>` must not end a turn. Such places are wrapped in marks before the template sees
them; afterwards everything that is marked is encoded as the text it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

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
        self._mentioned = re.compile(names)
        self._written = re.compile(f"{START}(?:{names}){END}|({names})")

    def mark(self, text: str) -> str:
        """The text with its control tokens marked as mere text."""
        text = unmarked(text)
        return self._mentioned.sub(f"{START}\\g<0>{END}", text)

    def encode(self, text: str) -> list[int]:
        """Token ids of a text that a template has made of marked ones."""
        pieces: list[tuple[str, bool]] = []
        plain, last = "", 0
        for found in self._written.finditer(text):
            if found[1] is not None:
                plain += unmarked(text[last : found.start()])
                pieces += [(plain, False), (found[1], True)]
                plain, last = "", found.end()
        pieces.append((plain + unmarked(text[last:]), False))
        return self._encode([piece for piece in pieces if piece[0]])


def unmarked(text: str) -> str:
    """The text without marks."""
    return text.replace(START, "").replace(END, "").replace(CHAT, "")


def control_tokens(tokenizer: Any, template: str) -> ControlTokens:
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

    def __init__(self, tokenizer: Any, added: Sequence[Any]) -> None:
        self._tokenizer, self._added = tokenizer, added
        self._copy: Any = None
        self._stand_ins: dict[str, str] = {}
        self._ids: dict[int, int] = {}

    def __call__(self, pieces: Pieces) -> list[int]:
        if self._copy is None:
            self._make()
        text = "".join(self._stand_ins[piece] if is_control else piece for piece, is_control in pieces)
        return [self._ids.get(token, token) for token in self._copy.encode(text, add_special_tokens=False).ids]

    def _make(self) -> None:
        from tokenizers import AddedToken, Tokenizer

        told = json.loads(self._tokenizer.backend_tokenizer.to_str())
        names = {token.content for token in self._added}
        for entry in told["added_tokens"]:
            entry["special"] = entry["special"] or entry["content"] in names
        copy = Tokenizer.from_str(json.dumps(told))
        copy.no_truncation()
        copy.no_padding()
        copy.encode_special_tokens = True
        for number, token in enumerate(self._added):
            stand_in = f"{START}{number}{END}"
            habits = {name: getattr(token, name) for name in ("lstrip", "rstrip", "single_word")}
            copy.add_tokens([AddedToken(stand_in, normalized=False, special=False, **habits)])
            self._stand_ins[token.content] = stand_in
            self._ids[int(copy.token_to_id(stand_in) or 0)] = self._tokenizer.convert_tokens_to_ids(token.content)
        self._copy = copy

"""The chat template inside a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.backends.chat import ChatTemplate, bare_template
from benchbench.backends.control import ControlTokens, Pieces
from benchbench.backends.gguf.header import GGUFHeader

CONTROL, USER_DEFINED = 3, 4
"""Types of tokens that llama.cpp reads out of text."""


def gguf_template(name: str, header: GGUFHeader, encode: Callable[[Pieces], list[int]] | None) -> ChatTemplate:
    """The template that a file carries; `encode` gives token ids, None: only text is wanted.

    ModelError where it has none.
    """
    told = header.metadata
    source = told.get("tokenizer.chat_template")
    words: list[Any] = told.get("tokenizer.ggml.tokens") or []
    variables = {}
    for variable, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")):
        token = told.get(f"tokenizer.ggml.{key}")
        variables[variable] = str(words[token]) if isinstance(token, int) and 0 <= token < len(words) else ""

    def control() -> ControlTokens:
        if encode is None:
            raise RuntimeError("token ids need the engine")
        types = told.get("tokenizer.ggml.token_type") or []
        found = [str(word) for word, kind in zip(words, types, strict=False) if kind == CONTROL]
        written = [
            str(word)
            for word, kind in zip(words, types, strict=False)
            if kind == USER_DEFINED and not str(word).isspace() and str(word) in str(source)
        ]
        return ControlTokens([*found, *written], encode)

    return bare_template(name, None if source is None else str(source), variables, control)

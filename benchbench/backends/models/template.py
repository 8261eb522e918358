"""The chat template of a model that is not opened, and of a GGUF file, which holds its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchbench.backends.chat import ChatTemplate, bare_template, template_of
from benchbench.backends.control import ControlTokens, Pieces
from benchbench.backends.models.find import find_model, find_tokenizer
from benchbench.backends.models.formats.gguf_header import GGUFHeader, read_header
from benchbench.backends.models.tokenizer import load_tokenizer

CONTROL, USER_DEFINED = 3, 4
"""Types of tokens that llama.cpp reads out of text."""


def open_template(name: str, *, trust_remote_code: bool = False) -> ChatTemplate:
    """The template of a folder, a hub name or a GGUF file. No weights are read; of a GGUF file only its front.

    Raises ModelError where there is no such model, or no template.
    """
    if name.endswith(".gguf"):
        path = find_model(name).path
        return gguf_template(path.name, read_header(path), None)
    return template_of(load_tokenizer(find_tokenizer(name), trusted=trust_remote_code))


def gguf_template(name: str, header: GGUFHeader, encode: Callable[[Pieces], list[int]] | None) -> ChatTemplate:
    """The template that a file carries; `encode` gives token ids, None: only text is wanted.

    ModelError where it has none.
    """
    source = header.metadata.get("tokenizer.chat_template")
    vocabulary: list[Any] = header.metadata.get("tokenizer.ggml.tokens") or []
    variables = {}
    for variable, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")):
        number: Any = header.metadata.get(f"tokenizer.ggml.{key}")
        is_known = isinstance(number, int) and 0 <= number < len(vocabulary)
        variables[variable] = str(vocabulary[number]) if is_known else ""

    def control() -> ControlTokens:
        if encode is None:
            raise RuntimeError("token ids need the engine")
        types = header.metadata.get("tokenizer.ggml.token_type") or []
        found = [str(token) for token, kind in zip(vocabulary, types, strict=False) if kind == CONTROL]
        written = [
            str(token)
            for token, kind in zip(vocabulary, types, strict=False)
            if kind == USER_DEFINED and not str(token).isspace() and str(token) in str(source)
        ]
        return ControlTokens([*found, *written], encode)

    return bare_template(name, None if source is None else str(source), variables, control)

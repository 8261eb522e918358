"""What can be known of a model without opening it: the memory that it needs, its chat template."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchbench.backends.chat import ChatTemplate, ControlTokens, Pieces, bare_template, template_of
from benchbench.backends.models.find import find_model, find_tokenizer, on_this_machine
from benchbench.backends.models.formats import format_named
from benchbench.backends.models.formats.gguf_header import GGUFHeader, read_header
from benchbench.backends.models.identity import read_object
from benchbench.backends.models.memory import MemoryEstimate, estimate_config
from benchbench.backends.models.tokenizer import load_tokenizer
from benchbench.core.errors import ModelError
from benchbench.core.types import Json


def estimate_model(model: str, dtype: str = "auto") -> MemoryEstimate:
    """What `model` needs: a local folder or file, a hub model in the cache, else by what the Hub says of its headers.

    Downloads a configuration at most. Raises ModelError where there is no such model or nothing can be known of it.
    """
    if not on_this_machine(model):
        return _estimate_hub(model, dtype)
    source = find_model(model)
    return format_named(source.format).estimate(source, dtype)


def _estimate_hub(model: str, dtype: str) -> MemoryEstimate:
    from huggingface_hub import errors, get_safetensors_metadata, hf_hub_download

    try:
        counts = get_safetensors_metadata(model).parameter_count
        config = read_object(Path(hf_hub_download(model, "config.json")))
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.NotASafetensorsRepoError, OSError, ValueError):
        raise ModelError(
            f"nothing is known of {model}: it is not on this machine, and the Hub cannot be asked or has no "
            "safetensors of it. Download it first with `hf download`."
        ) from None
    return estimate_config(config, {str(kind): count for kind, count in counts.items()}, dtype)


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
    vocabulary = _listed(header, "tokens")
    known, variables = range(len(vocabulary)), {}
    for variable, key in (("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")):
        number = header.metadata.get(f"tokenizer.ggml.{key}")
        variables[variable] = str(vocabulary[number]) if isinstance(number, int) and number in known else ""

    def control() -> ControlTokens:
        if encode is None:
            raise RuntimeError("token ids need the engine")
        types = _listed(header, "token_type")
        found = [str(token) for token, kind in zip(vocabulary, types, strict=False) if kind == CONTROL]
        written = [
            str(token)
            for token, kind in zip(vocabulary, types, strict=False)
            if kind == USER_DEFINED and not str(token).isspace() and str(token) in str(source)
        ]
        return ControlTokens([*found, *written], encode)

    return bare_template(name, None if source is None else str(source), variables, control)


def _listed(header: GGUFHeader, key: str) -> list[Json]:
    found = header.metadata.get(f"tokenizer.ggml.{key}")
    return found if isinstance(found, list) else []

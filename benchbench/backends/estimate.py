"""How much memory a model needs, read from its configuration and the headers of its files; nothing is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.backends.gguf.header import GGUFHeader, read_header, split_files
from benchbench.backends.identity import read_json
from benchbench.backends.weights import BITS, check_weights, safetensors_header
from benchbench.core.errors import ModelError
from benchbench.core.format import byte_size

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
STORED = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
PICKLED_BYTES = 2
"""Assumed of a parameter in a torch file, whose header is not read."""
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
WIDTHS = ("hidden_size", "n_embd", "d_model")
LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "n_ctx")


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Sizes in bytes."""

    architecture: str
    num_parameters: int
    dtype: str
    """The type that the weights are computed in; for GGUF files their quantisation."""
    weights: int
    cache_per_token: int | None
    """Keys and values of one token; None where the configuration does not tell."""
    length: int | None
    """Tokens that the model says it holds."""

    @property
    def cache(self) -> int | None:
        """Keys and values of one text of the model's own length."""
        if self.cache_per_token is None or self.length is None:
            return None
        return self.cache_per_token * self.length

    @property
    def total(self) -> int:
        """Weights and one full cache."""
        return self.weights + (self.cache or 0)


def estimate_model(model: str, dtype: str = "auto") -> MemoryEstimate:
    """What `model` needs: a local folder or file, a hub model in the cache, else by what the Hub says of its headers.

    Downloads a configuration at most. Raises ModelError where there is no such model or nothing can be known of it.
    """
    from benchbench.backends.hf.source import find_model, on_this_machine

    if not on_this_machine(model):
        return _estimate_hub(model, dtype)
    source = find_model(model)
    if source.gguf_file is not None:
        return estimate_gguf(source.folder / source.gguf_file)
    return estimate_folder(source.folder, dtype)


def estimate_folder(folder: Path, dtype: str = "auto") -> MemoryEstimate:
    """What the transformers model in `folder` needs, computed in `dtype`. ModelError where files are broken."""
    config = read_json(folder / "config.json")
    files = check_weights(folder)
    counts: dict[str, int] = {}
    if files[0].suffix != ".safetensors":
        counts["F16"] = sum(file.stat().st_size for file in files) // PICKLED_BYTES
        return _estimate(config, counts, dtype)
    for file in files:
        for tensor in safetensors_header(file).values():
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + math.prod(tensor.shape)
    return _estimate(config, counts, dtype)


def _estimate_hub(model: str, dtype: str) -> MemoryEstimate:
    from huggingface_hub import errors, get_safetensors_metadata, hf_hub_download

    try:
        counts = get_safetensors_metadata(model).parameter_count
        config = read_json(Path(hf_hub_download(model, "config.json")))
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.NotASafetensorsRepoError, OSError, ValueError):
        raise ModelError(
            f"nothing is known of {model}: it is not on this machine, and the Hub cannot be asked or has no "
            "safetensors of it. Download it first with `hf download`."
        ) from None
    return _estimate(config, {str(kind): count for kind, count in counts.items()}, dtype)


def _estimate(config: Mapping[str, Any], counts: Mapping[str, int], dtype: str) -> MemoryEstimate:
    """`counts` maps a type, as safetensors names it, to how many parameters are stored so."""
    parameters = sum(counts.values())
    stored = max(counts, key=lambda kind: counts[kind], default="F32")
    inner = {**config, **(config.get("text_config") or {})}
    named = str(inner.get("dtype") or inner.get("torch_dtype") or STORED.get(stored, "")).removeprefix("torch.")
    chosen = dtype if dtype != "auto" else named
    as_stored = sum(count * BITS.get(kind, 8) // 8 for kind, count in counts.items())
    return MemoryEstimate(
        architecture=str(config.get("model_type", "unknown")),
        num_parameters=parameters,
        dtype=chosen if chosen in ITEM_BYTES else "as stored",
        weights=parameters * ITEM_BYTES[chosen] if chosen in ITEM_BYTES else as_stored,
        cache_per_token=cache_per_token(inner, ITEM_BYTES.get(chosen, 2)),
        length=_first(inner, LENGTHS),
    )


def cache_per_token(config: Mapping[str, Any], item_bytes: int) -> int | None:
    """Bytes of the keys and values of one token, over all layers; None where `config` does not tell."""
    layers, heads, width = (_first(config, keys) for keys in (LAYERS, HEADS, WIDTHS))
    if not (layers and heads and width):
        return None
    attention = config.get("attn_config") or {}
    key_heads = config.get("num_key_value_heads") or attention.get("kv_n_heads") or config.get("num_kv_heads")
    if key_heads is None:
        key_heads = 1 if config.get("multi_query") else heads
    head = config.get("head_dim") or width // heads
    return 2 * layers * key_heads * head * item_bytes if isinstance(key_heads, int) and isinstance(head, int) else None


def _first(config: Mapping[str, Any], keys: Sequence[str]) -> int | None:
    return next((config[key] for key in keys if isinstance(config.get(key), int)), None)


def estimate_gguf(path: Path) -> MemoryEstimate:
    """What llama.cpp needs for the file, with keys and values in float16. ModelError where it is broken."""
    headers = [read_header(part) for part in split_files(path)]
    first = next((h for h in headers if h.architecture), headers[0])
    length = first.model("context_length")
    return MemoryEstimate(
        architecture=first.architecture or "unknown",
        num_parameters=sum(header.num_parameters for header in headers),
        dtype=first.quantisation,
        weights=sum(header.weight_bytes for header in headers),
        cache_per_token=_gguf_cache(first),
        length=None if length is None else int(length),
    )


def expanded(estimate: MemoryEstimate, dtype: str) -> MemoryEstimate:
    """The same model with its weights expanded to `dtype`."""
    return replace(estimate, dtype=dtype, weights=estimate.num_parameters * ITEM_BYTES[dtype])


def _gguf_cache(header: GGUFHeader) -> int | None:
    layers, heads = header.model("block_count"), header.model("attention.head_count")
    width = header.model("embedding_length")
    if not (layers and heads and width):
        return None
    key_heads = header.model("attention.head_count_kv") or heads
    per_layer = key_heads if isinstance(key_heads, list) else [key_heads] * int(layers)
    head = width // (max(heads) if isinstance(heads, list) else heads)
    keys, values = header.model("attention.key_length") or head, header.model("attention.value_length") or head
    return int(sum(per_layer) * (keys + values) * 2)


def check_fits(estimate: MemoryEstimate, free: int, *, name: str, place: str) -> None:
    """ModelError where the weights alone are more than `free` bytes of `place`."""
    if estimate.weights <= free:
        return
    smaller = " --dtype bfloat16 halves that." if estimate.dtype == "float32" else ""
    raise ModelError(
        f"{name} has {estimate.num_parameters:,} parameters, which take {byte_size(estimate.weights)} as "
        f"{estimate.dtype}, but only {byte_size(free)} of {place} are free.{smaller} A quantised GGUF file with "
        "--backend gguf takes less; vLLM splits a model over several GPUs."
    )

"""How much memory a model needs, by its configuration and the sizes of its tensors, and how much this machine has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.backends.models.files import BITS, TORCH_DTYPES
from benchbench.core.errors import ModelError
from benchbench.core.format import byte_size
from benchbench.core.json_record import object_at
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
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


def estimate_config(config: Mapping[str, Json], counts: Mapping[str, int], dtype: str) -> MemoryEstimate:
    """What a transformers model needs; `counts`: safetensors' name of a type → how many parameters are stored in it."""
    parameters = sum(counts.values())
    stored = max(counts, key=lambda kind: counts[kind], default="F32")
    inner = {**config, **object_at(config, "text_config")}
    named = str(inner.get("dtype") or inner.get("torch_dtype") or TORCH_DTYPES.get(stored, "")).removeprefix("torch.")
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


def cache_per_token(config: Mapping[str, Json], item_bytes: int) -> int | None:
    """Bytes of the keys and values of one token, over all layers; None where `config` does not tell."""
    layers, heads, width = (_first(config, keys) for keys in (LAYERS, HEADS, WIDTHS))
    if not (layers and heads and width):
        return None
    attention = object_at(config, "attn_config")
    key_heads = config.get("num_key_value_heads") or attention.get("kv_n_heads") or config.get("num_kv_heads")
    if key_heads is None:
        key_heads = 1 if config.get("multi_query") else heads
    head = config.get("head_dim") or width // heads
    return 2 * layers * key_heads * head * item_bytes if isinstance(key_heads, int) and isinstance(head, int) else None


def _first(config: Mapping[str, Json], keys: Sequence[str]) -> int | None:
    return next((value for key in keys if isinstance(value := config.get(key), int)), None)


def expanded(estimate: MemoryEstimate, dtype: str) -> MemoryEstimate:
    """The same model with its weights expanded to `dtype`."""
    return replace(estimate, dtype=dtype, weights=estimate.num_parameters * ITEM_BYTES[dtype])


def check_memory(needed: MemoryEstimate, name: str, device: torch.device) -> None:
    """Raises ModelError before weights are read that this machine cannot hold."""
    check_fits(needed, memory().free, name=name, place="memory")
    if device.type == "cuda":
        import torch

        check_fits(needed, torch.cuda.mem_get_info(device)[0], name=name, place=f"the memory of {device}")


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


_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


@dataclass(frozen=True, slots=True)
class GPU:
    """One CUDA device; sizes in bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory in bytes: what the machine or the job's limit gives, and what of it is free or can be freed."""

    total: int
    free: int


def memory() -> Memory:
    """Main memory of this machine, or of the control group that this process is held to."""
    sizes: dict[str, int] = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, value = line.partition(":")
            sizes[name] = int(value.split()[0]) * 1024
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        total = free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit_file, used_file in zip(_CGROUP_LIMITS, _CGROUP_USED, strict=True):
        limit, used = _number(limit_file), _number(used_file)
        if limit is not None and used is not None and limit < total:
            total, free = limit, min(free, max(0, limit - used))
    return Memory(total, free)


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def gpus() -> tuple[GPU, ...]:
    """The CUDA devices that torch sees; imports torch."""
    if util.find_spec("torch") is None:
        return ()
    import torch

    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free, total = torch.cuda.mem_get_info(index)
        found.append(GPU(torch.cuda.get_device_name(index), int(total), int(free)))
    return tuple(found)

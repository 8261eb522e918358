"""How much memory a model needs, by its configuration and the sizes of its tensors, and how much this machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
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
FLOATS = frozenset(["F64", "F32", "F16", "BF16"])
"""Types that are computed with; beside quantised tensors they are loaded in the type that was chosen."""
PACKED = frozenset(["I32", "U32", "I8", "U8"])
"""Types that hold several weights of few bits."""
EXPANDED: Mapping[str, tuple[str, ...]] = {"cpu": ("fp8", "mxfp4")}
"""Device → what transformers expands there to the type that is computed with."""
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


def estimate_config(
    config: Mapping[str, Json], counts: Mapping[str, int], dtype: str, *, device_type: str | None = None
) -> MemoryEstimate:
    """What a transformers model needs; `counts`: safetensors' name of a type → how many elements are stored in it.

    Quantised tensors stay as they are stored, except where transformers has to expand them on a `device_type`.
    """
    stored = max(counts, key=lambda kind: counts[kind], default="F32")
    inner = {**config, **object_at(config, "text_config")}
    named = str(inner.get("dtype") or inner.get("torch_dtype") or TORCH_DTYPES.get(stored, "")).removeprefix("torch.")
    chosen = dtype if dtype != "auto" else named
    quantised = object_at(config, "quantization_config")
    method = str(quantised.get("quant_method", "")) if quantised else ""
    parameters = sum(count * _packed(kind, quantised) for kind, count in counts.items())
    expands = method in EXPANDED.get(str(device_type), ())
    as_stored = sum(
        count * (ITEM_BYTES[chosen] * 8 if kind in FLOATS and chosen in ITEM_BYTES else BITS.get(kind, 8)) // 8
        for kind, count in counts.items()
    )
    computed = chosen in ITEM_BYTES and (expands or not method)
    return MemoryEstimate(
        architecture=str(config.get("model_type", "unknown")),
        num_parameters=parameters,
        dtype=chosen if computed else method or "as stored",
        weights=parameters * ITEM_BYTES[chosen] if computed else as_stored,
        cache_per_token=cache_per_token(inner, ITEM_BYTES.get(chosen, 2)),
        length=_first(inner, LENGTHS),
    )


def _packed(kind: str, quantised: Mapping[str, Json]) -> int:
    """How many weights one element of a quantised checkpoint holds."""
    if kind not in PACKED or not quantised:
        return 1
    bits = next((value for key, value in entries(quantised) if key in ("bits", "num_bits", "wbits")), None)
    if bits is None and (quantised.get("load_in_4bit") or quantised.get("quant_method") == "mxfp4"):
        bits = 4
    return max(1, BITS[kind] // bits) if isinstance(bits, int) and bits > 0 else 1


def entries(raw: Mapping[str, Json], depth: int = 4) -> Iterator[tuple[str, Json]]:
    """The keys and values of a configuration and of those inside it."""
    for key, value in raw.items():
        yield key, value
        if depth and isinstance(value, dict):
            yield from entries(value, depth - 1)


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


def check_memory(needed: MemoryEstimate, name: str, device: torch.device, *, direct: bool = False) -> None:
    """Raises ModelError before weights are read that this machine cannot hold.

    `direct`: they go to the device tensor by tensor, and main memory need not hold them.
    """
    if not direct:
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

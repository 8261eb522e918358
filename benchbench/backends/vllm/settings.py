"""The options that only vLLM has, and the environment it is started in. Imports no vLLM."""

from __future__ import annotations

import contextlib
import logging
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchbench.backends.options import ModelOptions, check_model_args
from benchbench.core.errors import ArgumentError

TESTED = ("0.32.",)
"""Versions of vLLM whose prefix cache behaves as `plan.py` assumes, by test. Others score without reading it."""
MODEL_ARGS = (
    "block_size",
    "enforce_eager",
    "gpu_memory_utilization",
    "kv_cache_memory_bytes",
    "max_num_seqs",
    "quantization",
    "tensor_parallel_size",
)
ENVIRONMENT = {
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # one more than the model reads, for the token after a full prompt
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other work on the machine may have the cores too
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


GPU_SHARE = 0.85


@dataclass(frozen=True, slots=True)
class Settings:
    """`--model-args` for vLLM, under vLLM's own names. None leaves the choice to vLLM, or to what `open.py` says."""

    tensor_parallel_size: int = 1
    gpu_memory_utilization: float = GPU_SHARE
    """Share of the GPU's memory, 0 to 1. Less than vLLM's own default: log-probabilities of prompts need room too."""
    quantization: str | None = None
    """How vLLM quantises weights on loading, e.g. fp8; a quantised checkpoint needs no word."""
    kv_cache_memory_bytes: int | None = None
    """Size of the cache of keys and values in bytes."""
    max_num_seqs: int | None = None
    """Prompts at the same time."""
    block_size: int | None = None
    """Tokens in one block of the cache: shared prefixes are found in steps of this."""
    enforce_eager: bool | None = None
    """Do not compile and record graphs: starts faster, computes slower on a GPU."""


def read_settings(options: ModelOptions) -> Settings:
    """Typed values of `options.model_args`. Raises BackendError for unknown names, ArgumentError for odd values."""
    given = check_model_args(options, MODEL_ARGS, backend="vllm")
    return Settings(
        tensor_parallel_size=_whole(given, "tensor_parallel_size") or 1,
        gpu_memory_utilization=_share(given, "gpu_memory_utilization") or GPU_SHARE,
        quantization=given.get("quantization"),
        kv_cache_memory_bytes=_whole(given, "kv_cache_memory_bytes"),
        max_num_seqs=_whole(given, "max_num_seqs"),
        block_size=_whole(given, "block_size"),
        enforce_eager=_flag(given, "enforce_eager"),
    )


def _whole(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentError(f"--model-args {name}={text} is not a whole number from 1 up.")
    return int(text)


def _share(given: Mapping[str, str], name: str) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 1:
            return float(text)
    raise ArgumentError(f"--model-args {name}={text} is not a share of the memory, above 0 and up to 1.")


def _flag(given: Mapping[str, str], name: str) -> bool | None:
    text = given.get(name)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise ArgumentError(f"--model-args {name}={text} is neither true nor false.")
    return text.lower() == "true"


def prepare_environment(settings: Settings) -> None:
    """What vLLM reads from the environment when it is imported; what the user has set stays.

    With one worker the engine runs in this process: it starts in seconds instead of half a minute.
    """
    in_process = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"} if settings.tensor_parallel_size == 1 else {}
    for name, value in (ENVIRONMENT | in_process).items():
        os.environ.setdefault(name, value)
    logging.getLogger("torch._library.triton").setLevel(logging.ERROR)  # it says what is missing on every CPU


@contextlib.contextmanager
def own_random_state() -> Iterator[None]:
    """vLLM seeds the global random generators; afterwards they are as they were."""
    import numpy as np
    import torch

    python, numpy, tensors = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(tensors)


def stop_compiling() -> None:
    """Without graphs vLLM still compiles one counting function, for half a minute, and it is no faster for it."""
    import torch._dynamo

    torch._dynamo.config.disable = True


def head_size(config: Any) -> int:
    """Width of one attention head in a transformers configuration."""
    config = config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def cache_bytes(config: Any, max_length: int, dtype_bytes: int) -> int:
    """Bytes for keys and values on a CPU: 1 GiB, or the longest prompt and a quarter if that is more."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    per_token = 2 * int(text.num_hidden_layers) * int(heads) * head_size(config) * dtype_bytes
    return max(2**30, per_token * (max_length + 1) * 5 // 4)

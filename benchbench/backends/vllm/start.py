"""Starts vLLM: imports it, opens an engine, and turns what it raises into sentences."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from benchbench.backends.options import ModelOptions
from benchbench.backends.vllm.engine import Engine
from benchbench.backends.vllm.settings import (
    Settings,
    cache_bytes,
    head_size,
    own_random_state,
    prepare_environment,
    stop_compiling,
)
from benchbench.core.errors import ArgumentError, BackendError

BATCH_TOKENS = 2_048
"""Tokens in one step: bounds the memory for log-probabilities of prompts, which take a row of the vocabulary each."""
CPU_BLOCK = 32
"""Tokens in a block of the cache on a CPU; vLLM's own choice there, 128, finds fewer shared prefixes."""
LOAD_ERRORS = (ValueError, RuntimeError, TypeError, LookupError, AttributeError, AssertionError, ImportError, OSError)
"""What vLLM raises for a model or an option that it cannot take."""


def start_vllm(options: ModelOptions, settings: Settings) -> str:
    """Imports vLLM; returns cpu or cuda. Raises BackendError where the package or its device is missing."""
    if importlib.util.find_spec("vllm") is None:
        raise BackendError(
            "the package vllm is not installed here. pip install 'benchbench-eval[vllm]' installs it on a machine with "
            "a GPU; --backend hf runs the same models without it."
        )
    prepare_environment(settings)
    try:
        from vllm import __version__
        from vllm.platforms import current_platform
    except (ImportError, RuntimeError, OSError) as error:
        raise BackendError(
            f"the package vllm is installed but cannot be imported: {_said(error)}. --backend hf needs none of it."
        ) from error
    device = str(current_platform.device_type or "")
    if device not in ("cpu", "cuda"):
        raise BackendError(
            f"vLLM {__version__} finds no GPU here. --backend hf runs this model on the CPU; so does a build of vLLM "
            "for CPUs."
        )
    wanted = options.device.partition(":")
    if options.device != "auto" and (wanted[0] != device or wanted[2]):
        raise ArgumentError(
            f"--device {options.device}: this vLLM runs on {device}. Leave --device out, and choose among GPUs with "
            "CUDA_VISIBLE_DEVICES."
        )
    return device


def start_engine(
    place: Path,
    options: ModelOptions,
    settings: Settings,
    config: Any,
    chosen: tuple[str, str, int],
    *,
    own_code: bool,
) -> Engine:
    """Opens the folder `place` with the (device, dtype, length) that were chosen. BackendError where vLLM refuses."""
    from vllm import LLM

    device, dtype, length = chosen
    arguments = _arguments(settings, options, config, chosen)
    if device == "cpu":
        _check_head_size(config, options.model)
    if arguments["enforce_eager"]:
        stop_compiling()
    try:
        with own_random_state():
            llm = LLM(
                str(place),
                skip_tokenizer_init=True,  # texts never reach the engine, so no second tokenizer can disagree
                generation_config="vllm",
                dtype=dtype,
                trust_remote_code=own_code,
                max_model_len=length + 1,
                enable_prefix_caching=True,
                use_tqdm_on_load=False,
                tensor_parallel_size=settings.tensor_parallel_size,
                quantization=settings.quantization,
                **arguments,
            )
    except (*LOAD_ERRORS, MemoryError) as error:
        raise BackendError(
            f"vLLM {vllm_version()} cannot open {place.name if own_code else options.model}: {_said(error)} "
            f"{_advice(str(error), device)}"
        ) from error
    cache = llm.llm_engine.vllm_config.cache_config
    return Engine(
        llm, block_size=int(cache.block_size), cache_blocks=int(cache.num_gpu_blocks or 0), on_cpu=device == "cpu"
    )


def _check_head_size(config: Any, name: str) -> None:
    """vLLM's attention for CPUs knows some sizes of heads only, and would say so at the first prompt."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    size, known = head_size(config), CPUAttentionBackend.get_supported_head_sizes()
    if size not in known:
        raise BackendError(
            f"{name} has attention heads of size {size}; vLLM {vllm_version()} on a CPU knows "
            f"{', '.join(map(str, known))}. --backend hf can run it."
        )


def _arguments(settings: Settings, options: ModelOptions, config: Any, chosen: tuple[str, str, int]) -> dict[str, Any]:
    """The arguments of `LLM` that depend on the device, where the user left them open."""
    device, dtype, length = chosen
    on_cpu = device == "cpu"
    arguments: dict[str, Any] = {
        "enforce_eager": on_cpu if settings.enforce_eager is None else settings.enforce_eager,
        "max_num_batched_tokens": options.batch_tokens or BATCH_TOKENS,
        "kv_cache_memory_bytes": settings.kv_cache_memory_bytes,
        "max_num_seqs": settings.max_num_seqs,
        "block_size": settings.block_size,
    }
    if on_cpu:
        dtype_bytes = 4 if dtype == "float32" else 2
        arguments["kv_cache_memory_bytes"] = settings.kv_cache_memory_bytes or cache_bytes(config, length, dtype_bytes)
        arguments["block_size"] = settings.block_size or CPU_BLOCK
    else:
        arguments["gpu_memory_utilization"] = settings.gpu_memory_utilization
    return {name: value for name, value in arguments.items() if value is not None}


def _said(error: BaseException) -> str:
    """The telling line of an error: pydantic puts it second, after a count."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = lines[1] if len(lines) > 1 and "validation error" in lines[0] else lines[0]
    return line.removeprefix("Value error, ").partition(" [type=")[0].rstrip(".")[:300] + "."


def _advice(message: str, device: str) -> str:
    if "KV cache" in message or "out of memory" in message.lower():
        share = "gpu_memory_utilization" if device == "cuda" else "kv_cache_memory_bytes"
        return f"A smaller --max-length needs less; --model-args {share}=… gives it more."
    return "--backend hf may run it."


def vllm_version() -> str:
    """Of the installed package."""
    from vllm import __version__

    return str(__version__)

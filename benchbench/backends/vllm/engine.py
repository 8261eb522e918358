"""A vLLM engine: the options that only it has, its environment, how it starts, and the few calls that are made to it.

Importing this imports no vLLM.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from benchbench.backends.engine_options import WHOLE, TrueOrFalse, expected
from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.options import TextOptions
from benchbench.backends.tokens import first_line
from benchbench.core.errors import ArgumentError, BackendError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class RunningEngine:
    """One `vllm.LLM`. Takes prompts as tokens; counts what was computed."""

    def __init__(self, llm: Any, *, block_size: int, cache_blocks: int, on_cpu: bool) -> None:
        self.llm = llm
        self.block_size = block_size
        self.cache_blocks = cache_blocks
        """Blocks of keys and values that fit at once."""
        self.on_cpu = on_cpu
        self.steps = 0
        self.computed_tokens = 0
        self._core = llm.llm_engine
        self._number = 0
        self._running: dict[str, int] = {}

    def run(self, prompts: Sequence[tuple[Sequence[int], Any]]) -> Iterator[tuple[int, Any]]:
        """Runs (tokens, sampling parameters) together; yields (index, output) whenever one has news.

        Parameters with `DELTA` output give news at every token, until `end(index)` is called.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            for i, (tokens, params) in enumerate(prompts):
                self._number += 1
                self._running[str(self._number)] = i
                self._core.add_request(str(self._number), {"prompt_token_ids": list(tokens)}, params)
            while self._running:
                outputs = self._core.step()
                self.steps += 1
                for output in outputs:
                    index = self._running.get(output.request_id)
                    if index is not None:
                        if output.finished:
                            del self._running[output.request_id]
                        yield index, output
        except (RuntimeError, MemoryError, EngineDeadError) as error:
            raise BackendError(
                f"vLLM stopped: {first_line(error)}. What was scored is kept and the same command goes on from there; "
                "if memory ran out, lower --batch-tokens or --max-length first."
            ) from error
        finally:
            self._abort(list(self._running))

    def end(self, index: int) -> None:
        """No more tokens for this prompt of the current `run`."""
        self._abort([name for name, i in self._running.items() if i == index])

    def _abort(self, names: list[str]) -> None:
        for name in names:
            del self._running[name]
        if names:
            self._core.abort_request(names)

    def forget(self) -> None:
        """Empties the prefix cache. Raises BackendError where vLLM keeps blocks."""
        for _ in range(3):
            if self._core.reset_prefix_cache():
                return
            self._core.step()  # lets go of requests that were just aborted
        raise BackendError("vLLM did not empty its prefix cache; open the model anew.")

    def reload(self, folder: str) -> None:
        """Reads the weights of `folder` into the model, in every worker."""
        self.llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})
        if self.on_cpu:
            self.llm.apply_model(_pack_tied)

    def close(self) -> None:
        """Stops the engine and its workers and gives their memory back."""
        from vllm.distributed import cleanup_dist_env_and_memory

        self._core.engine_core.shutdown()
        self.llm = self._core = None
        cleanup_dist_env_and_memory()


def _pack_tied(model: Any) -> None:
    """On CPUs every layer computes with a packed copy of its weights. A reload makes new copies for the layers that it
    loads, but an output layer tied to the embedding is not loaded: its copy would still be of the old checkpoint.
    """
    from torch import Tensor

    owners: dict[int, list[Any]] = {}
    for module in model.modules():
        if isinstance(weight := getattr(module, "weight", None), Tensor):
            owners.setdefault(weight.data_ptr(), []).append(module)
    for module in (module for modules in owners.values() if len(modules) > 1 for module in modules):
        if hasattr(module, "quant_method"):
            module.quant_method.process_weights_after_loading(module)


TESTED = ("0.32.",)
"""Versions of vLLM whose prefix cache behaves as `plan.py` assumes, by test. Others score without reading it."""
ENVIRONMENT = {
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # one more than the model reads, for the token after a full prompt
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # other work on the machine may have the cores too
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}

GPU_SHARE = 0.85
BATCH_TOKENS = 2_048
"""Tokens in one step: bounds the memory for log-probabilities of prompts, which take a row of the vocabulary each."""
CPU_BLOCK = 32
"""Tokens in a block of the cache on a CPU; vLLM's own choice there, 128, finds fewer shared prefixes."""
LOAD_ERRORS = (ValueError, RuntimeError, TypeError, LookupError, AttributeError, AssertionError, ImportError, OSError)
"""What vLLM raises for a model or an option that it cannot take."""

Count = Annotated[int, WHOLE, Field(ge=1), expected("is not a whole number from 1 up")]
Share = Annotated[float, Field(gt=0, le=1), expected("is not a share of the memory, above 0 and up to 1")]


class VLLMOptions(TextOptions):
    """`--model-args` for vLLM, under its own names. None leaves the choice to it, or to what `_arguments` says."""

    tensor_parallel_size: Count = 1
    gpu_memory_utilization: Share = GPU_SHARE
    """Share of the GPU's memory, 0 to 1. Less than vLLM's own default: log-probabilities of prompts need room too."""
    quantization: str | None = None
    """How vLLM quantises weights on loading, e.g. fp8; a quantised checkpoint needs no word."""
    kv_cache_memory_bytes: Count | None = None
    """Size of the cache of keys and values in bytes."""
    max_num_seqs: Count | None = None
    """Prompts at the same time."""
    block_size: Count | None = None
    """Tokens in one block of the cache: shared prefixes are found in steps of this."""
    enforce_eager: TrueOrFalse | None = None
    """Do not compile and record graphs: starts faster, computes slower on a GPU."""


def start_vllm(options: ModelOptions, settings: VLLMOptions) -> str:
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
            f"the package vllm is installed but cannot be imported: {_reason(error)}. --backend hf needs none of it."
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
    settings: VLLMOptions,
    config: PretrainedConfig,
    chosen: tuple[str, str, int],
    *,
    own_code: bool,
) -> RunningEngine:
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
            f"vLLM {vllm_version()} cannot open {place.name if own_code else options.model}: {_reason(error)} "
            f"{_advice(str(error), device)}"
        ) from error
    cache = llm.llm_engine.vllm_config.cache_config
    return RunningEngine(
        llm, block_size=int(cache.block_size), cache_blocks=int(cache.num_gpu_blocks or 0), on_cpu=device == "cpu"
    )


def _check_head_size(config: PretrainedConfig, name: str) -> None:
    """vLLM's attention for CPUs knows some sizes of heads only, and would say so at the first prompt."""
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    size, known = head_size(config), CPUAttentionBackend.get_supported_head_sizes()
    if size not in known:
        raise BackendError(
            f"{name} has attention heads of size {size}; vLLM {vllm_version()} on a CPU knows "
            f"{', '.join(map(str, known))}. --backend hf can run it."
        )


def _arguments(
    settings: VLLMOptions, options: ModelOptions, config: PretrainedConfig, chosen: tuple[str, str, int]
) -> dict[str, object]:
    """The arguments of `LLM` that depend on the device, where the user left them open."""
    device, dtype, length = chosen
    on_cpu = device == "cpu"
    arguments: dict[str, object] = {
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


def _reason(error: BaseException) -> str:
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


def prepare_environment(settings: VLLMOptions) -> None:
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


def head_size(config: PretrainedConfig) -> int:
    """Width of one attention head in a transformers configuration."""
    config = config.get_text_config()
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def cache_bytes(config: PretrainedConfig, max_length: int, dtype_bytes: int) -> int:
    """Bytes for keys and values on a CPU: 1 GiB, or the longest prompt and a quarter if that is more."""
    text = config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    per_token = 2 * int(text.num_hidden_layers) * int(heads) * head_size(config) * dtype_bytes
    return max(2**30, per_token * (max_length + 1) * 5 // 4)

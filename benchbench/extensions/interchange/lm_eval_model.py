"""Which model lm-eval's results are of: its name, its step and tokens, and all that makes it another model."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchbench.core.errors import DataError
from benchbench.core.json_record import whole
from benchbench.extensions.interchange.imported import ImportedModel
from benchbench.store.names import names_at, names_called

OF_NO_WEIGHT = frozenset(
    {
        *("pretrained", "model", "revision", "subfolder", "batch_size", "max_batch_size", "device", "device_map"),
        *("device_map_option", "parallelize", "use_accelerate", "gpus", "max_memory_per_gpu", "max_cpu_memory"),
        *("offload_folder", "low_cpu_mem_usage", "trust_remote_code", "cache_dir", "download_dir", "load_format"),
        *("token", "use_auth_token", "use_fast_tokenizer", "backend", "seed", "logits_cache", "use_cache"),
        *("tensor_parallel_size", "data_parallel_size", "pipeline_parallel_size", "gpu_memory_utilization"),
        *("swap_space", "max_num_seqs", "max_num_batched_tokens", "enforce_eager", "base_url", "num_concurrent"),
        *("max_retries", "timeout", "verify_certificate", "header", "tokenized_requests", "tokenizer_backend"),
    }
)
"""Arguments of lm-eval's models that change neither weights nor numbers, or that the model's name tells."""
KINDS = frozenset(
    {
        *("hf", "hf-auto", "hf-causal", "hf-causal-experimental", "hf-seq2seq", "hf-multimodal", "hf-mistral3"),
        *("huggingface", "vllm", "vllm-vlm", "sglang", "sglang-generate", "gguf", "ggml", "nemo_lm", "megatron_lm"),
        *("openai", "openai-completions", "openai-chat-completions", "local-completions", "local-chat-completions"),
        *("anthropic", "anthropic-chat", "anthropic-completions", "anthropic-chat-completions", "textsynth"),
        *("gpt2", "gpt3", "gpt4all", "mamba_ssm", "neuronx", "openvino", "optimum-causal", "steered", "dummy"),
        *("cohere", "goose", "watsonx_llm", "winml", "ipex", "plugin", "litellm", "together", "tensorrt-llm"),
    }
)
"""What lm-eval calls its ways to run a model: `config.model` names a model only where it is none of these."""
NAMES = ("pretrained", "model", "path", "model_path", "model_name", "engine", "filename")
"""Arguments that name the model, the surest first."""


def read_model(content: Mapping[str, Any], path: Path, called: str | None = None) -> ImportedModel:
    """The model that a results file is of.

    Args:
        called: what to call it where its arguments do not say.

    Raises:
        DataError: nothing names it.
    """
    arguments = _arguments(content["config"].get("model_args"))
    if is_ours(content):
        return _our_model(content, arguments.get("pretrained"))
    named = next((arguments[key] for key in NAMES if key in arguments), None)
    named = named or called or _named_elsewhere(content, path)
    if not named:
        raise DataError(
            f"{path} does not name its model: neither `pretrained` or `model` in model_args nor model_name."
            " Import it alone with --set model=NAME."
        )
    stated = content["config"].get("model_revision")
    revision = arguments.get("revision") or (stated if isinstance(stated, str) and stated.strip() else "main")
    leaf = "/".join(part for part in ("" if revision == "main" else revision, arguments.get("subfolder", "")) if part)
    found = names_at(str(named), leaf or None)
    name, series, reading = found.model, found.series, found.reading
    if "peft" in arguments:
        adapter = names_at(arguments["peft"])
        named_so = names_called(f"{name}+{adapter.model}")
        name, series, reading = named_so.model, named_so.series, named_so.reading
    kept = sorted((k, v) for k, v in arguments.items() if k not in OF_NO_WEIGHT and (k, v) != ("tokenizer", named))
    return ImportedModel(name, series, reading.step, reading.tokens, str(named), tuple(kept))


def _named_elsewhere(content: Mapping[str, Any], path: Path) -> str | None:
    """The model by `model_name`, by `config.model` where that is no kind of model, or by lm-eval's folder for it."""
    known = content.get("model_name"), content["config"].get("model")
    for name in known:
        if isinstance(name, str) and name.strip() and name not in KINDS:
            return name
    return path.parent.name.replace("__", "/", 1) if "__" in path.parent.name.strip("_") else None


def _arguments(given: Any) -> dict[str, str]:
    """`model_args`, which is text in some versions and an object in others, without what says nothing."""
    if isinstance(given, str):
        given = _parsed(given)
    known = {str(k): str(v).strip("\"' ") for k, v in given.items()} if isinstance(given, Mapping) else {}
    nothing = ("", "None", "False")
    return {k: v for k, v in known.items() if v not in nothing and (k, v) != ("dtype", "auto")}


def _parsed(text: str) -> dict[str, Any]:
    """An object written as text by JSON or Python, or pairs `a=b,c=d`, whose values may hold commas."""
    if text.lstrip().startswith("{"):
        for read in (json.loads, ast.literal_eval):
            try:
                found = read(text)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                continue
            if isinstance(found, dict):
                return found
    names: list[str] = []
    values: list[str] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if equals:
            names.append(name.strip())
            values.append(value)
        elif values:
            values[-1] += f",{part}"
    return dict(zip(names, values, strict=True))


def _our_model(content: Mapping[str, Any], location: str | None) -> ImportedModel:
    """Of a file that `results export` wrote."""
    ours, name = content["benchbench"], str(content["model_name"])
    called = names_called(name)
    series = str(ours.get("series") or called.series)
    return ImportedModel(name, series, whole(ours.get("step")), whole(ours.get("tokens_seen")), location)


def is_ours(content: Mapping[str, Any]) -> bool:
    """Written by `results export`, which names models as we do."""
    return isinstance(content.get("benchbench"), dict) and bool(content.get("model_name"))

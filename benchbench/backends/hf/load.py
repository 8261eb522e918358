"""Opens a model with transformers, and refuses what transformers would let pass with a warning.

Everything is checked before memory is spent: configuration, every weight file's header, tokenizer. After loading, a
tensor that is missing, left over or misshapen is an error, because the model would otherwise run with random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.estimate import MemoryEstimate, check_fits, estimate_folder, estimate_gguf, expanded
from benchbench.backends.hf import architecture as arch
from benchbench.backends.hf.load_composer import load_composer
from benchbench.backends.hf.loaded import LoadedModel, own_tokenizer_identity, set_length
from benchbench.backends.hf.pretrained import from_pretrained, unchanged
from benchbench.backends.hf.source import Source, find_model, find_tokenizer, quiet
from benchbench.backends.hf.tokenizer import load_tokenizer
from benchbench.backends.identity import file_identity, model_identity, read_json
from benchbench.backends.machine import memory
from benchbench.backends.options import ModelOptions
from benchbench.backends.weights import check_weights, safetensors_header
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.core.ids import content_hash


def load_model(options: ModelOptions) -> LoadedModel:
    """Find, check and load the model of `options` for inference.

    Raises ModelError for a model that is missing, broken, untrusted or unsupported; ArgumentError for options that do
    not fit it.
    """
    source = find_model(options.model, options.revision)
    device = choose_device(options.device)
    load = _load_gguf if source.gguf_file else load_composer if source.composer else _load_folder
    loaded = load(source, options, device)
    module: torch.nn.Module = loaded.model
    module.to(device).eval().requires_grad_(False)
    return loaded


def choose_device(wanted: str) -> torch.device:
    """auto is the first GPU, else the CPU. Raises ArgumentError for a device that torch does not have."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ArgumentError(f"--device {wanted!r} is not a device; try auto, cpu, cuda or cuda:1.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArgumentError(f"--device {wanted} is not there: torch sees {torch.cuda.device_count()} CUDA devices.")
    return device


def _load_folder(source: Source, options: ModelOptions, device: torch.device) -> LoadedModel:
    folder = source.folder
    raw = read_config(folder)
    files = check_weights(folder)
    own_code = arch.uses_own_code(raw, folder, trusted=options.trust_remote_code)
    arch.check_config(raw, folder, own_code=own_code)
    notes = [f"{folder.name} brings its own code, which was not run"] if raw.get("auto_map") and not own_code else []
    config = config_object(source, raw, trusted=options.trust_remote_code)
    words = None if options.tokenizer is None else find_tokenizer(options.tokenizer)
    tokenizer = load_tokenizer(words or source, trusted=options.trust_remote_code, config=config)
    dtype, note = arch.choose_dtype(options.dtype, raw, stored_dtype(files), device.type)
    _check_memory(estimate_folder(folder, dtype), source.name, device)
    kind = arch.architecture_of(raw)
    length = set_length(config, raw, tokenizer, options, source.name)
    code = sorted(folder.glob("*.py")) if own_code else []
    with unchanged(files), ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(model_identity, folder, files, code=code)
        model = from_pretrained(source, kind, config=config, dtype=dtype, trusted=own_code)
        identity = hashing.result()
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        architecture=kind,
        max_length=length,
        identity=identity,
        tokenizer_identity=own_tokenizer_identity((words or source).folder, options.trust_remote_code),
        dtype=dtype,
        device=device,
        num_parameters=model.num_parameters(),
        revision=source.revision,
        notes=(*notes, *filter(None, [note])),
        source=source,
        config=raw,
        own_code=own_code,
        trusted=options.trust_remote_code,
        generation=read_json(folder / "generation_config.json"),
        words=words,
    )


def _load_gguf(source: Source, options: ModelOptions, device: torch.device) -> LoadedModel:
    path = source.folder / str(source.gguf_file)
    needed = estimate_gguf(path)
    tokenizer = load_tokenizer(source, trusted=False)
    dtype, note = arch.choose_dtype("float32" if options.dtype == "auto" else options.dtype, {}, None, device.type)
    _check_memory(expanded(needed, dtype), source.name, device)
    config = config_object(source, {}, trusted=False)
    raw = config.to_dict()
    length = set_length(config, raw, tokenizer, options, source.name)
    with unchanged([path]), ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(file_identity, path)
        model = from_pretrained(source, "causal", config=config, dtype=dtype, trusted=False)
        identity = hashing.result()
    backend_tokenizer = getattr(tokenizer, "backend_tokenizer", None)
    words = backend_tokenizer.to_str() if backend_tokenizer is not None else identity
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        architecture="causal",
        max_length=length,
        identity=identity,
        tokenizer_identity=content_hash(["gguf", words, tokenizer.chat_template], digits=64),
        dtype=dtype,
        device=device,
        num_parameters=model.num_parameters(),
        revision=source.revision,
        notes=(f"{path.name} is a GGUF file; its weights were expanded to {dtype}", *filter(None, [note])),
        source=source,
        config=raw,
    )


def _check_memory(needed: MemoryEstimate, name: str, device: torch.device) -> None:
    """Raises ModelError before weights are read that this machine cannot hold."""
    check_fits(needed, memory().free, name=name, place="memory")
    if device.type == "cuda":
        check_fits(needed, torch.cuda.mem_get_info(device)[0], name=name, place=f"the memory of {device}")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder. Raises ModelError where there is none, and says what the folder is instead."""
    path = folder / "config.json"
    if path.is_file():
        raw = read_json(path)
        if isinstance(raw, dict) and (folder / "adapter_config.json").is_file():
            raise ModelError(f"{folder} holds an adapter beside the model; merge it and save the merged model first.")
        if isinstance(raw, dict) and (raw.get("model_type") or raw.get("auto_map")):
            return raw
        raise ModelError(f"{path} names no model_type, so it is not a model's configuration.")
    if (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder} is an adapter, not a model; merge it into its base model and save that first.")
    inner = sorted(p.parent.name for p in folder.glob("*/config.json"))
    hint = f" It holds {', '.join(inner[:3])}: give one of them." if inner else ""
    raise ModelError(f"{folder} has no config.json, so it is not a transformers model.{hint}")


def stored_dtype(files: Sequence[Path]) -> str | None:
    """Type of the first tensor, for configurations that name none."""
    if files[0].suffix != ".safetensors":
        return None
    names = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
    return next((names.get(t.dtype) for t in safetensors_header(files[0]).values()), None)


def config_object(source: Source, raw: dict[str, Any], *, trusted: bool) -> Any:
    """transformers' configuration object."""
    from transformers import AutoConfig

    kwargs = {"gguf_file": source.gguf_file} if source.gguf_file else {}
    with quiet(source):
        if raw.get("model_type") == "mpt" and not (trusted and raw.get("auto_map")):
            return AutoConfig.for_model(**arch.mpt_config(raw))
        return AutoConfig.from_pretrained(source.folder, trust_remote_code=trusted, local_files_only=True, **kwargs)

"""Opens a model with transformers, and refuses what transformers would let pass with a warning.

Everything is checked before memory is spent: configuration, every weight file's header, tokenizer. After loading, a
tensor that is missing, left over or misshapen is an error, because the model would otherwise run with random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from benchbench.backends import ModelOptions
from benchbench.backends.hf import architecture as arch
from benchbench.backends.hf.pretrained import from_pretrained, unchanged
from benchbench.backends.hf.source import Source, find_model, quiet
from benchbench.backends.hf.swap import copy_into, new_tensors
from benchbench.backends.hf.tokenizer import has_own_tokenizer, has_tokenizer, load_tokenizer, prefix_token_id
from benchbench.backends.identity import (
    VOLATILE_CONFIG,
    canonical,
    file_identity,
    model_identity,
    read_json,
    tokenizer_identity,
)
from benchbench.backends.weights import check_weights, safetensors_header
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.core.ids import content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Opened(Protocol):
    """What is known of a model in memory, whichever engine holds it."""

    source: Source
    config: dict[str, Any]
    tokenizer_identity: str
    own_code: bool
    trusted: bool


@dataclass(slots=True)
class LoadedModel:
    """A model ready to compute, and what its answers depend on."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    architecture: Literal["causal", "seq2seq"]
    max_length: int
    """Tokens that the model may see at once."""
    identity: str
    """sha256 of weights, configuration and custom code."""
    tokenizer_identity: str
    dtype: str
    device: torch.device
    num_parameters: int
    revision: str | None
    """Commit of a hub model, None for a local one."""
    notes: tuple[str, ...]
    """What differs from what the user may expect, as sentences without a full stop."""
    source: Source
    config: dict[str, Any] = field(default_factory=dict)
    """config.json as it lies on disk."""
    own_code: bool = False
    """The repository's Python code runs."""
    trusted: bool = False
    """The user gave --trust-remote-code."""

    @property
    def prefix_token_id(self) -> int:
        """The token before an empty context: beginning, else end of sequence, as in lm-eval."""
        return prefix_token_id(self.tokenizer)


def load_model(options: ModelOptions) -> LoadedModel:
    """Find, check and load the model of `options` for inference.

    Raises ModelError for a model that is missing, broken, untrusted or unsupported; ArgumentError for options that do
    not fit it.
    """
    source = find_model(options.model, options.revision)
    device = choose_device(options.device)
    loaded = _load_gguf(source, options, device) if source.gguf_file else _load_folder(source, options, device)
    module: torch.nn.Module = loaded.model
    module.to(device).eval().requires_grad_(False)
    return loaded


def load_weights_into(loaded: LoadedModel, checkpoint: str) -> str:
    """Swap the weights of `checkpoint` into `loaded` in place; returns (and notes in `loaded`) the new identity.

    `checkpoint` is a folder, a hub name, or `org/name@revision`. Its configuration, tokenizer, code and tensors must be
    those of the loaded model: else ModelError is raised, and the loaded weights are as they were.
    """
    source = find_checkpoint(checkpoint)
    if source.gguf_file or loaded.source.gguf_file:
        raise ModelError(f"{source.name}: the weights of a GGUF file cannot be swapped; open it as a model of its own.")
    files = check_weights(source.folder)
    check_same(loaded, source)
    code = sorted(source.folder.glob("*.py")) if loaded.own_code else []
    identity = model_identity(source.folder, files, code=code)
    kind, dtype = loaded.architecture, loaded.dtype
    with unchanged(files):
        tensors = new_tensors(loaded.model, source, files, kind=kind, dtype=dtype, trusted=loaded.own_code)
        loaded.identity = "unknown: a swap of weights was broken off"
        copy_into(loaded.model, tensors)
    loaded.identity, loaded.source, loaded.revision = identity, source, source.revision
    return identity


def find_checkpoint(checkpoint: str) -> Source:
    """A folder, a hub name, or `org/name@revision`. Raises ModelError where there is none."""
    if "@" in checkpoint and not Path(checkpoint).exists():
        name, _, revision = checkpoint.rpartition("@")
        return find_model(name, revision)
    return find_model(checkpoint)


def check_same(loaded: Opened, source: Source) -> None:
    """Raises ModelError where `source` differs from the loaded model in anything but its weights."""
    of_its_own = "open it as a model of its own."
    new, old = source.folder, loaded.source.folder
    configs = [(loaded.config, read_config(new))]
    configs.append((read_json(old / "generation_config.json"), read_json(new / "generation_config.json")))
    for pair in configs:
        before, after = (canonical(one, VOLATILE_CONFIG) for one in pair)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                raise ModelError(
                    f"{new} is another model than {old}: its {key} is {after.get(key)!r}, not {before.get(key)!r}; "
                    + of_its_own
                )
    if has_tokenizer(new) and identity_of_tokenizer(new, loaded.trusted) != loaded.tokenizer_identity:
        raise ModelError(f"{new} has another tokenizer than {old}; {of_its_own}")
    if loaded.own_code and _code(new) != _code(old):
        raise ModelError(f"{new} has other Python code than {old}; {of_its_own}")


def _code(folder: Path) -> list[tuple[str, str]]:
    return sorted((path.name, file_identity(path)) for path in folder.glob("*.py"))


def identity_of_tokenizer(folder: Path, trusted: bool) -> str:
    """sha256 of the tokenizer in `folder`, with its own code if that runs."""
    own_code = trusted and has_own_tokenizer(folder)
    return tokenizer_identity(folder, code=folder.glob("*.py") if own_code else [])


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
    tokenizer = load_tokenizer(source, trusted=options.trust_remote_code, config=config)
    dtype, note = arch.choose_dtype(options.dtype, raw, stored_dtype(files), device.type)
    kind = arch.architecture_of(raw)
    length = _set_length(config, raw, tokenizer, options, source.name)
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
        tokenizer_identity=identity_of_tokenizer(folder, options.trust_remote_code),
        dtype=dtype,
        device=device,
        num_parameters=model.num_parameters(),
        revision=source.revision,
        notes=(*notes, *filter(None, [note])),
        source=source,
        config=raw,
        own_code=own_code,
        trusted=options.trust_remote_code,
    )


def _load_gguf(source: Source, options: ModelOptions, device: torch.device) -> LoadedModel:
    path = source.folder / str(source.gguf_file)
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ModelError(f"{path} is not a GGUF file: it does not begin with the letters GGUF.")
    tokenizer = load_tokenizer(source, trusted=False)
    dtype, note = arch.choose_dtype("float32" if options.dtype == "auto" else options.dtype, {}, None, device.type)
    config = config_object(source, {}, trusted=False)
    raw = config.to_dict()
    length = _set_length(config, raw, tokenizer, options, source.name)
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


def _set_length(config: Any, raw: dict[str, Any], tokenizer: Any, options: ModelOptions, name: str) -> int:
    """The model's length in tokens, also put into `config` where it was asked for and is more than the model's own."""
    own = arch.own_length(config, tokenizer)
    length = arch.choose_length(options.max_length, own, raw, name)
    if own is not None and length > own:
        for key in arch.LENGTH_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, length)
    return length

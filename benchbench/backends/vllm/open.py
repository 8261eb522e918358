"""Opens a model with vLLM: the same checks and the same identities as with transformers, then the engine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.hf import architecture as arch
from benchbench.backends.hf.load import config_object, read_config, stored_dtype
from benchbench.backends.hf.loaded import own_tokenizer_identity
from benchbench.backends.hf.pretrained import unchanged
from benchbench.backends.hf.source import Source, find_model, find_tokenizer
from benchbench.backends.hf.tokenizer import load_tokenizer
from benchbench.backends.identity import model_identity, read_json
from benchbench.backends.options import ModelOptions
from benchbench.backends.vllm.engine import Engine
from benchbench.backends.vllm.mpt_config import check_mpt, make_view
from benchbench.backends.vllm.plugin import register
from benchbench.backends.vllm.settings import TESTED, Settings, read_settings
from benchbench.backends.vllm.start import start_engine, start_vllm, vllm_version
from benchbench.backends.weights import check_weights, safetensors_header
from benchbench.core.errors import BackendError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(slots=True)
class OpenedModel:
    """A model that vLLM holds, and what its answers depend on. The fields are those of `hf.loaded.LoadedModel`."""

    engine: Engine
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    """Tokens that the model may see at once."""
    identity: str
    tokenizer_identity: str
    dtype: str
    device: str
    vocab_size: int
    num_parameters: int | None
    revision: str | None
    notes: tuple[str, ...]
    source: Source
    config: dict[str, Any]
    generation: dict[str, Any]
    eos: frozenset[int]
    tensors: dict[str, tuple[int, ...]]
    """Shape of each tensor in the checkpoint."""
    settings: Settings
    trusts_cache: bool
    """This version of vLLM is one whose prefix cache was tested."""
    own_code: bool = False
    trusted: bool = False
    words: Source | None = None
    """Where the tokenizer is from, if not from beside the weights."""
    architecture: str = "causal"
    view: Any = field(default=None, repr=False)
    """Temporary folder that the engine reads instead of the model's own, or None."""


def open_model(options: ModelOptions) -> OpenedModel:
    """Find, check and open the model of `options`.

    Raises BackendError where vLLM is missing or cannot run this model, ModelError for a model that is missing or
    broken, ArgumentError for options that do not fit.
    """
    settings = read_settings(options)
    source = find_model(options.model, options.revision)
    device = start_vllm(options, settings)
    return _open(source, options, settings, device)


def _open(source: Source, options: ModelOptions, settings: Settings, device: str) -> OpenedModel:
    if source.gguf_file:
        raise BackendError(f"{source.name} is a GGUF file, which vLLM does not run well; --backend gguf does.")
    if source.composer:
        raise BackendError(f"{source.name} is a Composer checkpoint, which vLLM does not read; --backend hf does.")
    folder, trusted = source.folder, options.trust_remote_code
    words = None if options.tokenizer is None else find_tokenizer(options.tokenizer)
    raw = read_config(folder)
    files = check_weights(folder)
    own_code = arch.uses_own_code(raw, folder, trusted=trusted) and raw.get("model_type") != "mpt"
    _check_architecture(raw, source, own_code=own_code)
    config = config_object(source, raw if raw.get("model_type") != "mpt" else _plain_mpt(raw), trusted=own_code)
    tokenizer = load_tokenizer(words or source, trusted=trusted, config=config)
    dtype, note = arch.choose_dtype(options.dtype, raw, stored_dtype(files), device)
    length = arch.choose_length(options.max_length, arch.own_length(config, tokenizer), raw, source.name)
    code = sorted(folder.glob("*.py")) if own_code else []
    view = tempfile.TemporaryDirectory(prefix="benchbench-mpt-") if raw.get("model_type") == "mpt" else None
    place = make_view(raw, folder, Path(view.name)) if view else folder
    with unchanged(files), ThreadPoolExecutor(1) as pool:
        hashing = pool.submit(model_identity, folder, files, code=code)
        engine = start_engine(place, options, settings, config, (device, dtype, length), own_code=own_code)
        identity = hashing.result()
    version = vllm_version()
    trusts_cache = version.startswith(TESTED)
    unknown = (
        f"vLLM {version} is newer or older than those tested ({', '.join(v + 'x' for v in TESTED)}): scoring does "
    )
    tensors = tensor_shapes(files)
    return OpenedModel(
        engine=engine,
        tokenizer=tokenizer,
        max_length=length,
        identity=identity,
        tokenizer_identity=own_tokenizer_identity((words or source).folder, trusted),
        dtype=dtype,
        device=device,
        vocab_size=int(config.get_text_config().vocab_size),
        num_parameters=sum(map(prod, tensors.values())) or None,
        revision=source.revision,
        notes=tuple(filter(None, [note, None if trusts_cache else unknown + "not read its prefix cache"])),
        source=source,
        config=raw,
        generation=read_json(folder / "generation_config.json"),
        eos=_eos(folder, config, tokenizer),
        tensors=tensors,
        settings=settings,
        trusts_cache=trusts_cache,
        own_code=own_code,
        trusted=trusted,
        words=words,
        view=view,
    )


def _plain_mpt(raw: Mapping[str, Any]) -> dict[str, Any]:
    """For transformers' MptConfig, which knows no grouped heads. Only lengths and sizes are read from it."""
    attention = {**(raw.get("attn_config") or {}), "attn_type": "multihead_attention"}
    return {**raw, "attn_config": attention}


def _check_architecture(raw: Mapping[str, Any], source: Source, *, own_code: bool) -> None:
    from vllm import ModelRegistry

    register()
    if raw.get("model_type") == "mpt":
        check_mpt(raw, source.name)
        return
    arch.check_config(raw, source.folder, own_code=own_code)
    names = [str(name) for name in raw.get("architectures") or ()]
    known = ModelRegistry.get_supported_archs()
    if arch.architecture_of(raw) == "seq2seq" or (names and not any(name in known for name in names)):
        what = names[0] if names else raw.get("model_type")
        raise BackendError(f"{source.name} is a {what}, which vLLM {vllm_version()} cannot run; --backend hf can.")


def tensor_shapes(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """Tensor name → shape of safetensors files; empty for others."""
    if any(path.suffix != ".safetensors" for path in files):
        return {}
    return {name: info.shape for path in files for name, info in safetensors_header(path).items()}


def _eos(folder: Path, config: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends a text: the generation config's, else the configuration's, and the tokenizer's."""
    named = read_json(folder / "generation_config.json").get("eos_token_id", getattr(config, "eos_token_id", None))
    ids = set(named if isinstance(named, (list, tuple)) else [] if named is None else [named])
    if tokenizer.eos_token_id is not None:
        ids.add(tokenizer.eos_token_id)
    if not all(isinstance(token, int) for token in ids):
        raise ModelError(f"{folder}: eos_token_id is {named!r}, expected a number or a list of numbers.")
    return frozenset(ids)

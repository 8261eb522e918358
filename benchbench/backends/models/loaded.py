"""A model in memory, with everything that its answers depend on: made by transformers, filled anew, saved."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.config import (
    LENGTH_KEYS,
    Architecture,
    auto_class,
    choose_length,
    own_length,
    read_config,
)
from benchbench.backends.models.constants import Stored, check_ignored, stored_in
from benchbench.backends.models.files import (
    ModelSource,
    TensorInfo,
    and_more,
    check_weights,
    quiet,
    read_object,
    safetensors_header,
)
from benchbench.backends.models.identity import VOLATILE_CONFIG, canonical, file_identity, model_identity
from benchbench.backends.models.tokenizer import has_tokenizer, own_tokenizer_identity, prefix_token
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from benchbench.backends.models.adapter import Adapter


OPEN_ANEW = "open it as a model of its own."
"""The end of every sentence that refuses to swap weights."""


@dataclass(slots=True, kw_only=True)
class OpenedModel:
    """What is known of a model in memory, whichever engine holds it."""

    tokenizer: PreTrainedTokenizerBase
    architecture: Architecture
    max_length: int
    """Tokens that the model may see at once."""
    identity: str
    """sha256 of weights, configuration and custom code."""
    tokenizer_identity: str
    dtype: str
    num_parameters: int | None
    """None where the files do not tell."""
    revision: str | None
    """Commit of a hub model, None for a local one."""
    notes: tuple[str, ...]
    """What differs from what the user may expect, as sentences without a full stop."""
    source: ModelSource
    config: dict[str, Json]
    """config.json as it lies on disk."""
    generation: dict[str, Json]
    """generation_config.json as it lies on disk, {} if there is none."""
    own_code: bool = False
    """The repository's Python code runs."""
    trusted: bool = False
    """The user gave --trust-remote-code."""
    tokenizer_source: ModelSource | None = None
    """Where the tokenizer is from, if not from beside the weights."""
    given_prefix: int | None = None
    """The token before an empty context that the user gave."""

    @property
    def prefix_token_id(self) -> int:
        """The token before an empty context: the one given, else beginning, else end of sequence, as in lm-eval."""
        return prefix_token(self.tokenizer) if self.given_prefix is None else self.given_prefix


@dataclass(slots=True, kw_only=True)
class LoadedModel(OpenedModel):
    """A model of transformers in this process's memory."""

    model: PreTrainedModel
    device: torch.device
    """Where its inputs go."""
    adapter: Adapter | None = None
    """What stands on a base model."""
    is_placed: bool = False
    """Its layers lie where they stay: on several devices, or quantised."""
    fixed: str | None = None
    """Why its weights cannot be swapped, as a clause; None if they can."""


def set_length(
    config: PretrainedConfig,
    raw: Mapping[str, Json],
    tokenizer: PreTrainedTokenizerBase,
    options: ModelOptions,
    name: str,
) -> int:
    """The model's length in tokens, also put into `config` where it was asked for and is more than the model's own."""
    own = own_length(config, tokenizer)
    length = choose_length(options.max_length, own, raw, name)
    if own is not None and length > own:
        for key in LENGTH_KEYS:
            if getattr(config, key, None) is not None:
                setattr(config, key, length)
    return length


def check_same(
    opened: OpenedModel, source: ModelSource, config: dict[str, Json], generation: dict[str, Json] | None
) -> None:
    """Raises ModelError where `source` differs from the opened model in anything but its weights.

    Without `generation` that configuration is made from `config`, so it need not be compared.
    """
    new, old = source.name, opened.source.name
    pairs = [(opened.config, config)] + ([] if generation is None else [(opened.generation, generation)])
    for pair in pairs:
        before, after = (canonical(one, VOLATILE_CONFIG) for one in pair)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                raise ModelError(
                    f"{new} is another model than {old}: its {key} is {after.get(key)!r}, not {before.get(key)!r}; "
                    + OPEN_ANEW
                )
    brings_tokenizer = opened.tokenizer_source is None and has_tokenizer(source.folder)
    if brings_tokenizer and own_tokenizer_identity(source.folder, opened.trusted) != opened.tokenizer_identity:
        raise ModelError(f"{new} has another tokenizer than {old}; {OPEN_ANEW}")
    if opened.own_code and _code(source.folder) != _code(opened.source.folder):
        raise ModelError(f"{new} has other Python code than {old}; {OPEN_ANEW}")


def check_swap(opened: OpenedModel, source: ModelSource) -> tuple[tuple[Path, ...], str]:
    """The weight files in the folder `source`, and what the model with them is. ModelError unless `check_same`."""
    folder = source.folder
    files = check_weights(folder)
    check_same(opened, source, read_config(folder), read_object(folder / "generation_config.json"))
    code = sorted(folder.glob("*.py")) if opened.own_code else []
    return files, model_identity(folder, files, code=code)


def _code(folder: Path) -> list[tuple[str, str]]:
    return sorted((path.name, file_identity(path)) for path in folder.glob("*.py"))


def loads_directly(device: torch.device) -> bool:
    """Whether a model's tensors go from their files to `device` one by one: transformers needs accelerate for that."""
    return device.type != "cpu" and util.find_spec("accelerate") is not None


def from_pretrained(
    source: ModelSource,
    kind: Architecture,
    *,
    config: PretrainedConfig,
    dtype: str,
    trusted: bool,
    device: torch.device | None = None,
    placement: Mapping[str, Any] | None = None,
) -> PreTrainedModel:
    """transformers' model, on `device` where it `loads_directly`, else on the CPU; `placement`, more arguments of
    `from_pretrained`, may say otherwise.

    Raises ModelError unless every tensor was found, fitted and used.
    """
    import torch

    kwargs: dict[str, Any] = dict(placement or {})
    silence: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if source.gguf_file:
        from transformers import GgufConfig

        silence = contextlib.redirect_stderr(io.StringIO())  # its progress bar cannot be switched off
        gguf = GgufConfig(gguf_file=source.gguf_file, dequantize=True)
        kwargs |= {"gguf_file": source.gguf_file, "quantization_config": gguf}
    elif not kwargs and device is not None and loads_directly(device):
        kwargs = {"device_map": {"": device}}
    quantised = getattr(config, "quantization_config", None) is not None  # taken away where it is expanded
    with quiet(source), silence:
        loaded = auto_class(kind, config).from_pretrained(
            source.folder,
            config=config,
            dtype=getattr(torch, dtype),
            trust_remote_code=trusted,
            local_files_only=True,
            weights_only=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **kwargs,
        )
    model = _checked(loaded, source.name, stored_in(source))
    if quantised:
        _in_one_type(model, getattr(torch, dtype))
    return model


def _in_one_type(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Tensors that a quantised checkpoint holds in half precision are computed with in `dtype`, as the others are.

    transformers leaves them as they are stored, and torch multiplies no two types.
    """
    import torch

    for parameter in model.parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.to(dtype)


def from_tensors(
    source: ModelSource,
    *,
    config: PretrainedConfig,
    tensors: Mapping[str, torch.Tensor],
    dtype: str,
    made: type[PreTrainedModel] | None = None,
) -> PreTrainedModel:
    """A model of `config` on the CPU, filled from `tensors`: of the class `made`, by default transformers' causal one.
    ModelError unless they fit exactly.
    """
    import torch

    with quiet(source):
        loader: Any = causal_class(config) if made is None else made
        loaded = loader.from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            dtype=getattr(torch, dtype),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    return _checked(loaded, source.name, tensors.get)


def causal_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """transformers' own causal model for this kind of configuration."""
    return cast("type[PreTrainedModel]", auto_class("causal", config)._model_mapping[type(config)])


def _checked(loaded: tuple[PreTrainedModel, Mapping[str, Any]], name: str, stored: Stored) -> PreTrainedModel:
    """The model that transformers has loaded, whose report says that no tensor was missing, left over or misshapen."""
    model, info = loaded
    misshapen = sorted(info["mismatched_keys"])
    if misshapen:
        tensor, found, expected = misshapen[0]
        raise ModelError(
            f"{name}: {tensor} has shape {list(found)}, config.json asks for {list(expected)}"
            f"{and_more(misshapen)}. Weights and config.json do not belong together."
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{name} lacks {missing[0]}{and_more(missing)}: the weights are incomplete, or config.json is "
            "another model's."
        )
    check_ignored(model, info["unexpected_keys"], stored, name)
    return model


def check_prefix(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, given: int | None = None
) -> None:
    """ModelError where the token that stands before an empty context is none that the model has read.

    `given`: the one that the user named, of which the sentence is an ArgumentError.
    """
    table: Any = model.get_input_embeddings()
    rows, prefix = int(table.weight.shape[0]), prefix_token(tokenizer) if given is None else given
    if given is not None and not 0 <= prefix < rows:
        raise ArgumentError(f"--model-args prefix_token_id={given}: {name} knows {rows:,} tokens, from 0 on.")
    if not 0 <= prefix < rows:
        raise ModelError(
            f"the tokenizer of {name} begins a text with token {prefix:,}, but the model knows {rows:,} tokens. "
            "Tokenizer and weights do not belong together."
        )


def saved_tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The tensors that would be written: those tied to another are left out."""
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    state: Mapping[str, torch.Tensor] = model.state_dict()
    places = {name: tensor.data_ptr() for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in state.items()
        if not (name in tied and places.get(tied[name]) == places[name] and tensor.numel())
    }


def saved_config(config: PretrainedConfig, model_class: type[PreTrainedModel]) -> dict[str, Json]:
    """What config.json would hold."""
    value: dict[str, Json] = json.loads(config.to_json_string(use_diff=True))
    return {**value, "architectures": [model_class.__name__]}


def saved_generation(model: PreTrainedModel) -> dict[str, Json]:
    """What generation_config.json would hold; {} where none would be written."""
    config = getattr(model, "generation_config", None)
    if config is None or not model.can_generate():
        return {}
    value: dict[str, Json] = json.loads(config.to_json_string(use_diff=True))
    return value


def new_tensors(
    model: PreTrainedModel, source: ModelSource, files: Sequence[Path], *, kind: Architecture, dtype: str, trusted: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of `files` under `model`'s own names. Raises ModelError at once unless they fill the whole model.

    Files that carry the model's names are read one tensor at a time, as the iterator goes; others (old names, pickles)
    are read by transformers into a second model first.
    """
    if _streams_into(model.state_dict(keep_vars=True), files):
        return _streamed(files)
    other = from_pretrained(source, kind, config=model.config, dtype=dtype, trusted=trusted)
    return iter(other.state_dict().items())


def copy_into(model: torch.nn.Module, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Overwrite `model`'s tensors, which keep their memory, type and device."""
    import torch

    target = model.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, tensor in tensors:
            target[name].copy_(tensor)


def _streamed(files: Sequence[Path]) -> Iterator[tuple[str, torch.Tensor]]:
    from safetensors import safe_open

    for path in files:
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield name, file.get_tensor(name)


def _streams_into(target: Mapping[str, torch.Tensor], files: Sequence[Path]) -> bool:
    """Whether the files hold the model's tensors under its own names. ModelError where a shape does not fit."""
    if any(path.suffix != ".safetensors" for path in files):
        return False
    found: dict[str, TensorInfo] = {}
    for path in files:
        found.update(safetensors_header(path))
    return fills(target, {name: info.shape for name, info in found.items()}, files[0].parent)


def fills(target: Mapping[str, torch.Tensor], found: Mapping[str, Sequence[int]], place: object) -> bool:
    """Whether tensors of these names and shapes are the whole model. ModelError where a shape does not fit."""
    if not found.keys() <= target.keys():
        return False
    for name, shape in found.items():
        if tuple(shape) != tuple(target[name].shape):
            raise ModelError(
                f"{place}: {name} has shape {list(shape)}, the loaded model's is {list(target[name].shape)}; "
                "open it as a model of its own."
            )
    filled = {target[name].data_ptr() for name in found}
    return all(tensor.data_ptr() in filled for tensor in target.values())

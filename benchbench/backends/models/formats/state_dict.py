"""What formats share whose tensors we read ourselves: from a training's state to a transformers model in memory.

Without a converted copy on disk: transformers' own class is filled from the tensors.
"""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.config import check_config, choose_dtype, kind_of, made_config, mpt_config
from benchbench.backends.models.files import ModelSource, quiet, read_object, unchanged
from benchbench.backends.models.find import find_tokenizer
from benchbench.backends.models.formats import CheckpointFormat
from benchbench.backends.models.identity import BROKEN_OFF, identity_from, tensors_identity
from benchbench.backends.models.loaded import (
    LoadedModel,
    causal_class,
    check_same,
    copy_into,
    fills,
    from_tensors,
    saved_config,
    saved_generation,
    set_length,
)
from benchbench.backends.models.options import transformers_options
from benchbench.backends.models.shape import check_implementations, check_numbers, check_size
from benchbench.backends.models.tokenizer import load_tokenizer, own_tokenizer_identity
from benchbench.core.errors import ModelError
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""What training puts around modules, and so into tensor names."""


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The part of a checkpoint that makes a model."""

    tensors: Mapping[str, torch.Tensor]
    """Under transformers' names, or those of the training; mapped from the file, or without memory: not read yet."""
    config: Mapping[str, Json] | None
    """The model's configuration, where the checkpoint holds it; else it lies beside the tokenizer."""


class StateDictFormat(CheckpointFormat):
    """A format of causal models that transformers does not read. A new one says how its tensors are read."""

    beside = "the tokenizer that it was trained with"
    """What the user has to name, for sentences."""

    @abstractmethod
    def read_state(self, path: Path) -> TrainingState:
        """Tensors and configuration. Raises ModelError for a checkpoint that is broken, foreign or asks for code."""

    def named(self, path: Path, state: TrainingState, model: PreTrainedModel) -> Mapping[str, torch.Tensor]:
        """The tensors of `state` under the names of `model`, which has its configuration and may have no memory.

        Needed where the names do not say by themselves which tensors make the model. ModelError for what does not fit.
        """
        return state.tensors

    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """See `CheckpointFormat`."""
        if options.tokenizer is None:
            raise ModelError(f"{source.name} is {self.title}; name {self.beside}: --tokenizer FOLDER.")
        tokenizer_source = find_tokenizer(options.tokenizer)
        with unchanged(files_of(source)):
            state = self.read_state(source.path)
            raw = _raw_config(source, state, tokenizer_source)
            shapes = {name: tuple(tensor.shape) for name, tensor in state.tensors.items()}
            check_numbers(raw, shapes, source.name)
            check_implementations(raw, source.name)
            config = _config_object(source, raw)
            tensors = self._untied(source.path, state, check_size(source, config, shapes, "causal"))
            saved = saved_config(config, causal_class(config))
            own = transformers_options(options)
            tokenizer = load_tokenizer(
                tokenizer_source,
                trusted=options.trust_remote_code,
                config=config,  # the one beside it may be llm-foundry's, which transformers' class does not take
                add_bos_token=own.add_bos_token,
                prefix_token_id=own.prefix_token_id,
            )
            stored = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
            dtype, note = choose_dtype(options.dtype, {}, stored, device.type)
            length = set_length(config, raw, tokenizer, options, source.name)
            model = from_tensors(source, config=config, tensors=tensors, dtype=dtype)
            weights = tensors_identity(tensors)
        generation = saved_generation(model)
        return LoadedModel(
            model=model,
            tokenizer=tokenizer,
            architecture="causal",
            max_length=length,
            identity=identity_from(weights, saved, generation),
            tokenizer_identity=own_tokenizer_identity(tokenizer_source.folder, options.trust_remote_code),
            dtype=dtype,
            device=device,
            num_parameters=model.num_parameters(),
            revision=None,
            notes=tuple(filter(None, [note])),
            source=source,
            config=saved,
            generation=generation,
            tokenizer_source=tokenizer_source,
        )

    def swap(self, loaded: LoadedModel, source: ModelSource) -> str:
        """See `CheckpointFormat`."""
        if loaded.tokenizer_source is None:
            raise ModelError(f"{source.name} needs a --tokenizer, and the loaded model has brought its own.")
        with unchanged(files_of(source)):
            state = self.read_state(source.path)
            config = _config_object(source, _raw_config(source, state, loaded.tokenizer_source))
            check_same(loaded, source, saved_config(config, causal_class(config)), None)
            tensors = self._untied(source.path, state, loaded.model)
            shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
            if not fills(loaded.model.state_dict(keep_vars=True), shapes, source.name):
                raise ModelError(
                    f"{source.name} has other tensors than the loaded model; open it as a model of its own."
                )
            weights = tensors_identity(tensors)
            loaded.identity = BROKEN_OFF
            copy_into(loaded.model, tensors.items())
        return identity_from(weights, loaded.config, loaded.generation)

    def _untied(self, path: Path, state: TrainingState, model: PreTrainedModel) -> dict[str, torch.Tensor]:
        """What `save_pretrained` would write: without a tensor that is the copy of one it is tied to."""
        import torch

        tensors = self.named(path, state, model)
        tied: Mapping[str, str] = getattr(model, "all_tied_weights_keys", None) or {}

        def is_copy(name: str) -> bool:
            other = tensors.get(tied.get(name, ""))
            return other is not None and torch.equal(tensors[name], other)

        return {name: tensor for name, tensor in tensors.items() if not is_copy(name)}


def without_wrappers(name: str) -> str:
    """A tensor's name without what training has put into it."""
    return functools.reduce(lambda text, wrapper: text.replace(wrapper, ""), WRAPPERS, name)


def known_config(raw: Mapping[str, Json], config_class: Any) -> dict[str, Json]:
    """`raw` without the options that transformers' class does not know. What they say was checked before."""
    known = {*inspect.signature(config_class.__init__).parameters, *getattr(config_class, "__annotations__", {})}
    config = {key: value for key, value in raw.items() if key in known or key == "model_type"}
    inner = getattr(config_class, "sub_configs", {}).get("attn_config")
    attention = config.get("attn_config")
    if inner is not None and isinstance(attention, Mapping):
        names = {*inspect.signature(inner.__init__).parameters, *getattr(inner, "__annotations__", {})}
        config["attn_config"] = {key: value for key, value in attention.items() if key in names}
    return config


def _raw_config(source: ModelSource, state: TrainingState, tokenizer_source: ModelSource) -> dict[str, Json]:
    """The configuration that the checkpoint holds, else the one beside the tokenizer; checked."""
    raw = dict(state.config or read_object(tokenizer_source.folder / "config.json"))
    if kind_of(raw.get("model_type")) != "causal":
        raise ModelError(
            f"{source.name} holds no configuration of a causal language model; put the model's config.json into the "
            f"folder of the tokenizer, {tokenizer_source.folder}."
        )
    check_config(raw, source.path, own_code=False)
    return raw


def _config_object(source: ModelSource, raw: dict[str, Json]) -> PretrainedConfig:
    """transformers' configuration object, without what only other code knows."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = str(raw["model_type"])
    known = known_config(raw, CONFIG_MAPPING[kind])
    with quiet(source):
        return made_config(mpt_config(known) if kind == "mpt" else known)


def files_of(source: ModelSource) -> list[Path]:
    """The files that such a checkpoint is read from; none of one that is in memory."""
    path = source.path
    return sorted(path.iterdir()) if path.is_dir() else [path]

"""From a Composer checkpoint to a transformers model in memory, without a converted copy on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.hf import architecture as arch
from benchbench.backends.hf.composer import ComposerState, known_config, read_state
from benchbench.backends.hf.live import saved_config, saved_generation
from benchbench.backends.hf.loaded import LoadedModel, own_tokenizer_identity, set_length
from benchbench.backends.hf.pretrained import causal_class, from_tensors, unchanged
from benchbench.backends.hf.source import Source, find_tokenizer, quiet
from benchbench.backends.hf.tokenizer import load_tokenizer
from benchbench.backends.identity import identity_from, read_json, tensors_identity
from benchbench.backends.options import ModelOptions
from benchbench.core.errors import ModelError


def load_composer(source: Source, options: ModelOptions, device: torch.device) -> LoadedModel:
    """The model of a Composer checkpoint, on the CPU. ModelError where anything of it is missing or does not fit."""
    if options.tokenizer is None:
        raise ModelError(
            f"{source.name} is a Composer checkpoint; name the tokenizer that it was trained with: --tokenizer FOLDER."
        )
    words = find_tokenizer(options.tokenizer)
    with unchanged(files_of(source)):
        state = read_state(Path(source.name))
        raw = _raw_config(source, state, words)
        config = _config(source, raw)
        saved = saved_config(config, causal_class(config))
        tokenizer = load_tokenizer(words, trusted=options.trust_remote_code)
        stored = str(next(iter(state.tensors.values())).dtype).removeprefix("torch.")
        dtype, note = arch.choose_dtype(options.dtype, {}, stored, device.type)
        length = set_length(config, raw, tokenizer, options, source.name)
        model = from_tensors(source, config=config, tensors=state.tensors, dtype=dtype)
        weights = tensors_identity(state.tensors)
    generation = saved_generation(model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        architecture="causal",
        max_length=length,
        identity=identity_from(weights, saved, generation),
        tokenizer_identity=own_tokenizer_identity(words.folder, options.trust_remote_code),
        dtype=dtype,
        device=device,
        num_parameters=model.num_parameters(),
        revision=None,
        notes=tuple(filter(None, [note])),
        source=source,
        config=saved,
        generation=generation,
        words=words,
    )


@dataclass(frozen=True, slots=True)
class ComposerWeights:
    """The tensors of a checkpoint and the configuration that transformers would save with them."""

    tensors: Mapping[str, torch.Tensor]
    config: dict[str, Any]


def read_weights(source: Source, words: Source) -> ComposerWeights:
    """What a model that is already in memory needs; `words` is where its tokenizer is from."""
    state = read_state(Path(source.name))
    config = _config(source, _raw_config(source, state, words))
    return ComposerWeights(state.tensors, saved_config(config, causal_class(config)))


def _raw_config(source: Source, state: ComposerState, words: Source) -> dict[str, Any]:
    """The configuration that the checkpoint holds, else the one beside the tokenizer; checked."""
    raw = dict(state.config or read_json(words.folder / "config.json"))
    if arch.kind_of(raw.get("model_type")) != "causal":
        raise ModelError(
            f"{source.name} holds no configuration of a causal language model; put the model's config.json into the "
            f"folder of the tokenizer, {words.folder}."
        )
    arch.check_config(raw, Path(source.name), own_code=False)
    return raw


def _config(source: Source, raw: dict[str, Any]) -> Any:
    """transformers' configuration object, without what only other code knows."""
    from transformers import AutoConfig
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    known = known_config(raw, CONFIG_MAPPING[raw["model_type"]])
    with quiet(source):
        return AutoConfig.for_model(**(arch.mpt_config(known) if raw["model_type"] == "mpt" else known))


def files_of(source: Source) -> list[Path]:
    """The files that a Composer checkpoint is read from."""
    path = Path(source.name)
    return [path] if path.is_file() else sorted(path.iterdir())

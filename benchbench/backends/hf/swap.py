"""Puts another checkpoint's tensors into a model that is already in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.hf.architecture import Architecture
from benchbench.backends.hf.load import read_config
from benchbench.backends.hf.load_composer import files_of, read_weights
from benchbench.backends.hf.loaded import LoadedModel, Opened, own_tokenizer_identity
from benchbench.backends.hf.pretrained import from_pretrained, unchanged
from benchbench.backends.hf.source import Source, find_model, split_revision
from benchbench.backends.hf.tokenizer import has_tokenizer
from benchbench.backends.identity import (
    VOLATILE_CONFIG,
    canonical,
    file_identity,
    identity_from,
    model_identity,
    read_json,
    tensors_identity,
)
from benchbench.backends.weights import TensorInfo, check_weights, safetensors_header
from benchbench.core.errors import ModelError

BROKEN_OFF = "unknown: a swap of weights was broken off"


def load_weights_into(loaded: LoadedModel, checkpoint: str) -> str:
    """Swap the weights of `checkpoint` into `loaded` in place; returns (and notes in `loaded`) the new identity.

    `checkpoint` is a folder, a `.pt` file, a hub name, or `org/name@revision`. Its configuration, tokenizer, code and
    tensors must be those of the loaded model: else ModelError is raised, and the loaded weights are as they were.
    """
    source = find_model(*split_revision(checkpoint))
    if source.gguf_file or loaded.source.gguf_file:
        raise ModelError(f"{source.name}: the weights of a GGUF file cannot be swapped; open it as a model of its own.")
    swap = _swap_composer if source.composer else _swap_folder
    identity = swap(loaded, source)
    loaded.identity, loaded.source, loaded.revision = identity, source, source.revision
    return identity


def _swap_folder(loaded: LoadedModel, source: Source) -> str:
    files = check_weights(source.folder)
    config, generation = read_config(source.folder), read_json(source.folder / "generation_config.json")
    check_same(loaded, source, config, generation)
    code = sorted(source.folder.glob("*.py")) if loaded.own_code else []
    identity = model_identity(source.folder, files, code=code)
    kind, dtype = loaded.architecture, loaded.dtype
    with unchanged(files):
        tensors = new_tensors(loaded.model, source, files, kind=kind, dtype=dtype, trusted=loaded.own_code)
        loaded.identity = BROKEN_OFF
        copy_into(loaded.model, tensors)
    return identity


def _swap_composer(loaded: LoadedModel, source: Source) -> str:
    if loaded.words is None:
        raise ModelError(f"{source.name} needs a --tokenizer, and the loaded model has brought its own.")
    with unchanged(files_of(source)):
        new = read_weights(source, loaded.words)
        check_same(loaded, source, new.config, None)
        shapes = {name: tuple(tensor.shape) for name, tensor in new.tensors.items()}
        if not _fills(loaded.model.state_dict(keep_vars=True), shapes, source.name):
            raise ModelError(f"{source.name} has other tensors than the loaded model; open it as a model of its own.")
        weights = tensors_identity(new.tensors)
        loaded.identity = BROKEN_OFF
        copy_into(loaded.model, new.tensors.items())
    return identity_from(weights, loaded.config, loaded.generation)


def check_same(loaded: Opened, source: Source, config: dict[str, Any], generation: Any) -> None:
    """Raises ModelError where `source` differs from the loaded model in anything but its weights.

    Without `generation` that configuration is made from `config`, so it need not be compared.
    """
    of_its_own = "open it as a model of its own."
    new, old = source.name, loaded.source.name
    pairs = [(loaded.config, config)] + ([] if generation is None else [(loaded.generation, generation)])
    for pair in pairs:
        before, after = (canonical(one, VOLATILE_CONFIG) for one in pair)
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                raise ModelError(
                    f"{new} is another model than {old}: its {key} is {after.get(key)!r}, not {before.get(key)!r}; "
                    + of_its_own
                )
    own_words = loaded.words is None and has_tokenizer(source.folder)
    if own_words and own_tokenizer_identity(source.folder, loaded.trusted) != loaded.tokenizer_identity:
        raise ModelError(f"{new} has another tokenizer than {old}; {of_its_own}")
    if loaded.own_code and _code(source.folder) != _code(loaded.source.folder):
        raise ModelError(f"{new} has other Python code than {old}; {of_its_own}")


def _code(folder: Path) -> list[tuple[str, str]]:
    return sorted((path.name, file_identity(path)) for path in folder.glob("*.py"))


def new_tensors(
    model: Any, source: Source, files: Sequence[Path], *, kind: Architecture, dtype: str, trusted: bool
) -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of `files` under `model`'s own names. Raises ModelError at once unless they fill the whole model.

    Files that carry the model's names are read one tensor at a time, as the iterator goes; others (old names, pickles)
    are read by transformers into a second model first.
    """
    if _streams_into(model.state_dict(keep_vars=True), files):
        return _streamed(files)
    other = from_pretrained(source, kind, config=model.config, dtype=dtype, trusted=trusted)
    return iter(other.state_dict().items())


@torch.no_grad()
def copy_into(model: Any, tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Overwrite `model`'s tensors, which keep their memory, type and device."""
    target = model.state_dict(keep_vars=True)
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
    return _fills(target, {name: info.shape for name, info in found.items()}, files[0].parent)


def _fills(target: Mapping[str, torch.Tensor], found: Mapping[str, Sequence[int]], place: object) -> bool:
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

"""Puts another checkpoint's tensors into a model that is already in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.models.config import Architecture
from benchbench.backends.models.pretrained import from_pretrained
from benchbench.backends.models.source import ModelSource
from benchbench.backends.models.weights import TensorInfo, safetensors_header
from benchbench.core.errors import ModelError


def new_tensors(
    model: Any, source: ModelSource, files: Sequence[Path], *, kind: Architecture, dtype: str, trusted: bool
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

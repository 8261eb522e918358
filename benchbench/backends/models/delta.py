"""Weights that are given as a difference: a model of the same shape is added to the base, tensor by tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchbench.backends.models.adapter import combined_identity
from benchbench.backends.models.config import architecture_of, config_object, read_config, uses_own_code
from benchbench.backends.models.files import check_weights, unchanged
from benchbench.backends.models.find import find_model, split_revision
from benchbench.backends.models.identity import weights_identity
from benchbench.backends.models.loaded import LoadedModel, from_pretrained
from benchbench.core.errors import ArgumentError, ModelError

if TYPE_CHECKING:
    import torch


def add_delta(loaded: LoadedModel, delta: str) -> None:
    """Add the weights of the model that `delta` names to the loaded ones, in place; the identity is that of both.

    Each tensor is added once, also one that stands in the model twice. Raises ModelError where the delta is missing,
    broken or of another shape; the loaded weights are then as they were.
    """
    import torch

    source = find_model(*split_revision(delta))
    if source.format != "folder":
        raise ArgumentError(f"--model-args delta={delta}: expected a transformers model, as its base is.")
    raw, files = read_config(source.folder), check_weights(source.folder)
    own_code = uses_own_code(raw, source.folder, trusted=loaded.trusted)
    config = config_object(source, raw, trusted=loaded.trusted)
    with unchanged(files):
        other = from_pretrained(source, architecture_of(raw), config=config, dtype=loaded.dtype, trusted=own_code)
        added = weights_identity(files)
    own, more = dict(loaded.model.named_parameters()), dict(other.named_parameters())
    _check_fits(own, more, source.name)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.add_(more[name])
    loaded.identity = combined_identity(loaded.identity, delta=added)
    loaded.fixed = "a delta was added to its weights"


def _check_fits(own: dict[str, torch.nn.Parameter], more: dict[str, torch.nn.Parameter], name: str) -> None:
    for tensor in sorted(own.keys() | more.keys()):
        shapes = [None if tensor not in these else list(these[tensor].shape) for these in (own, more)]
        if shapes[0] != shapes[1]:
            told = ["is not there" if shape is None else f"has shape {shape}" for shape in shapes]
            raise ModelError(f"{name} is no delta of the model: {tensor} {told[1]}, in the base it {told[0]}.")

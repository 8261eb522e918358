"""Opens a model with transformers, and swaps its weights, whatever format they lie in."""

from __future__ import annotations

import torch

from benchbench.backends.models.find import find_model, split_revision
from benchbench.backends.models.formats import format_named
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.options import ModelOptions
from benchbench.core.errors import ArgumentError, ModelError


def load_model(options: ModelOptions) -> LoadedModel:
    """Find, check and load the model of `options` for inference.

    Raises ModelError for a model that is missing, broken, untrusted or unsupported; ArgumentError for options that do
    not fit it.
    """
    source = find_model(options.model, options.revision)
    device = choose_device(options.device)
    loaded = format_named(source.format).load(source, options, device)
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


def load_weights_into(loaded: LoadedModel, checkpoint: str) -> str:
    """Swap the weights of `checkpoint` into `loaded` in place; returns (and notes in `loaded`) the new identity.

    `checkpoint` is a folder, a `.pt` file, a hub name, or `org/name@revision`. Its configuration, tokenizer, code and
    tensors must be those of the loaded model: else ModelError is raised, and the loaded weights are as they were.
    """
    source = find_model(*split_revision(checkpoint))
    for form in (format_named(source.format), format_named(loaded.source.format)):
        if not form.swaps:
            raise ModelError(
                f"{source.name}: the weights of {form.title} cannot be swapped; open it as a model of its own."
            )
    identity = format_named(source.format).swap(loaded, source)
    loaded.identity, loaded.source, loaded.revision = identity, source, source.revision
    return identity

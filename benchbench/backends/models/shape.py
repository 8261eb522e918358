"""Whether a configuration and the weights beside it can belong together, before anything of its size is made.

A number of a configuration costs nothing to write: 200,000 layers beside weights of two would be built first and
refused afterwards. What is only a little off is left to transformers, whose report names the tensor.
"""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.models.config import Architecture, auto_class
from benchbench.backends.models.files import ModelSource, quiet, safetensors_header
from benchbench.backends.models.identity import load_pickle
from benchbench.backends.models.memory import HEADS, LAYERS, WIDTHS, entries
from benchbench.core.errors import ModelError
from benchbench.core.format import byte_size
from benchbench.core.types import Json

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

Shapes = Mapping[str, Sequence[int]]
"""Tensor name → shape, as the weights' headers have it."""

POSITIVE = frozenset([*LAYERS, *HEADS, *WIDTHS, "vocab_size", "intermediate_size", "head_dim"])
"""Keys whose number, where they have one, is 1 or more."""
MODULES = re.compile(r"(num|n)_(\w+_)?(layers?|blocks|experts|heads|codebooks)|(en|de)coder_layers|num_labels")
"""Keys that say how many parts of a kind are made, one by one."""
MAX_NUMBER = 2**40
"""No honest number of a configuration that sizes something is larger."""
FREE_LAYERS = 64
"""So many layers may be made whatever the weights hold."""
MAX_MODULES = 1 << 14
FREE_PARAMETERS = 1 << 24
"""So many parameters may be made whatever the weights hold."""
MAX_BUFFER_BYTES = 1 << 31
"""Most bytes of a model's masks and tables of positions, which no file holds."""
PACKED = 32
"""Most parameters in one element of a quantised checkpoint."""
IMPLEMENTATIONS = ("attn_implementation", "experts_implementation")
"""Ends of keys that name the code for a layer; `org/repo` would be fetched from the Hub."""


def stored_shapes(files: Sequence[Path]) -> Shapes:
    """The tensors of weight files; of torch files the pickled names and shapes are read, and no weights."""
    found: dict[str, Sequence[int]] = {}
    for path in files:
        if path.suffix == ".safetensors":
            found |= {name: info.shape for name, info in safetensors_header(path).items()}
        else:
            found |= {str(k): tuple(t.shape) for k, t in load_pickle(path).items() if hasattr(t, "untyped_storage")}
    return found


def check_numbers(raw: Mapping[str, Json], names: Collection[str], place: object) -> None:
    """ModelError for numbers that no model has, or that ask for far more parts than the weights have names for."""
    layers = stored_layers(names)
    for key, value in entries(raw):
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if key in POSITIVE and not 1 <= value <= MAX_NUMBER:
            raise ModelError(f"{place} has {key}={_shown(value)}; expected a whole number of 1 or more.")
        if key in LAYERS and value > FREE_LAYERS and value > 2 * layers:
            raise ModelError(f"{place} has {key}={_shown(value)}, but the weights beside it hold {layers} layers.")
        if MODULES.fullmatch(key) and value > MAX_MODULES:
            raise ModelError(f"{place} has {key}={_shown(value)}, more than any model has.")


def stored_layers(names: Collection[str]) -> int:
    """How many layers the longest stack has, by the numbers in the tensors' names."""
    return max((int(n) + 1 for name in names for n in name.split(".") if n.isdecimal() and len(n) < 7), default=0)


def _shown(value: Any) -> str:
    text = f"{value:,}"
    return text if len(text) < 30 else f"{text[:12]}… ({len(text):,} characters)"


def check_implementations(raw: Mapping[str, Json], place: object) -> None:
    """ModelError where the configuration would have code of another repository fetched and run for its layers."""
    for key, value in entries(raw):
        if not key.endswith((*IMPLEMENTATIONS, *(f"{name}_internal" for name in IMPLEMENTATIONS))):
            continue
        for name in value.values() if isinstance(value, dict) else [value]:
            flash = str(name).removeprefix("paged|").startswith("flash_attention")
            fetched = flash and not importlib.util.find_spec("flash_attn") and importlib.util.find_spec("kernels")
            if "/" in str(name) or fetched:
                raise ModelError(
                    f"{place} has {key}={name!r}: code from the Hub, which is not fetched and not run here. Take the "
                    "key out of config.json."
                )


def check_size(source: ModelSource, config: PretrainedConfig, shapes: Shapes, kind: Architecture) -> PreTrainedModel:
    """ModelError where transformers would make a far larger model than the weights fill.

    The model is built without memory for its tensors, as transformers itself does before it reads weights.
    """
    import torch

    with quiet(source), torch.device("meta"):
        model: PreTrainedModel = auto_class(kind, config).from_config(config)
    asked = sum(parameter.numel() for parameter in model.parameters())
    stored = sum(math.prod(shape) for shape in shapes.values())
    packed = PACKED if getattr(config, "quantization_config", None) is not None else 2
    if asked > packed * stored + FREE_PARAMETERS:
        raise ModelError(
            f"{source.name}: config.json asks for a model of {asked:,} parameters, but the weights beside it hold "
            f"{stored:,}. They do not belong together."
        )
    tables = sum(buffer.numel() * buffer.element_size() for buffer in model.buffers())
    if tables > MAX_BUFFER_BYTES:
        raise ModelError(
            f"{source.name}: config.json asks for masks and positions of {byte_size(tables)}; its lengths are too "
            "large."
        )
    return model

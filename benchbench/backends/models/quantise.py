"""Weights of a loaded model in fewer bits, by torchao: weight-only, on CPU and GPU."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, Literal

from benchbench.backends.models.adapter import combined_identity
from benchbench.backends.models.files import told
from benchbench.core.errors import BackendError, ModelError

if TYPE_CHECKING:
    from benchbench.backends.models.loaded import LoadedModel

Bits = Literal["int8", "int4"]
GROUP = 32
"""Neighbouring weights of a row that share a scale at 4 bits; at 8 bits a row has one."""


def quantise(loaded: LoadedModel, bits: Bits) -> None:
    """Round the linear layers in place; the identity is that of the weights and the bits.

    Raises:
        BackendError: torchao is not installed.
        ModelError: the model's layers cannot be rounded so.
    """
    if importlib.util.find_spec("torchao") is None:
        raise BackendError(f"--model-args torchao={bits} needs the package torchao: pip install torchao")
    import torch
    from torchao import quantization  # type: ignore[import-not-found,import-untyped,unused-ignore]
    from torchao.quantization import granularity  # type: ignore[import-not-found,import-untyped,unused-ignore]

    rounding: Any = quantization
    numbers: Any = torch
    if bits == "int8":
        how = rounding.Int8WeightOnlyConfig()
    else:
        how = rounding.IntxWeightOnlyConfig(weight_dtype=numbers.int4, granularity=granularity.PerGroup(GROUP))
    try:
        rounding.quantize_(loaded.model, how)
    except (AssertionError, RuntimeError, ValueError, NotImplementedError, TypeError) as error:
        raise ModelError(f"{loaded.source.name} cannot be rounded to {bits} by torchao: {told(error)}") from error
    loaded.identity = combined_identity(loaded.identity, torchao=bits)
    loaded.fixed = "its weights are quantised"

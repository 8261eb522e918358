"""Where a model's layers go and in which bits: what `--model-args` make of the arguments of `from_pretrained`."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

from benchbench.backends.models.files import told
from benchbench.backends.models.options import TransformersOptions
from benchbench.core.errors import ArgumentError, BackendError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def placement(options: TransformersOptions, device: torch.device, dtype: str) -> dict[str, Any]:
    """More arguments of `from_pretrained`; {} where the whole model goes to `device` as it is.

    Raises BackendError where a package is missing, ArgumentError for a place that is not there.
    """
    found: dict[str, Any] = {}
    bits = next((name for name in ("load_in_8bit", "load_in_4bit") if getattr(options, name)), None)
    if options.placement is not None:
        _need("accelerate", "device_map" if options.device_map else "parallelize")
        found = {"device_map": _device_map(options.placement), "max_memory": _max_memory(options)}
    if bits is not None:
        _need("accelerate", bits)
        _need("bitsandbytes", bits)
        import torch
        import transformers

        quantised: Any = transformers.BitsAndBytesConfig
        found.setdefault("device_map", {"": device})
        found["quantization_config"] = quantised(
            **{bits: True},
            bnb_4bit_compute_dtype=getattr(torch, dtype),
            bnb_4bit_quant_type=options.bnb_4bit_quant_type,
        )
    return found


def _need(package: str, option: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise BackendError(f"--model-args {option} needs the package {package}: pip install {package}")


def _device_map(written: str) -> str | dict[str, Any]:
    if not written.startswith("{"):
        return written
    try:
        found: dict[str, Any] = json.loads(written)
    except ValueError as error:
        raise ArgumentError(f"--model-args device_map={written} is not JSON: {error}.") from None
    return found


def _max_memory(options: TransformersOptions) -> dict[int, int | str] | None:
    if options.max_memory_per_gpu is None:
        return None
    import torch

    if not torch.cuda.is_available():
        raise ArgumentError("--model-args max_memory_per_gpu: torch sees no GPU here.")
    return dict.fromkeys(range(torch.cuda.device_count()), options.max_memory_per_gpu)


def input_device(model: PreTrainedModel) -> torch.device:
    """Where a placed model reads token ids."""
    table: Any = model.get_input_embeddings()
    found: torch.device = table.weight.device
    return found


def why_fixed(model: PreTrainedModel) -> str | None:
    """Why no other weights can be put into the model, as a clause; None where they can."""
    if getattr(model, "hf_quantizer", None) is not None:
        return "its weights are quantised"
    if any(parameter.is_meta for parameter in model.parameters()):
        return "some of its layers wait on the disk or beside the GPU"
    return None


def set_attention(model: PreTrainedModel, wanted: str) -> None:
    """Compute the attention with that kernel. ArgumentError where this model or machine does not have it."""
    try:
        model.set_attn_implementation(wanted)
    except (ValueError, ImportError, RuntimeError) as error:
        raise ArgumentError(f"--model-args attn_implementation={wanted}: {told(error)}") from None
    if model.config._attn_implementation != wanted:
        raise ArgumentError(
            f"--model-args attn_implementation={wanted}: {type(model).__name__} computes its attention in its own way, "
            "which cannot be chosen."
        )

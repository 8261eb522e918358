"""One call to transformers' `from_pretrained`, with its warnings turned into errors."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.hf.architecture import Architecture
from benchbench.backends.hf.source import Source, quiet
from benchbench.core.errors import ModelError


def from_pretrained(source: Source, kind: Architecture, *, config: Any, dtype: str, trusted: bool) -> Any:
    """transformers' model on the CPU. Raises ModelError unless every tensor was found, fitted and used."""
    import transformers

    auto: Any = transformers.AutoModelForSeq2SeqLM if kind == "seq2seq" else transformers.AutoModelForCausalLM
    kwargs: dict[str, Any] = {}
    silence: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
    if source.gguf_file:
        silence = contextlib.redirect_stderr(io.StringIO())  # its progress bar cannot be switched off
        gguf = transformers.GgufConfig(gguf_file=source.gguf_file, dequantize=True)
        kwargs = {"gguf_file": source.gguf_file, "quantization_config": gguf}
    with quiet(source), silence:
        model, info = auto.from_pretrained(
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
    _check_loaded(model, info, source.name)
    return model


def from_tensors(source: Source, *, config: Any, tensors: Mapping[str, torch.Tensor], dtype: str) -> Any:
    """transformers' causal model of `config` on the CPU, filled from `tensors`. ModelError unless they fit exactly."""
    with quiet(source):
        model, info = causal_class(config).from_pretrained(
            None,
            config=config,
            state_dict=dict(tensors),
            dtype=getattr(torch, dtype),
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _check_loaded(model, info, source.name)
    return model


def causal_class(config: Any) -> Any:
    """transformers' own causal model for this kind of configuration."""
    import transformers

    return transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]


def _check_loaded(model: Any, info: dict[str, Any], name: str) -> None:
    misshapen = sorted(info["mismatched_keys"])
    if misshapen:
        tensor, found, expected = misshapen[0]
        raise ModelError(
            f"{name}: {tensor} has shape {list(found)}, config.json asks for {list(expected)}"
            f"{_more(misshapen)}. Weights and config.json do not belong together."
        )
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{name} lacks {missing[0]}{_more(missing)}: the weights are incomplete, or config.json is another model's."
        )
    modules = dict(model.named_modules())
    ignored = sorted(key for key in info["unexpected_keys"] if key.rpartition(".")[0] in modules)
    if ignored:
        raise ModelError(
            f"{name} has {ignored[0]}{_more(ignored)}, which transformers' {type(model).__name__} would ignore, "
            "so every score would be wrong."
        )


def _more(names: Sequence[Any]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


@contextlib.contextmanager
def unchanged(files: Sequence[Path]) -> Iterator[None]:
    """Raises ModelError where a file changed meanwhile: its identity and its numbers might be of two checkpoints."""
    before = [_stamp(path) for path in files]
    yield
    for path, stamp in zip(files, before, strict=True):
        if _stamp(path) != stamp:
            raise ModelError(f"{path} changed while it was being loaded; wait until it is written, then try again.")


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0, 0)
    return (status.st_size, status.st_mtime_ns, status.st_ino)

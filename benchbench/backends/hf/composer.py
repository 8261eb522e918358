"""Checkpoints of Composer and llm-foundry: a `.pt` file, or a folder of shards, read under transformers' names.

Only tensors, plain values and a few harmless types (times, numpy arrays of random states) are ever unpickled.
"""

from __future__ import annotations

import collections
import datetime
import functools
import inspect
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbench.backends.identity import load_pickle
from benchbench.core.errors import ModelError

WRAPPERS = ("_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_orig_mod.")
"""What training puts around modules, and so into tensor names."""
SHARD_NAMES = frozenset(
    [
        "torch.distributed.checkpoint.metadata",
        "torch.distributed.checkpoint.filesystem",
        "torch.serialization._get_layout",
        "torch.storage",
        "torch.Size",
        "torch.device",
        "collections.OrderedDict",
        "pathlib.PosixPath",
    ]
)
"""Modules and names that the index of a sharded checkpoint may ask for: data classes of torch's own."""


MERGE_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    AttributeError,
    EOFError,
    KeyError,
    TypeError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True, slots=True)
class ComposerState:
    """The part of a checkpoint that makes a model."""

    tensors: Mapping[str, torch.Tensor]
    """Under transformers' names; mapped from the file, not read yet."""
    config: Mapping[str, Any] | None
    """The model's configuration, where the checkpoint holds it."""


def is_composer(path: Path) -> bool:
    """Whether the path is a `.pt` file or a folder of torch's distributed shards."""
    return path.is_file() if path.suffix == ".pt" else path.is_dir() and any(path.glob("*.distcp"))


def read_state(path: Path) -> ComposerState:
    """Tensors and configuration of the checkpoint. Raises ModelError where it is broken, foreign or asks for code."""
    if path.is_dir():
        return ComposerState(_renamed(path, _merged(path)), None)
    state = _state(path)
    model = state.get("model")
    if not isinstance(model, Mapping) or not model:
        raise ModelError(f"{path} is not a Composer checkpoint: expected the model's tensors under state, model.")
    tensors = {str(name): value for name, value in model.items() if isinstance(value, torch.Tensor)}
    return ComposerState(_renamed(path, tensors), _config(state))


def tokens_seen(path: Path) -> int | None:
    """Tokens that the checkpoint's clock counts; None where it counts none, or cannot be read."""
    try:
        clock = _state(path).get("timestamp") or {}
    except ModelError:
        return None
    tokens = clock.get("token", (clock.get("Timestamp") or {}).get("token")) if isinstance(clock, Mapping) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def known_config(raw: Mapping[str, Any], config_class: Any) -> dict[str, Any]:
    """`raw` without the options that transformers' class does not know. What they say was checked before."""
    known = {*inspect.signature(config_class.__init__).parameters, *getattr(config_class, "__annotations__", {})}
    config = {key: value for key, value in raw.items() if key in known or key == "model_type"}
    inner = getattr(config_class, "sub_configs", {}).get("attn_config")
    if inner is not None and isinstance(config.get("attn_config"), Mapping):
        names = {*inspect.signature(inner.__init__).parameters, *getattr(inner, "__annotations__", {})}
        config["attn_config"] = {key: value for key, value in config["attn_config"].items() if key in names}
    return config


def _state(path: Path) -> Mapping[str, Any]:
    with torch.serialization.safe_globals(_harmless()):
        whole = load_pickle(path)
    state = whole.get("state")
    if not isinstance(state, Mapping):
        raise ModelError(f"{path} is not a Composer checkpoint: expected tensors and training state under `state`.")
    return state


def _harmless() -> list[Any]:
    """Types in training states that are no tensors but only hold values; older numpy wrote another module name."""
    import _codecs

    import numpy as np
    from numpy._core import multiarray

    functions = [multiarray._reconstruct, multiarray.scalar]
    old_names = [(function, f"numpy.core.multiarray.{function.__name__}") for function in functions]
    dtypes = {type(np.dtype(name)) for name in ("uint8", "int64", "uint32", "uint64", "float32", "float64")}
    plain = [datetime.timedelta, collections.defaultdict, np.ndarray, np.dtype, _codecs.encode]
    return [*plain, *functions, *old_names, *dtypes]


def _config(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Any = state
    for key in ("integrations", "huggingface", "model", "config", "content"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _renamed(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Composer's classes hold the model as `model`, so every name begins with that."""
    renamed: dict[str, torch.Tensor] = {}
    for written, tensor in tensors.items():
        name = functools.reduce(lambda text, wrapper: text.replace(wrapper, ""), WRAPPERS, written)
        if not name.startswith("model."):
            raise ModelError(f"{path} holds {name!r}; expected Composer's names, which begin with `model.`.")
        renamed[name.removeprefix("model.")] = tensor
    return renamed


class _AsksForCodeError(Exception):
    """An index names something that no index needs."""


class _IndexUnpickler(pickle.Unpickler):
    """Reads a sharded checkpoint's index and refuses whatever is not part of one."""

    def find_class(self, module: str, name: str) -> Any:
        """The class, if the index may ask for it."""
        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or module in SHARD_NAMES or f"{module}.{name}" in SHARD_NAMES:
            return super().find_class(module, name)
        raise _AsksForCodeError(f"{module}.{name}")


def _merged(folder: Path) -> dict[str, torch.Tensor]:
    """The model's tensors of all shards; optimizer states stay on disk."""
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        tensors = _read_shards(folder)
    except _AsksForCodeError as error:
        raise ModelError(
            f"{folder / '.metadata'} asks for {error}, which no index of shards needs; it might run code, "
            "so it was not opened."
        ) from None
    except (*MERGE_ERRORS, CheckpointException) as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ModelError(f"the shards in {folder} cannot be merged: {said[-1].strip()}") from None
    if not tensors:
        raise ModelError(f"{folder} holds no tensors under state.model, so it is no sharded Composer checkpoint.")
    return tensors


def _read_shards(folder: Path) -> dict[str, torch.Tensor]:
    """What torch's own loader puts together, in this process alone."""
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    with (folder / ".metadata").open("rb") as file:
        stored = _IndexUnpickler(file).load().state_dict_metadata
    wanted = {
        key: torch.empty(info.size, dtype=info.properties.dtype)
        for key, info in stored.items()
        if key.startswith("state.model.") and isinstance(info, TensorStorageMetadata)
    }
    if wanted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that no other process takes part
            load(wanted, storage_reader=FileSystemReader(folder), no_dist=True)
    return {key.removeprefix("state.model."): tensor for key, tensor in wanted.items()}

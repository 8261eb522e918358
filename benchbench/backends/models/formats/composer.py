"""Checkpoints of Composer and llm-foundry: a `.pt` file, read under transformers' names. Its folders are `shards`.

Only tensors, plain values and a few harmless types (times, versions, numpy arrays of random states) are ever unpickled.
"""

from __future__ import annotations

import collections
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.models.files import check_torch_file
from benchbench.backends.models.formats.state_dict import StateDictFormat, TrainingState, without_wrappers
from benchbench.backends.models.identity import load_pickle
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    import torch


class ComposerFormat(StateDictFormat):
    """A `.pt` file."""

    title = "a Composer checkpoint"

    def locate(self, path: Path) -> Path | None:
        """See `CheckpointFormat`."""
        return path if path.suffix == ".pt" and path.exists() and not path.is_dir() else None

    def check_whole(self, path: Path) -> None:
        """See `CheckpointFormat`."""
        check_torch_file(path)

    def tokens_seen(self, path: Path) -> int | None:
        """See `CheckpointFormat`. A file has a clock."""
        tokens = super().tokens_seen(path)
        return counted_tokens(path) if tokens is None else tokens

    def read_state(self, path: Path) -> TrainingState:
        """See `StateDictFormat`."""
        import torch

        state = _state(path)
        model = state.get("model")
        if not isinstance(model, Mapping) or not model:
            raise ModelError(f"{path} is not a Composer checkpoint: expected the model's tensors under state, model.")
        tensors = {str(name): value for name, value in model.items() if isinstance(value, torch.Tensor)}
        return TrainingState(renamed(path, tensors), _config(state))


FORMAT = ComposerFormat()


def counted_tokens(path: Path) -> int | None:
    """Tokens that the checkpoint's clock counts; None where it counts none, or cannot be read."""
    try:
        clock = _state(path).get("timestamp") or {}
    except ModelError:
        return None
    tokens = clock.get("token", (clock.get("Timestamp") or {}).get("token")) if isinstance(clock, Mapping) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None


def _state(path: Path) -> Mapping[str, Any]:
    import torch

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
    from torch.torch_version import TorchVersion

    functions = [multiarray._reconstruct, multiarray.scalar]
    old_names = [(function, f"numpy.core.multiarray.{function.__name__}") for function in functions]
    dtypes = {type(np.dtype(name)) for name in ("uint8", "int64", "uint32", "uint64", "float32", "float64")}
    plain = [datetime.timedelta, collections.defaultdict, np.ndarray, np.dtype, _codecs.encode, TorchVersion]
    return [*plain, *functions, *old_names, *dtypes]


def _config(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    found: Any = state
    for key in ("integrations", "huggingface", "model", "config", "content"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def renamed(path: Path, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Composer's tensors under transformers' names. Its classes hold the model as `model`, and so does every name."""
    found: dict[str, torch.Tensor] = {}
    for written, tensor in tensors.items():
        name = without_wrappers(written)
        if not name.startswith("model."):
            raise ModelError(f"{path} holds {name!r}; expected Composer's names, which begin with `model.`.")
        found[name.removeprefix("model.")] = tensor
    return found

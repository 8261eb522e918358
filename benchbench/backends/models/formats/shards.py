"""A folder of torch's distributed shards (`torch.distributed.checkpoint`): its index, and its tensors put together.

What the keys of the tensors are called is each format's own. The index is unpickled with torch's data classes alone.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    import torch

INDEX = ".metadata"
"""The file that is written last."""
NAMES = frozenset(
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
"""Modules and names that the index may ask for: data classes of torch's own."""
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


def has_shards(folder: Path) -> bool:
    """Whether shards lie in `folder`, whole or not."""
    return folder.is_dir() and any(folder.glob("*.distcp"))


def check_index(folder: Path) -> None:
    """ModelError where the index, which is written last, is not there."""
    if not (folder / INDEX).is_file():
        raise ModelError(f"{folder} has shards but no {INDEX}, which is written last.")


class _AsksForCodeError(Exception):
    """An index names something that no index needs."""


class _IndexUnpickler(pickle.Unpickler):
    """Reads an index and refuses whatever is not part of one."""

    def find_class(self, module: str, name: str) -> Any:
        """The class, if the index may ask for it."""
        import torch

        dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if dtype or module in NAMES or f"{module}.{name}" in NAMES:
            return super().find_class(module, name)
        raise _AsksForCodeError(f"{module}.{name}")


def read_shards(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """The tensors of all shards whose keys begin with `prefix`, under their names without it; others stay on disk.

    Empty where there are none. ModelError where the index asks for code, or the shards cannot be put together.
    """
    from torch.distributed.checkpoint.api import CheckpointException

    try:
        return _merged(folder, prefix)
    except _AsksForCodeError as error:
        raise ModelError(
            f"{folder / INDEX} asks for {error}, which no index of shards needs; it might run code, "
            "so it was not opened."
        ) from None
    except (*MERGE_ERRORS, CheckpointException) as error:
        said = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        raise ModelError(f"the shards in {folder} cannot be merged: {said[-1].strip()}") from None


def _index(folder: Path) -> Mapping[str, Any]:
    with (folder / INDEX).open("rb") as file:
        stored: Mapping[str, Any] = _IndexUnpickler(file).load().state_dict_metadata
    return stored


def _merged(folder: Path, prefix: str) -> dict[str, torch.Tensor]:
    """What torch's own loader puts together, in this process alone."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    wanted = {
        key: torch.empty(info.size, dtype=info.properties.dtype)
        for key, info in _index(folder).items()
        if key.startswith(prefix) and isinstance(info, TensorStorageMetadata)
    }
    if wanted:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that no other process takes part
            load(wanted, storage_reader=FileSystemReader(folder), no_dist=True)
    return {key.removeprefix(prefix): tensor for key, tensor in wanted.items()}

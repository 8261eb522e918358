"""The formats in which checkpoints lie on disk. A new one is a module here and a line in `FORMATS`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchbench.backends.engines import ModelOptions
from benchbench.backends.models.files import MAX_JSON, ModelSource, parsed
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.models.memory import MemoryEstimate
from benchbench.core.errors import ModelError
from benchbench.core.files import is_regular, read_regular
from benchbench.core.plugins import load_place
from benchbench.core.types import Json

if TYPE_CHECKING:
    import torch

FORMATS: Mapping[str, str] = {
    "adapter": "benchbench.backends.models.formats.adapter:FORMAT",
    "shards": "benchbench.backends.models.formats.shards:FORMAT",
    "folder": "benchbench.backends.models.formats.folder:FORMAT",
    "composer": "benchbench.backends.models.formats.composer:FORMAT",
    "gguf": "benchbench.backends.models.formats.gguf:FORMAT",
}
"""Name → where the `CheckpointFormat` is, in the order of looking."""


class CheckpointFormat(ABC):
    """One way in which a model lies on disk. Importing one loads no torch; only `load` and `swap` read weights."""

    title: str
    """With its article, for sentences: `a Composer checkpoint`."""
    swaps: bool = True
    """Its weights can take the place of those in memory."""

    @abstractmethod
    def locate(self, path: Path) -> Path | None:
        """The folder or file to load where `path` holds this format, None where it does not. Looks at names only."""

    @abstractmethod
    def check_whole(self, path: Path) -> None:
        """ModelError where a part of the checkpoint is missing, cut short or unreadable. Reads headers only."""

    @abstractmethod
    def load(self, source: ModelSource, options: ModelOptions, device: torch.device) -> LoadedModel:
        """The model on the CPU, its type chosen for `device`.

        Raises ModelError for one that is broken, untrusted or unsupported, ArgumentError for options that do not fit.
        """

    def swap(self, loaded: LoadedModel, source: ModelSource) -> str:
        """Put the weights of `source` into a loaded model, in place; returns the new identity.

        ModelError where anything but the weights differs: the loaded ones are then as they were. Needed where `swaps`.
        """
        raise NotImplementedError

    def estimate(self, source: ModelSource, dtype: str) -> MemoryEstimate:
        """How much memory it needs, computed in `dtype`. ModelError where that is not known before it is loaded."""
        raise ModelError(f"{source.name} is {self.title}: how much memory it needs is not known before it is loaded.")

    def step(self, path: Path) -> int | None:
        """The optimizer step that the checkpoint's files tell, apart from its name."""
        return _number(_trainer_state(path).get("global_step"))

    def tokens_seen(self, path: Path) -> int | None:
        """The tokens trained on that the checkpoint's files tell."""
        state = _trainer_state(path)
        tokens = _number(state.get("num_input_tokens_seen"))
        # transformers' Trainer writes 0 where it was not asked to count.
        return None if tokens == 0 and state.get("global_step") != 0 else tokens


def _trainer_state(path: Path) -> Mapping[str, Json]:
    try:
        state = parsed(read_regular(path / "trainer_state.json", MAX_JSON))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _number(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 1 << 63 else None


@cache
def format_named(name: str) -> CheckpointFormat:
    """The format of that name. KeyError where `FORMATS` has none."""
    return cast("CheckpointFormat", load_place(FORMATS[name]))


def recognise(path: Path) -> tuple[str, Path] | None:
    """(name of the format, the folder or file to load) of what lies at `path`; None for a file of no known format.

    A folder of no known format is taken for one that lacks its configuration, which that format will say.
    """
    for name in FORMATS:
        place = format_named(name).locate(path)
        if place is not None:
            return name, place
    return ("folder", path) if path.is_dir() else None


def is_swappable(file: Path) -> bool:
    """Whether `file` is a checkpoint in a format whose weights can take the place of others."""
    found = recognise(file)
    return found is not None and format_named(found[0]).swaps


def check_whole(path: Path) -> None:
    """ModelError where a part of the checkpoint is missing, cut short or unreadable. Reads headers only."""
    if not path.exists():
        raise ModelError(f"there is no checkpoint at {path}.")
    if not path.is_dir() and not is_regular(path):
        raise ModelError(f"{path} is a pipe or a device; a checkpoint consists of files.")
    if (found := recognise(path)) is not None:
        name, place = found
        format_named(name).check_whole(place)

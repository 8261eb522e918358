"""A checkpoint: one model at one step of its training, and what its name and files tell of step and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.checkpoint_names import read_name
from benchbench.core.errors import ModelError
from benchbench.store.names import leaf_of

if TYPE_CHECKING:
    from benchbench.backends.models.formats import CheckpointFormat


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the weights of one step lie."""

    series: str
    """The training run: what the user named, as in a model's name."""
    step: int | None
    """None where tokens alone are known."""
    location: str
    """A folder, a `.pt` file, or a hub name."""
    revision: str | None = None
    """Of a hub name."""
    tokens_seen: int | None = None
    """Where a list file says so, or a name that tells no step; None: whatever the checkpoint itself says."""

    @property
    def target(self) -> str:
        """What a backend's `load_weights` takes."""
        return self.location if self.revision is None else f"{self.location}@{self.revision}"

    @property
    def position(self) -> int:
        """Where it stands in its series: its step, or the tokens seen where no step is known."""
        return (self.tokens_seen or 0) if self.step is None else self.step

    @property
    def name(self) -> str:
        """The name of a run of this checkpoint: its series and its own name. Where that tells another step, the step
        stands instead.
        """
        leaf = leaf_of(self.location, self.revision)
        reading = read_name(leaf)
        if self.step is None:
            return f"{self.base}@{leaf if reading.tokens == self.tokens_seen else f'tokens{self.tokens_seen}'}"
        return f"{self.base}@{leaf if reading.step == self.step else f'step{self.step}'}"

    @property
    def base(self) -> str:
        """The series without the stage or seed that the checkpoint's own name tells."""
        return self.series.removesuffix(f"@{read_name(leaf_of(self.location, self.revision)).part}")


def step_in(name: str) -> int | None:
    """The optimizer step that a folder, file or revision name tells.

    >>> step_in("checkpoint-500"), step_in("ep0-ba75000-rank0.pt"), step_in("step1000-tokens4B"), step_in("main")
    (500, 75000, 1000, None)
    """
    return read_name(name).step


def tokens_in(name: str) -> int | None:
    """The tokens seen that a name tells: `step1000-tokens4B` is 4,000,000,000."""
    return read_name(name).tokens


def step_at(location: str, revision: str | None = None) -> int | None:
    """The step that a model's own name or its files tell."""
    step = step_in(leaf_of(location, revision))
    if step is None and revision is None and (found := _recognised(location)) is not None:
        form, path = found
        step = form.step(path)
    return step


def tokens_at(location: str, revision: str | None = None) -> int | None:
    """Tokens trained on, as the checkpoint's files or its name tell; None where nothing does."""
    tokens = None
    if revision is None and (found := _recognised(location)) is not None:
        form, path = found
        tokens = form.tokens_seen(path)
    return tokens_in(leaf_of(location, revision)) if tokens is None else tokens


def _recognised(location: str) -> tuple[CheckpointFormat, Path] | None:
    """The format of what lies at `location` and the path that it reads; None for hub names and what nobody knows."""
    from benchbench.backends.models.formats import format_named, recognise

    try:
        found = recognise(Path(location))
    except ModelError:
        return None
    return None if found is None else (format_named(found[0]), found[1])

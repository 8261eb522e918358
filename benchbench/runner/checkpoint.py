"""A checkpoint: one model at one step of its training, what its name and files tell, and whether it is whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from benchbench.backends.models.formats import CheckpointFormat, check_whole, format_named, recognise
from benchbench.backends.models.layouts import what_to_do
from benchbench.core.checkpoint_names import read_name, with_revision
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash
from benchbench.store.names import leaf_of


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
        return with_revision(self.location, self.revision)

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


def step_at(location: str, revision: str | None = None) -> int | None:
    """The step that a model's own name or its files tell.

    >>> step_at("/runs/m/checkpoint-500"), step_at("/runs/m/ep0-ba75000.pt"), step_at("org/m", "step1000-tokens4B")
    (500, 75000, 1000)
    """
    step = read_name(leaf_of(location, revision)).step
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
    return read_name(leaf_of(location, revision)).tokens if tokens is None else tokens


def _recognised(location: str) -> tuple[CheckpointFormat, Path] | None:
    """The format of what lies at `location` and the path that it reads; None for hub names and what nobody knows."""
    try:
        found = recognise(Path(location))
    except ModelError:
        return None
    return None if found is None else (format_named(found[0]), found[1])


SETTLE = 2.0
"""Seconds without a change after which a checkpoint counts as written, if all of it is there."""
OLD = 60.0
"""A checkpoint whose newest file is older, in seconds, has settled; clocks of file servers differ by less."""
STALE = 600.0
"""Seconds without a change after which a checkpoint that is not whole counts as broken for good."""

State: TypeAlias = Literal["ready", "settling", "incomplete", "broken"]
"""settling: all there, but touched just now. incomplete: a part is missing. broken: and nobody writes it any more."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen of one checkpoint."""

    state: State
    stamp: str
    """Changes when a file of the checkpoint is added, removed or rewritten."""
    why: str = ""
    """Why it is not ready, as a sentence."""


@dataclass(slots=True)
class Readiness:
    """Looks at checkpoints again and again, and remembers since when each has not changed."""

    settle: float = SETTLE
    stale: float = STALE
    clock: Callable[[], float] = time.time
    """As files have their times."""
    timer: Callable[[], float] = time.monotonic
    """For how long a checkpoint has not changed: nobody sets it back."""
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Target → (stamp, when this stamp was first seen, by the timer)."""

    def look(self, checkpoint: Checkpoint) -> Look:
        """The state of `checkpoint` now. What is on the hub is always whole."""
        path = Path(checkpoint.location).expanduser()
        if checkpoint.revision is not None or not (path.exists() or path.is_absolute()):
            return Look("ready", checkpoint.target)
        stamp, newest = _stamp(path)
        now = self.timer()
        seen, since = self._since.get(checkpoint.target, ("", now))
        if seen != stamp:
            since = now
            self._since[checkpoint.target] = (stamp, since)
        age = self.clock() - newest if newest is not None else 0.0
        still = max(now - since, age if age >= OLD else 0.0)
        try:
            check_whole(path)
            why = what_to_do(path)
        except (ModelError, OSError) as error:
            why = what_to_do(path) or str(error)
        if why is not None:
            return Look("broken" if still >= self.stale else "incomplete", stamp, why)
        if still < self.settle:
            return Look("settling", stamp, f"{path} was changed just now; it may still be written.")
        return Look("ready", stamp)


def _stamp(path: Path) -> tuple[str, float | None]:
    """(hash over names, sizes and times of all files, time of the newest in seconds; None where there is no file)."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    seen, times = [], []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        seen.append([str(file.relative_to(path)), status.st_size, status.st_mtime_ns])
        times.append(status.st_mtime)
    return content_hash(seen), max(times, default=None)

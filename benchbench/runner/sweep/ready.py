"""Whether a checkpoint is whole. Training writes while we look, so a file that was just touched is not trusted yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from benchbench.backends.models.formats import check_whole
from benchbench.core.errors import ModelError
from benchbench.core.ids import content_hash
from benchbench.runner.checkpoint import Checkpoint

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
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Target → (stamp, when this stamp was first seen)."""

    def look(self, checkpoint: Checkpoint) -> Look:
        """The state of `checkpoint` now. What is on the hub is always whole."""
        path = Path(checkpoint.location).expanduser()
        if checkpoint.revision is not None or not (path.exists() or path.is_absolute()):
            return Look("ready", checkpoint.target)
        stamp, newest = _stamp(path)
        now = self.clock()
        seen, since = self._since.get(checkpoint.target, ("", now))
        if seen != stamp:
            since = now
            self._since[checkpoint.target] = (stamp, since)
        age = now - newest if newest is not None else 0.0
        still = max(now - since, age if age >= OLD else 0.0)
        try:
            check_whole(path)
        except (ModelError, OSError) as error:
            return Look("broken" if still >= self.stale else "incomplete", stamp, str(error))
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

"""What is to be scored again, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchbench.core.errors import ArgumentError
from benchbench.scoring.comet.process import CometOptions

State = Literal["added", "replaced", "kept", "confirmed", "differs"]


@dataclass(frozen=True, slots=True)
class ScoreSettings:
    """Metrics for a finished run. ArgumentError if a value makes no sense."""

    metrics: tuple[str, ...]
    tasks: str | None = None
    """Names or globs of the run's tasks, separated by commas; None: every task that a metric fits."""
    data_root: Path | None = None
    """Where the documents are, for metrics that need more of them than was stored; None: where the run found them."""
    include_paths: tuple[Path, ...] = ()
    """Folders or files with more tasks."""
    source: str | None = None
    """Template of the text that was to be translated, for tasks whose file has no `doc_to_source`."""
    comet: CometOptions = field(default_factory=CometOptions)
    fresh: bool = False
    """Compute COMET scores again that are there already."""

    def __post_init__(self) -> None:
        if not self.metrics or not all(self.metrics):
            raise ArgumentError("--metric takes one name or more, separated by commas, e.g. --metric comet,bleu.")
        if self.comet.batch_size < 1:
            raise ArgumentError(f"--batch-size is {self.comet.batch_size}; it must be 1 or more.")
        if self.comet.device not in ("auto", "cpu", "cuda"):
            raise ArgumentError(
                f"--device is {self.comet.device!r}; it is auto, cpu or cuda (CUDA_VISIBLE_DEVICES says which GPU)."
            )
        if not self.comet.timeout > 0:
            raise ArgumentError(f"--comet-timeout is {self.comet.timeout}; it must be more than 0 seconds.")


@dataclass(frozen=True, slots=True)
class Scored:
    """One metric of one task or group."""

    task: str
    metric: str
    state: State
    """added; replaced: was added before; kept: was added before, by the same model; confirmed: the run's own value
    came out again; differs: it did not, and still stands."""
    rows: tuple[Mapping[str, Any], ...]
    """As computed now; where `kept`, as they are on disk."""


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """What came of it all."""

    path: Path
    record: Mapping[str, Any]
    """The run's record, with everything that was added to it."""
    scored: tuple[Scored, ...]

    @property
    def differs(self) -> bool:
        """A value that the run recorded did not come out again."""
        return any(one.state == "differs" for one in self.scored)

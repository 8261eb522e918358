"""What one measuring process is told and what it says: values that are pickled between processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchbench.core.types import Request

Side = Literal["benchbench", "lm_eval"]
Answer = tuple[float, bool] | str | None
"""Log-likelihood and is_greedy, or a text; None for a failure."""


@dataclass(frozen=True)
class Job:
    """What one process is to do."""

    side: Side
    model: str
    requests: Sequence[Sequence[Request]]
    """One list per task."""
    batch_sizes: tuple[int, ...] = ()
    """lm-eval's; with more than one, all requests are answered once per size. 0 leaves batches to the engine."""
    batch_tokens: int | None = None
    """benchbench's; None is its own choice."""
    backend: str = "hf"
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Measured:
    """What it did, memory in MiB."""

    seconds: tuple[float, ...]
    """One per batch size."""
    cpu_seconds: tuple[float, ...]
    """The same in processor time over all threads: what a busy machine disturbs less."""
    answers: list[Answer]
    """In the order of the requests; those of the last batch size."""
    load_seconds: float
    loaded_memory: float
    """Resident before the first request."""
    peak_memory: float
    """Largest resident size from then on."""
    longest_prompt: int = 0
    """Tokens of the longest input (benchbench only)."""
    tokens_needed: int = 0
    tokens_computed: int = 0
    notes: tuple[str, ...] = ()

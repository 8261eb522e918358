"""Two folders of one step: which of them a sweep scores, and what it says of the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from benchbench.backends.models.formats import check_whole
from benchbench.backends.models.layouts import layout_of
from benchbench.core.errors import ArgumentError, ModelError
from benchbench.runner.checkpoint import Checkpoint
from benchbench.store.names import leaf_of

OnLeftOut: TypeAlias = Callable[[Checkpoint, str], None]
SUFFIX = re.compile(
    r"(?i)^[-_.](?:best|last|latest|final|ema|swa|avg|averaged|merged|hf|unsharded|consolidated|converted|copy|bak|backup"
    r"|old|orig|fp32|fp16|bf16|safetensors|transformers|lora|adapter)(?:[-_.].*)?$"
)
"""What follows a checkpoint's name in that of another form of it."""


def without_copies(
    found: Sequence[Checkpoint], scored: Container[str], on_left_out: OnLeftOut, *, lenient: bool
) -> list[Checkpoint]:
    """One checkpoint of each step. The one that was scored stays, else the only usable one, else the one without a
    suffix such as `-best`.

    Args:
        scored: targets that have results, or that were there before.
        lenient: the first stays where nothing decides.

    Raises:
        ArgumentError: nothing decides between two.
    """
    kept: list[Checkpoint] = []
    for position in dict.fromkeys(checkpoint.position for checkpoint in found):
        same = [checkpoint for checkpoint in found if checkpoint.position == position]
        chosen = same[0] if len(same) == 1 else _chosen(same, scored)
        if chosen is None and not lenient:
            raise ArgumentError(
                f"{_both(same[0], same[1])}. Move one away, or name those you mean in a list with --checkpoints."
            )
        kept.append(chosen or same[0])
        for other in same:
            if other is not kept[-1]:
                on_left_out(other, f"{_both(kept[-1], other)}: the first is scored, and the second is left out.")
    return kept


def _both(one: Checkpoint, two: Checkpoint) -> str:
    what = f"{one.position} tokens" if one.step is None else f"step {one.step}"
    return f"two checkpoints of {one.series} have {what}: {one.target} and {two.target}"


def _chosen(same: Sequence[Checkpoint], scored: Container[str]) -> Checkpoint | None:
    known = [one for one in same if one.target in scored]
    if known:
        return known[0]
    usable = [one for one in same if _is_usable(one)]
    return usable[0] if len(usable) == 1 else _plain(usable or same)


def _plain(same: Iterable[Checkpoint]) -> Checkpoint | None:
    """The one whose name all others are, with a suffix."""
    first, *others = sorted(same, key=lambda one: len(_leaf(one)))
    name = _leaf(first)
    are_copies = (_leaf(one).startswith(name) and SUFFIX.match(_leaf(one)[len(name) :]) for one in others)
    return first if all(are_copies) else None


def _leaf(checkpoint: Checkpoint) -> str:
    return leaf_of(checkpoint.location, checkpoint.revision)


def _is_usable(checkpoint: Checkpoint) -> bool:
    path = Path(checkpoint.location)
    if checkpoint.revision is not None or not path.exists():
        return checkpoint.revision is not None
    try:
        check_whole(path)
    except (ModelError, OSError):
        return False
    return layout_of(path) is None

"""The output head, run on the positions that are asked for and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch


class HeadOn:
    """Meanwhile an output head runs only on the positions that `pick` takes from its inputs: a hook hands it no others.

    `shape` is [rows, tokens] of the pass. A model whose head is not found, or is given something else, computes every
    position; the wanted ones are then picked from the logits, which gives the same rows.
    """

    def __init__(self, head: Any, shape: Sequence[int], pick: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._head, self._shape, self._pick = head, tuple(shape), pick
        self._hook: Any = None
        self._reduced = False

    def __enter__(self) -> HeadOn:
        if isinstance(self._head, torch.nn.Module):
            self._hook = self._head.register_forward_pre_hook(self._reduce)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _reduce(self, _: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or args[0].dim() != 3 or tuple(args[0].shape[:2]) != self._shape:
            return None
        self._reduced = True
        return (self._pick(args[0])[None], *args[1:])

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """[picked positions, vocabulary], of what the model gave as logits."""
        return output[0] if self._reduced else self._pick(output)

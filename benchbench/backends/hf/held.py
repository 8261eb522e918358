"""The prefix that a task's requests share, where they are asked in parts: found in the first, computed once for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from benchbench.backends.hf.cache import Past
from benchbench.backends.plan import Limits, make_plan, unmerged


class HeldBlock:
    """A shared prefix, and what the model keeps of it from one part of a task to the next.

    Which prefix it is, the first part says to all others: what is computed of a part does not depend on what was
    computed before it.
    """

    def __init__(self) -> None:
        self.is_sought = False
        """Requests are asked now in order to find it."""
        self.tokens: tuple[int, ...] = ()
        self._states: Past | None = None

    def seek(self) -> None:
        """From now on contexts are looked at; no prefix is held."""
        self.take(())
        self.is_sought = True

    def take(self, tokens: tuple[int, ...]) -> None:
        """This prefix is held."""
        self.is_sought = False
        if tokens != self.tokens:
            self.tokens, self._states = tokens, None

    def look_at(self, contexts: Iterable[tuple[int, ...]], limits: Limits) -> None:
        """Where a prefix is sought: it is the longest that more than half of the contexts share."""
        if not self.is_sought:
            return
        distinct = dict.fromkeys(contexts)
        inputs = [(unmerged(context, number), len(context) - 1, ()) for number, context in enumerate(distinct)]
        plan = make_plan(inputs, replace(limits, block_overhead=0, row_branch_tokens=0))
        rows = [sum(map(len, block.batches)) for block in plan.blocks]
        for index in reversed(range(len(rows))):
            if (parent := plan.blocks[index].parent) >= 0:
                rows[parent] += rows[index]
        shared = [block.tokens for count, block in zip(rows, plan.blocks, strict=True) if 2 * count > len(inputs)]
        self.tokens = max([self.tokens, *shared], key=len)

    def of(self, tokens: tuple[int, ...], read: Callable[[tuple[int, ...]], Past | None]) -> Past | None:
        """What the model keeps of `tokens`; None where the prefix does not begin with them, or a past cannot be cut.

        `read` computes the whole prefix.
        """
        if not self.tokens or tokens != self.tokens[: len(tokens)]:
            return None
        if self._states is None:
            self._states = read(self.tokens)
        if len(tokens) == len(self.tokens) or self._states is None:
            return self._states
        if not isinstance(self._states, list):
            return None
        return [(keys[:, :, : len(tokens)], values[:, :, : len(tokens)]) for keys, values in self._states]

    def drop(self) -> None:
        """The weights are others: what was computed with the old ones goes."""
        self._states = None

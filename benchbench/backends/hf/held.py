"""The prefix that a task's requests share, where they are asked in parts: found in the first, computed once for all."""

from __future__ import annotations

from benchbench.backends.hf.cache import Past
from benchbench.backends.plan import PrefixPlan


class HeldBlock:
    """A shared prefix, and what the model keeps of it from one part of a task to the next.

    Which prefix it is, the first part says to all others: what is computed of a part does not depend on what was
    computed before it.
    """

    def __init__(self) -> None:
        self.is_sought = False
        """Requests are asked now in order to find it."""
        self.tokens: tuple[int, ...] = ()
        self.states: Past | None = None
        self._found: tuple[int, tuple[int, ...]] = (0, ())
        """The tokens that the best prefix saves, and it."""

    @property
    def found(self) -> tuple[int, ...]:
        """The prefix that saves most in what was looked at; empty where none saves anything."""
        return self._found[1]

    def seek(self) -> None:
        """From now on prefixes are looked at; none is held."""
        self.take(())
        self.is_sought, self._found = True, (0, ())

    def take(self, tokens: tuple[int, ...]) -> None:
        """This prefix is held."""
        self.is_sought = False
        if tokens != self.tokens:
            self.tokens, self.states = tokens, None

    def look_at(self, plan: PrefixPlan) -> None:
        """Where a prefix is sought: which of the plan's is it, by what it saves."""
        if not self.is_sought:
            return
        rows = [sum(map(len, block.batches)) for block in plan.blocks]
        for index in reversed(range(1, len(rows))):
            if (parent := plan.blocks[index].parent) > 0:
                rows[parent] += rows[index]
        saved = [
            ((count - 1) * len(block.tokens), block.tokens) for count, block in zip(rows, plan.blocks, strict=True)
        ]
        self._found = max([self._found, *saved])

    def drop(self) -> None:
        """The weights are others: what was computed with the old ones goes."""
        self.states = None

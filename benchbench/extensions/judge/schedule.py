"""Which matches are judged: all, or, where that costs too much, those that are expected to decide most."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np

from benchbench.core.ids import content_hash
from benchbench.extensions.judge.pairs import Match
from benchbench.stats.bradley_terry import expected_gains

Pair = tuple[int, int]
FIRST = 2
"""Matches that every pair has before any choice is made, as far as they are allowed."""


class Schedule:
    """Deals out the docs of each pair in an order of its own that is always the same, so that work can be resumed."""

    def __init__(self, names: Sequence[str], docs: Callable[[int, int], Sequence[int]]) -> None:
        """`docs` gives what both models of a pair answered."""
        self._met = np.zeros((len(names), len(names)))
        self.pairs: list[Pair] = list(combinations(range(len(names)), 2))
        self._left = {
            pair: sorted(docs(*pair), key=lambda doc, pair=pair: content_hash([names[pair[0]], names[pair[1]], doc]))  # type: ignore[misc]
            for pair in self.pairs
        }

    @property
    def left(self) -> int:
        """Matches that were not dealt out yet."""
        return sum(map(len, self._left.values()))

    def all(self) -> list[Match]:
        """Every match that is left, by pair and doc."""
        return [self._next(pair) for pair in self.pairs for _ in range(len(self._left[pair]))]

    def even(self, most: int) -> list[Match]:
        """The first matches: as many for each pair, at most so many."""
        return [*self._dealt(most)]

    def _dealt(self, most: int) -> Iterator[Match]:
        for _ in range(FIRST):
            for pair in self.pairs:
                if most and self._left[pair]:
                    most -= 1
                    yield self._next(pair)

    def best(self, decided: Callable[[Pair], bool], count: int) -> list[Match]:
        """The next matches: each time the pair of which one more tells most; undecided pairs first."""
        chosen: list[Match] = []
        while len(chosen) < count:
            there = [pair for pair in self.pairs if self._left[pair]]
            wanted = [pair for pair in there if not decided(pair)] or there
            if not wanted:
                break
            chosen.append(self._next(wanted[int(expected_gains(self._met, wanted).argmax())]))
        return chosen

    def _next(self, pair: Pair) -> Match:
        self._met[pair] += 1
        self._met[pair[::-1]] += 1
        return Match(*pair, self._left[pair].pop(0))

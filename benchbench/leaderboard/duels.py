"""Every pair of models on one task, doc by doc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchbench.core.errors import StoreError
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Entry, Variant
from benchbench.stats.matrix import DuelMatrix, duel_matrix

SEED = 1234


@dataclass(frozen=True, slots=True)
class TaskDuels:
    """The duels of one variant."""

    entries: tuple[Entry, ...]
    places: dict[int, int]
    """id(entry) → its row and column."""
    matrix: DuelMatrix
    wins: NDArray[np.bool_]
    """Row is significantly better than column, after Holm over all pairs on this task."""
    num_docs: int
    """Docs that all of them have a score for."""
    dropped: int
    """Docs left out because a model has no score for them."""

    def balance(self, entry: Entry) -> tuple[int, int]:
        """How many models it beats, and how many beat it."""
        place = self.places[id(entry)]
        return int(self.wins[place].sum()), int(self.wins[:, place].sum())


class Duels:
    """The duels of each variant among the entries that a site lists, worked out once."""

    def __init__(self, entries: Sequence[Entry], items: ItemScores) -> None:
        self._entries = entries
        self._items = items
        self._known: dict[Variant, TaskDuels | None] = {}
        self.problems: list[str] = []
        """Tasks on which models could not be compared, and why."""

    def of(self, variant: Variant) -> TaskDuels | None:
        """None with fewer than two models that have items."""
        if variant not in self._known:
            self._known[variant] = self._make(variant)
        return self._known[variant]

    def wins(self, variant: Variant, entries: Sequence[Entry]) -> NDArray[np.bool_] | None:
        """Shape (entries, entries); None where one of them has no items."""
        found = self.of(variant)
        if found is None:
            return None
        if any(id(entry) not in found.places for entry in entries):
            return None
        rows = [found.places[id(entry)] for entry in entries]
        return found.wins[np.ix_(rows, rows)]

    def _make(self, variant: Variant) -> TaskDuels | None:
        known = [entry for entry in self._entries if variant in entry.cells]
        entries = [entry for entry in known if self._items.has(entry.cells[variant])]
        if len(entries) < 2:
            return None
        try:
            paired = self._items.paired([entry.cells[variant] for entry in entries])
        except StoreError as error:
            self.problems.append(f"no duels on {variant.task}: {error}")
            return None
        metric = entries[0].cells[variant].metric
        matrix = duel_matrix(
            paired.scores, paired.clusters, seed=SEED, scale=metric.scale, estimates=not metric.is_mean
        )
        places = {id(entry): place for place, entry in enumerate(entries)}
        wins = matrix.wins(higher_is_better=metric.higher_is_better)
        return TaskDuels(tuple(entries), places, matrix, wins, paired.scores.shape[1], paired.dropped)

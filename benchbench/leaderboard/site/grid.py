"""The grid of models and tasks on a board's page: is a model told apart from the best on a task?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.leaderboard.board import Coverage
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.records import Entry, Variant
from benchbench.leaderboard.site.parts import Link, link, task_page, value
from benchbench.stats.testing import benjamini_hochberg

HEAT_MODELS, HEAT_TASKS = 30, 24


@dataclass(frozen=True, slots=True)
class HeatCell:
    """A normalised score on the grid of models and tasks."""

    raw: str | None
    text: str
    shade: int
    """0 to 5."""
    mark: str
    """`●` not told apart from the best model, `▼` worse, empty: nothing to compare by."""


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A model on the grid."""

    link: Link
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """The grid of models and tasks."""

    columns: tuple[Link, ...]
    rows: tuple[HeatRow, ...]


def heat_of(group: Coverage, duels: Duels, titles: dict[Variant, str]) -> Heat | None:
    """Models × tasks: is a model told apart from the best of those shown on this task?"""
    standings, variants = group.standings[:HEAT_MODELS], group.variants[:HEAT_TASKS]
    if len(standings) < 2 or len(variants) < 2:
        return None
    marks = _against_best([standing.entry for standing in standings], variants, duels)
    rows = tuple(
        HeatRow(
            link(standing.entry),
            tuple(_heat_cell(standing.normalised[v], mark) for v, mark in zip(variants, own, strict=True)),
        )
        for standing, own in zip(standings, marks, strict=True)
    )
    return Heat(tuple(Link(task_page(v.task), titles[v]) for v in variants), rows)


def _heat_cell(normalised: float, mark: str) -> HeatCell:
    shown = value(100 * normalised, 1)
    return HeatCell(shown.raw, shown.text, int(min(5, max(0, normalised * 6))), mark)


def _against_best(entries: Sequence[Entry], variants: Sequence[Variant], duels: Duels) -> list[list[str]]:
    p = np.full((len(entries), len(variants)), np.nan)
    best = {}
    for j, variant in enumerate(variants):
        found = duels.of(variant)
        places = {} if found is None else found.places
        if found is None or any(id(entry) not in places for entry in entries):
            continue
        top = max(range(len(entries)), key=lambda i: entries[i].cells[variants[j]].value or 0.0)
        best[j] = top
        p[:, j] = [found.matrix.p[places[id(entry)], places[id(entries[top])]] for entry in entries]
        p[top, j] = np.nan
    known = ~np.isnan(p)
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = benjamini_hochberg(p[known])
    return [
        [
            "" if j not in best else "●" if i == best[j] or not q[i, j] < 0.05 else "▼"
            for j in range(len(variants))
        ]
        for i in range(len(entries))
    ]  # fmt: skip

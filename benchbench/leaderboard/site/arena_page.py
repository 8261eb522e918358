"""Arenas: models as a judge prefers them. Apart from the board, each marked with its judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchbench.core.format import name, shown
from benchbench.leaderboard.site.parts import Value, value
from benchbench.store.arena import ArenaRecord, ArenaStanding, elo


@dataclass(frozen=True, slots=True)
class ArenaModel:
    """A model's line."""

    rank: str
    model: str
    cells: tuple[Value, ...]
    """Elo, both ends of its interval, share of wins, comparisons, Elo at the same length."""


@dataclass(frozen=True, slots=True)
class ArenaTable:
    """One arena."""

    task: str
    judge: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[ArenaModel, ...]


@dataclass(frozen=True, slots=True)
class ArenaPage:
    """All arenas."""

    template: ClassVar[str] = "arena.html"
    arenas: tuple[ArenaTable, ...]


def arena_page(records: Sequence[ArenaRecord]) -> ArenaPage:
    """The page of these arenas."""
    return ArenaPage(tuple(map(_table, records)))


def _table(record: ArenaRecord) -> ArenaTable:
    facts = [
        ("Matches", f"{record.matches:,} of {record.possible:,}, on {record.questions} questions, both orders each"),
        ("Ties", f"{record.ties:.0%}"),
        ("Orders agree", "" if record.consistent is None else f"{record.consistent:.0%}"),
        ("Position bias", _share(record.position)),
        ("Length bias", _share(record.length)),
        ("Unreadable", f"{record.unreadable} comparisons" if record.unreadable else ""),
        *(("Note", text) for text in record.remarks),
    ]
    said = tuple((label, shown(text, 400)) for label, text in facts if text)
    return ArenaTable(name(record.task), name(record.judge), said, tuple(map(_row, record.standings)))


def _share(known: Sequence[float | None]) -> str:
    numbers = [f"{one:+.3f}" for one in known if one is not None]
    return numbers[0] + (f" [{', '.join(numbers[1:])}]" if len(numbers) == 3 else "") if numbers else ""


def _row(one: ArenaStanding) -> ArenaModel:
    low, high = one.rank_low, one.rank_high
    rank = "–" if low is None or high is None else str(low) if low == high else f"{low}–{high}"
    *points, controlled = (
        value(None if x is None else elo(x), 0) for x in (one.strength, one.low, one.high, one.controlled)
    )
    cells = [*points, value(one.wins, 3), value(one.comparisons), controlled]
    return ArenaModel(rank, name(one.model), tuple(cells))

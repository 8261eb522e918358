"""The grades that one judge gave a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Place = tuple[int, int, int, int]
"""(doc id, repeat of the answer, turn, repeat of the judgement), each but the first from 0."""


@dataclass(frozen=True, slots=True)
class Grades:
    """What one judge said of a task: grades by place; None where no grade can be read."""

    judge: str
    by_place: Mapping[Place, float | None]
    failed: int
    """Judgements that could not be made at all."""
    _by_turn: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for (doc_id, _, turn, _), grade in self.by_place.items():
            if grade is not None:
                self._by_turn.setdefault((doc_id, turn), []).append(grade)

    @property
    def unparsable(self) -> int:
        """Judgements in which no grade can be read, without those that could not be made."""
        return sum(grade is None for grade in self.by_place.values()) - self.failed

    def of(self, doc_id: int, turn: int) -> list[float]:
        """All grades of a turn."""
        return self._by_turn.get((doc_id, turn), [])

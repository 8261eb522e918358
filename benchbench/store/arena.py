"""What `benchbench arena` leaves: `<results>/arena/<task>-<judge>-<hash>.json`, one file for models, task and judge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchbench.core.errors import StoreError
from benchbench.core.ids import content_hash
from benchbench.core.json_record import JsonRecord
from benchbench.core.types import Json
from benchbench.store.files import make_folder, read_json, write_json
from benchbench.store.names import folder_name

FOLDER = "arena"
ARENA_SCHEMA_VERSION = 1
ELO = 400 / math.log(10)
"""Elo points of one on the logistic scale."""


def elo(strength: float) -> float:
    """A strength on the scale of chess players, with 1000 for the mean."""
    return 1000 + ELO * strength


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaStanding(JsonRecord):
    """One model in an arena."""

    model: str
    run: str = ""
    """Name of the run whose answers were compared."""
    strength: float
    """On the logistic scale; the mean over models is 0."""
    low: float | None = None
    high: float | None = None
    """Its 95 % interval."""
    rank_low: int | None = None
    rank_high: int | None = None
    """Places that it may hold, all models at once."""
    wins: float | None = None
    """Share of its comparisons that it won, ties half."""
    comparisons: int = 0
    controlled: float | None = None
    """Strength with position and length held equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaRecord(JsonRecord):
    """Models, best first, as a judge prefers them."""

    schema_version: int = ARENA_SCHEMA_VERSION
    task: str
    judge: str
    """Its name, or those of a panel."""
    identity: Json = None
    """All that must be equal for two arenas to be compared: judges, prompts, sampling."""
    standings: tuple[ArenaStanding, ...]
    matches: int
    possible: int
    """Matches that there are."""
    questions: int
    ties: float
    """Share of the comparisons, disagreement of the two orders included."""
    consistent: float | None = None
    """Share of the comparisons in which both orders say the same."""
    unreadable: int = 0
    position: tuple[float | None, ...] = ()
    """How much more often the answer shown first is preferred: value, and its interval."""
    length: tuple[float | None, ...] = ()
    """Coefficient of the relative length difference: value, and its interval."""
    remarks: tuple[str, ...] = ()
    finished: str = ""

    schema: ClassVar[int | None] = ARENA_SCHEMA_VERSION


def write_arena(results: Path, record: ArenaRecord) -> Path:
    """Writes it, in the place of an earlier one of the same models, task and judge; returns where."""
    models = sorted(one.model for one in record.standings)
    digest = content_hash([models, record.task, record.identity], digits=8)
    path = results / FOLDER / f"{folder_name(f'{record.task}-{record.judge}')}-{digest}.json"
    make_folder(path.parent)
    write_json(path, record.to_json())
    return path


def read_arenas(roots: Sequence[Path]) -> tuple[list[ArenaRecord], list[str]]:
    """All arenas below results folders, by task and judge, and what could not be read."""
    found, problems = [], []
    for path in sorted(path for root in roots for path in (root / FOLDER).glob("*.json")):
        try:
            found.append(ArenaRecord.from_json(read_json(path), str(path)))
        except StoreError as error:
            problems.append(f"{FOLDER}/{path.name}: {str(error).replace(str(path), path.name)}")
    return sorted(found, key=lambda one: (one.task, one.judge, one.finished)), problems

"""Forecasts of a training's scores from the other trainings in the store, and how good they were where it is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchbench.core.errors import ArgumentError, did_you_mean
from benchbench.core.format import magnitude, several
from benchbench.core.types import Json
from benchbench.leaderboard.records import Entry, Records, Variant, some_of, training_named
from benchbench.leaderboard.training import SMOOTH
from benchbench.stats.forecast import Course, Forecast, forecast, power_law

SHARES = (0.3, 0.5)
"""Of a training, after which the rest is forecast in the back-test."""


@dataclass(frozen=True, slots=True)
class ForecastRow:
    """What is expected of one task."""

    training: str
    task: str
    metric: str
    last: float
    """Place and score of the last checkpoint."""
    last_value: float
    found: Forecast | None
    refused: str | None
    """Why there is none."""

    @property
    def sentence(self) -> str:
        """The forecast in words."""
        what = f"{self.task} {self.metric}"
        if self.found is None or self.refused is not None:
            return f"{what}: no forecast: {self.refused}."
        low, high = self.found.interval(0.9)
        test = self.found.test
        count = several(test.trainings, "other training")
        return (
            f"{what}: {self.found.value:.4f} expected at {magnitude(self.found.at)}, 90 % prediction interval"
            f" {low:.4f}…{high:.4f}; now {self.last_value:.4f}. Forecasts of {count} from there were off by"
            f" {test.forecast:.4f} on average, 'stays as it is' by {test.stays:.4f},"
            f" a power law by {test.power_law:.4f}."
        )


@dataclass(frozen=True, slots=True)
class BackTestRow:
    """All trainings of one task, each forecast from the others."""

    task: str
    metric: str
    share: float
    """Of the training that was seen."""
    trainings: int
    refused: int
    """Forecasts that would not have been given; they are in none of the figures."""
    forecast: float
    """Mean absolute errors."""
    stays: float
    power_law: float
    covered_80: float
    covered_90: float


Courses = Mapping[Variant, Mapping[str, Course]]


def courses_of(records: Records) -> dict[Variant, dict[str, Course]]:
    """Every task's curves by training, of the metric that the task is known by."""
    found: dict[Variant, dict[str, Course]] = {}
    for name, entries in records.trainings().items():
        for variant in sorted({_asked(variant) for entry in entries for variant in entry.cells}):
            course = _course(name, entries, variant)
            if course is not None:
                found.setdefault(variant, {})[name] = course
    return found


def _asked(variant: Variant) -> Variant:
    """Imported scores of one task go together, whether or not their docs were counted."""
    return replace(variant, num_docs="?") if variant.kind == "imported" else variant


def _course(name: str, entries: Sequence[Entry], variant: Variant) -> Course | None:
    has_steps = all(entry.step is not None for entry in entries)
    points: list[tuple[int, float, float | None]] = []
    for entry in entries:
        place = entry.step if has_steps else entry.tokens_seen
        cell = next((cell for known, cell in entry.cells.items() if _asked(known) == variant), None)
        if cell is not None and cell.value is not None and place is not None:
            smooth = cell.by(SMOOTH)
            points.append((place, cell.value, None if smooth is None else smooth.value))
    if not points:
        return None
    smooth_values = [value for _, _, value in points if value is not None]
    whole = len(smooth_values) == len(points)
    places, values = (np.array([row[k] for row in points], dtype=np.float64) for k in (0, 1))
    return Course(name, places, values, np.array(smooth_values) if whole else None)


def forecast_training(
    records: Records, training: str | None, at: float, tasks: Sequence[str] | None = None
) -> list[ForecastRow]:
    """What each task of a training will score at `at` (a step, or tokens where no steps are known).

    Raises:
        ArgumentError: no such training or task.
    """
    courses, known = courses_of(records), list(records.trainings())
    name = _named(training, known)
    own = {variant: by[name] for variant, by in courses.items() if name in by}
    names = list(dict.fromkeys(variant.task for variant in own))
    for task in tasks or ():
        if task not in names:
            raise ArgumentError(
                f"{name} has no task {task!r}; it has {', '.join(names[:8])}.{did_you_mean(task, names)}"
            )
    rows = []
    for variant, seen in own.items():
        if tasks is None or variant.task in tasks:
            bank = [course for other, course in courses[variant].items() if other != name]
            rows.append(_row(variant, seen, bank, at))
    return rows


def _row(variant: Variant, seen: Course, bank: Sequence[Course], at: float) -> ForecastRow:
    found, why = None, None
    try:
        found = forecast(seen, bank, at)
        why = None if found.refused is None else f"in the back-test {found.refused}"
    except ValueError as error:
        why = str(error)
    last = float(seen.places[-1]), float(seen.values[-1])
    return ForecastRow(seen.name, variant.task, variant.metric, *last, found, why)


def _named(training: str | None, known: Sequence[str]) -> str:
    if training is not None:
        return training_named(training, known)
    if len(known) != 1:
        raise ArgumentError(f"name the training to forecast; here are {some_of(known)}.")
    return known[0]


def back_test(records: Records, tasks: Sequence[str] | None = None) -> list[BackTestRow]:
    """Forecasts of every training's last score, from its first 30 and 50 % and the other trainings' whole courses.

    ArgumentError where no task has enough trainings.
    """
    rows = []
    for variant, courses in courses_of(records).items():
        if tasks is None or variant.task in tasks:
            rows += [row for share in SHARES if (row := _tested(variant, list(courses.values()), share)) is not None]
    if not rows:
        raise ArgumentError(
            "no task here has nine trainings that go equally far: there is nothing to test forecasts on."
        )
    return rows


def _tested(variant: Variant, courses: Sequence[Course], share: float) -> BackTestRow | None:
    errors: list[tuple[float, float, float, bool, bool]] = []
    refused = 0
    for course in courses:
        at, truth = float(course.places[-1]), float(course.values[-1])
        seen = course.until(share * at)
        try:
            found = forecast(seen, [other for other in courses if other is not course], at)
        except ValueError:
            continue
        if found.refused is not None:
            refused += 1
            continue
        off = abs(found.value - truth)
        plain = abs(float(seen.values[-1]) - truth), abs(power_law(seen, at) - truth)
        errors.append((off, *plain, off <= found.half_80, off <= found.half_90))
    if not errors:
        return BackTestRow(variant.task, variant.metric, share, 0, refused, *[float("nan")] * 5) if refused else None
    means = np.array(errors, dtype=np.float64).mean(axis=0).tolist()
    return BackTestRow(variant.task, variant.metric, share, len(errors), refused, *means)


def summed(rows: Sequence[BackTestRow], share: float) -> BackTestRow:
    """All tasks together: every forecast counts alike."""
    own = [row for row in rows if row.share == share and row.trainings]
    counts = np.array([row.trainings for row in own], dtype=np.float64)
    names = ("forecast", "stays", "power_law", "covered_80", "covered_90")
    means = [
        float(counts @ [getattr(row, name) for row in own] / counts.sum()) if own else float("nan") for name in names
    ]
    refused = sum(row.refused for row in rows if row.share == share)
    return BackTestRow("all tasks", "", share, int(counts.sum()), refused, *means)


def as_json_row(row: ForecastRow) -> dict[str, Json]:
    """A forecast for `--json`."""
    found = row.found
    facts: dict[str, Json] = {name: getattr(row, name) for name in ("training", "task", "metric", "last", "last_value")}
    if found is None or row.refused is not None:
        return {**facts, "value": None, "refused": row.refused, "sentence": row.sentence}
    ends: dict[str, Json] = {}
    for level in (0.8, 0.9):
        low, high = found.interval(level)
        ends[f"interval_{level:.0%}".rstrip("%")] = [low, high]
    test = found.test
    tested: dict[str, Json] = {name: getattr(test, name) for name in ("forecast", "stays", "power_law", "trainings")}
    more: dict[str, Json] = {"at": found.at, "value": found.value, "uses_bits_per_byte": found.uses_smooth}
    return {**facts, **more, **ends, "back_test": tested, "refused": None, "sentence": row.sentence}

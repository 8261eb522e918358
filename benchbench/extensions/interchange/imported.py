"""What a reader finds in a file of another harness, before it becomes a run folder."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, TypeVar

from benchbench.core import registry
from benchbench.core.ids import content_hash
from benchbench.core.json_record import finite
from benchbench.core.record import (
    UNKNOWN,
    BackendRecord,
    Example,
    Origin,
)
from benchbench.core.types import Item, Json
from benchbench.store.names import home_of

PREFERRED = ("acc", "exact_match", "f1", "acc_norm", "bleu", "word_perplexity", "perplexity", "ppl")
"""Which metric a task is known by, if it has one of these: sources list metrics in any order."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What a samples file holds."""

    items: tuple[Item, ...]
    """One per doc, by its number: the scores of further filters become scores `metric,filter`."""
    example: Example | None
    """Prompt and continuations of the first doc, as they were asked; None if the file does not hold them."""
    problems: tuple[str, ...] = ()
    """What could not be taken, a sentence each, without its full stop."""


MOST_SHOTS = 10**6
"""More than any prompt holds."""


class SamplesSource(Protocol):
    """Where the items of a task lie: read when they are wanted, for such files can be large."""

    @property
    def path(self) -> Path:
        """The file."""
        ...

    def read(self) -> Samples:
        """Everything that can be read; what is damaged is named."""
        ...


Training: TypeAlias = "tuple[str, str | None, tuple[tuple[str, str], ...]]"
"""Series, where it lay, and the arguments that change its numbers."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a source says of a row beyond its value and error, taken as it stands."""

    ci_low: float | None = None
    ci_high: float | None = None
    n_clusters: int | None = None
    se_method: str | None = None
    signature: str | None = None
    """Of a row that benchbench wrote."""


@dataclass(frozen=True, slots=True)
class ImportedScore:
    """One value of a table or results file."""

    metric: str
    """`name` or `name,filter`."""
    value: float | None
    stderr: float | None
    n: int | None
    higher_is_better: bool
    note: str | None = None
    stated: Stated | None = None
    """None: the interval is worked out from the standard error."""


@dataclass(frozen=True, slots=True)
class ImportedTask:
    """One task of a run."""

    scores: tuple[ImportedScore, ...]
    version: str | int | float | None = None
    num_fewshot: int | None = None
    """None: the source does not say."""
    output_type: str | None = None
    chance: float | None = None
    """Score of a guesser."""
    resolved: Mapping[str, Json] = field(default_factory=dict)
    """The task's configuration, where the source holds it."""
    samples: SamplesSource | None = None
    """Where its items lie, if the source holds them."""
    asked: tuple[str, ...] = ()
    """How it was asked, apart from shots, where that moves numbers."""

    @property
    def lacks_chance(self) -> bool:
        """Something is chosen from, and no source says what a guesser gets."""
        return self.chance is None and self.output_type == "multiple_choice"


@dataclass(frozen=True, slots=True)
class ImportedGroup:
    """A mean of several tasks."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool
    scores: tuple[ImportedScore, ...] = ()
    num_fewshot: int | None = None
    """Where the source says it of the group and its tasks do not."""


@dataclass(frozen=True, slots=True)
class ImportedModel:
    """What a source says of its model."""

    name: str
    """As we name models: a checkpoint is `model@step500`."""
    series: str
    """The training run that it is a checkpoint of; of other models the name again."""
    step: int | None = None
    tokens_seen: int | None = None
    location: str | None = None
    """Folder or hub name, as the source has it."""
    arguments: tuple[tuple[str, str], ...] = ()
    """(name, value), by name, of what else changes its weights or its numbers, such as `dtype` or `peft`."""

    @property
    def training(self) -> Training:
        """What checkpoints of one training share."""
        home = None if self.location is None else home_of(self.location)
        return (self.series, home, self.arguments)

    @property
    def identity(self) -> str:
        """What stands in the record for the identity of weights that nobody has seen."""
        if self.location is None:
            return f"{UNKNOWN}, imported as {self.name}"
        known = content_hash([self.name, self.location, self.arguments], digits=8)
        return f"{UNKNOWN}, imported as {self.name} ({known})"


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """One model (or checkpoint) of a source."""

    model: ImportedModel
    tasks: Mapping[str, ImportedTask]
    origin: Origin
    groups: tuple[ImportedGroup, ...] = ()
    asked: tuple[str, ...] = ()
    """How all tasks were asked, where that moves numbers and no task says it: `chat:1a2b3c4d`, `multiturn`."""
    backend: BackendRecord | None = None
    """None: the source does not say."""
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Json] = field(default_factory=dict)
    date: str | None = None
    source_run: str | None = None
    """What the source calls the run, where it holds several of one model."""

    def values(self) -> dict[tuple[str, str], tuple[float | None, float | None]]:
        """(task, metric) → (value, standard error)."""
        return {
            (task, score.metric): (score.value, score.stderr)
            for task, found in self.tasks.items()
            for score in found.scores
        }


def items_behind(value: float | None, stderr: float | None) -> int | None:
    """How many docs a share of right answers rests on, from its standard error; None if it is no such share.

    SE² = p(1 − p)/(n − 1) gives n exactly where the scores are 0 or 1; anything else is no whole number.
    """
    if value is None or stderr is None or not 0 < value < 1 or not 0 < stderr <= 0.5:
        return None
    n = value * (1 - value) / stderr**2 + 1
    near = round(n)
    right = value * near
    whole = abs(n - near) < 1e-4 * max(1.0, n / 1000) and abs(right - round(right)) < 1e-4 * max(1.0, n / 1000)
    return near if near > 1 and whole else None


def imported_score(
    metric: str, value: float | None, stderr: float | None, n: int | None, higher_is_better: object = None
) -> ImportedScore:
    """A value as a source has it, with what can be worked out where the source does not say."""
    known = finite(value)
    note = None if known is not None else "the value is missing" if value is None else f"the value is {value}"
    if n is None and (n := items_behind(known, stderr)) is not None:
        note = "n worked out from the standard error"
    if higher_is_better is None:
        higher_is_better = registry.higher_is_better(metric.partition(",")[0])
    return ImportedScore(metric, None if known is None else float(known), stderr, n, bool(higher_is_better), note)


def missing_score(metric: str, value: object, n: int | None, higher_is_better: object = None) -> ImportedScore:
    """A metric whose value is no number, with a note of what stands there instead."""
    score = imported_score(metric, None, None, n, higher_is_better)
    return score if value is None else replace(score, note=f"the value is {str(value)[:60]!r}, no number")


def in_order(scores: Iterable[ImportedScore]) -> tuple[ImportedScore, ...]:
    """The metric that a task is known by first, the others as they come."""
    places = {name: place for place, name in enumerate(PREFERRED)}
    return tuple(sorted(scores, key=lambda score: places.get(score.metric.partition(",")[0], len(places))))


def is_number(value: object) -> TypeGuard[int | float]:
    """A JSON number, also NaN and infinity."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def scores_in(scores: Mapping[str, Any], n: int | None, better: Mapping[str, Any]) -> tuple[ImportedScore, ...]:
    """Values with their standard errors: `acc,none` and `acc_stderr,none`, or `acc` and `acc_stderr`.

    Args:
        n: docs behind each value, if the source says so.
        better: metric → whether higher is better.
    """
    found = []
    for key, value in scores.items():
        name, _, pipeline = key.partition(",")
        if name.endswith("_stderr") or key in ("alias", "name", "sample_len", "samples"):
            continue
        error_key = f"{name}_stderr{',' + pipeline if pipeline else ''}"
        metric = name if pipeline in ("", "none") else f"{name},{pipeline}"
        if is_number(value):
            error = scores.get(error_key)
            stderr = float(error) if is_number(error) and math.isfinite(float(error)) and error >= 0 else None
            found.append(imported_score(metric, value, stderr, n, better.get(name)))
        elif (pipeline or error_key in scores) and (value is None or isinstance(value, str | bool)):
            found.append(missing_score(metric, value, n, better.get(name)))
    return in_order(found)


Of = TypeVar("Of")


def one_run_each(found: Iterable[tuple[Of, str, ImportedTask]]) -> dict[tuple[Of, int], dict[str, ImportedTask]]:
    """Tasks by model, and by a number: a task that stands twice (other shots, measured again) is of a further run."""
    runs: dict[tuple[Of, int], dict[str, ImportedTask]] = {}
    for of, name, task in found:
        number = next(n for n in itertools.count() if name not in runs.get((of, n), {}))
        runs.setdefault((of, number), {})[name] = task
    return runs


def version_in(value: object) -> str | int | float | None:
    """A task's version as a record holds it: text, or a number that JSON can hold; None for anything else."""
    if isinstance(value, str) or (is_number(value) and math.isfinite(value)):
        return value
    return None


def shots_in(value: object) -> int | None:
    """A number of shots; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_SHOTS else None

"""Training against training: curves of two or more on one axis, differences on the same docs, and what is saved.

One builder for terminal, pictures, JSON and pandas; what may be said is in `benchbench.stats.curve_pair`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from benchbench.core.errors import ArgumentError, StoreError, did_you_mean
from benchbench.core.format import magnitude
from benchbench.core.types import Json
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Cell, Entry, Records, Variant, training_named
from benchbench.leaderboard.training import NORMALISED
from benchbench.leaderboard.training_pair import ALL, By, PairRow, figures, point_figures
from benchbench.leaderboard.trainings import series_of_cells
from benchbench.leaderboard.weights import Weighting, benchmarks, weights_of
from benchbench.stats.curve_pair import CurvePair, common_places, pair_verdict
from benchbench.stats.series import Series, series_of_tasks
from benchbench.stats.testing import ALPHA, DELTA

if TYPE_CHECKING:
    import pandas as pd

FLOPS_PER_TOKEN = 6
"""Operations per parameter and token of training. Source: Kaplan et al., arXiv 2001.08361, §2.1."""


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How trainings are compared."""

    by: By | None = None
    """None: steps where every checkpoint tells one, else tokens."""
    tokens_per_step: tuple[int, ...] = ()
    """For checkpoints that do not tell their tokens: of each training, or one for all."""
    tasks: tuple[str, ...] | None = None
    metric: str | None = None
    delta: float | None = None
    weighting: Weighting = "benchmarks"


@dataclass(frozen=True, slots=True)
class TrainingComparison:
    """Every pair of the trainings, the later against the earlier; the mean of all tasks first."""

    names: tuple[str, ...]
    axis: By
    rows: tuple[PairRow, ...]
    refused: tuple[tuple[str, str, str, str], ...]
    """a, b, task and why it is not compared."""


def find_trainings(names: Sequence[str], records: Records) -> list[tuple[str, tuple[Entry, ...]]]:
    """The trainings of these names: a series' name, or the last part of it.

    Raises:
        ArgumentError: fewer than two names, one twice, or one that fits none or several.
    """
    if len(names) < 2:
        raise ArgumentError("two trainings at least are compared: `benchbench sweep compare A B`.")
    known = records.trainings()
    if not known:
        raise ArgumentError(
            "there are no checkpoints of any training here. Start with `benchbench sweep --model FOLDER`."
        )
    found = []
    for name in names:
        whole = training_named(name, list(known))
        found.append((whole, known[whole]))
    if len({name for name, _ in found}) < len(found):
        raise ArgumentError(f"a training is not compared with itself: {', '.join(names)}. Name each once.")
    return found


def compare_trainings(
    trainings: Sequence[tuple[str, Sequence[Entry]]], options: PairOptions | None = None
) -> TrainingComparison:
    """Every pair of trainings on every task that both were asked in the same way.

    Half of the chance of a false claim goes to the mean of all tasks, the rest in equal parts to the tasks; pairs share
    it alike (Bonferroni).

    Raises:
        ArgumentError: an axis that a checkpoint does not tell.
        StoreError: no two of them share a task and a part of the axis.
    """
    chosen, items = options or PairOptions(), ItemScores()
    axis = _axis(trainings, chosen)
    _refuse_unordered(trainings)
    made = [
        _Side(name, tuple(entries), _places(name, k, entries, axis, chosen, len(trainings)))
        for k, (name, entries) in enumerate(trainings)
    ]
    rows: list[PairRow] = []
    refused: list[tuple[str, str, str, str]] = []
    pairs = list(combinations(made, 2))
    for a, b in pairs:
        rows += _Duel(a, b, axis, items, chosen, ALPHA / len(pairs)).rows(refused)
    if not rows:
        why = f": {refused[0][2]}: {refused[0][3]}" if refused else ""
        raise StoreError(f"nothing can be compared{why}.")
    return TrainingComparison(tuple(side.name for side in made), axis, tuple(rows), tuple(refused))


@dataclass(frozen=True, slots=True)
class _Side:
    name: str
    entries: tuple[Entry, ...]
    places: tuple[int, ...]

    def cells(self, variant: Variant, metric: str) -> tuple[list[int], list[Cell]]:
        found = [
            (place, cell)
            for place, entry in zip(self.places, self.entries, strict=True)
            if variant in entry.cells and (cell := entry.cells[variant].by(metric)) is not None
        ]
        return [place for place, _ in found], [cell for _, cell in found]


@dataclass(frozen=True, slots=True)
class _Found:
    """A task that both have."""

    cell: Cell
    pair: CurvePair
    has_items: bool


@dataclass(frozen=True, slots=True)
class _Duel:
    a: _Side
    b: _Side
    axis: By
    items: ItemScores
    options: PairOptions
    level: float

    def rows(self, refused: list[tuple[str, str, str, str]]) -> list[PairRow]:
        """The mean of all tasks, where two or more can be in it, then each task."""
        found: dict[str, _Found] = {}
        for variant in self._variants(refused):
            metric = self.options.metric or variant.metric
            if variant.task in found:
                continue
            try:
                found[variant.task] = self._task(variant, metric)
            except (StoreError, ValueError) as error:
                refused.append((self.a.name, self.b.name, variant.task, str(error).rstrip(".")))
        refused[:] = [one for one in refused if one[:2] != (self.a.name, self.b.name) or one[2] not in found]
        overall = self._overall(found)
        part = self.level * (0.5 if overall else 1.0)
        rows = [] if overall is None else [self._row(ALL, NORMALISED, overall, self.options.delta or DELTA, part)]
        for task, one in found.items():
            about = one.cell.metric
            delta = self.options.delta or about.margin(*(abs(v) for v in one.pair.joint.values[-1:])) or DELTA
            rows.append(self._row(task, about.name, one, delta, part / len(found)))
        return rows

    def _variants(self, refused: list[tuple[str, str, str, str]]) -> list[Variant]:
        mine, theirs = ({v for entry in side.entries for v in entry.cells} for side in (self.a, self.b))
        wanted = self.options.tasks
        shared = sorted(v for v in mine & theirs if wanted is None or v.task in wanted)
        tasks = {v.task for v in shared}
        other = sorted({v.task for v in mine} & {v.task for v in theirs} - tasks)
        why = "its docs, prompt, shots or version differ"
        refused += [(self.a.name, self.b.name, task, why) for task in other if wanted is None or task in wanted]
        for task in sorted(set(wanted or ()) - tasks - set(other)):
            known = sorted({v.task for v in mine & theirs})
            raise ArgumentError(
                f"they share no task {task!r}; they share {', '.join(known[:8])}.{did_you_mean(task, known)}"
            )
        return shared

    def _task(self, variant: Variant, metric: str) -> _Found:
        (x, first), (y, second) = self.a.cells(variant, metric), self.b.cells(variant, metric)
        if not first or not second:
            raise StoreError(f"one of them has no {metric} of it")
        common_places(tuple(x), tuple(y))
        series, has_items = series_of_cells(range(len(x) + len(y)), [*first, *second], self.items)
        return _Found(second[-1], CurvePair(series, tuple(x), tuple(y)), has_items)

    def _overall(self, found: Mapping[str, _Found]) -> _Found | None:
        whole = {
            task: (one, bounds)
            for task, one in found.items()
            if (bounds := one.cell.range) is not None
            and (len(one.pair.a), len(one.pair.b)) == (len(self.a.places), len(self.b.places))
        }
        if len(whole) < 2:
            return None
        groups = benchmarks(run.record for side in (self.a, self.b) for entry in side.entries for run in entry.runs)
        docs = {task: float(one.pair.joint.n) for task, (one, _) in whole.items()}
        weights = weights_of(docs, groups, self.options.weighting)
        members: list[Series] = [one.pair.joint for one, _ in whole.values()]
        series = series_of_tasks(members, [weights[task] for task in whole], ranges=[b for _, b in whole.values()])
        last = next(iter(whole.values()))[0]
        return _Found(
            last.cell, CurvePair(series, self.a.places, self.b.places), all(o.has_items for o, _ in whole.values())
        )

    def _row(self, task: str, metric: str, found: _Found, delta: float, level: float) -> PairRow:
        of_all, about = task == ALL, found.cell.metric
        return PairRow(
            self.a.name,
            self.b.name,
            task,
            metric,
            self.axis,
            found.pair,
            pair_verdict(found.pair, delta=delta, level=level),
            of_all or about.higher_is_better,
            of_all or about.bounds == (0.0, 1.0),
            about.is_log and not of_all and found.has_items,
            found.has_items,
        )


def _axis(trainings: Sequence[tuple[str, Sequence[Entry]]], options: PairOptions) -> By:
    if options.by is not None:
        return options.by
    has_steps = all(entry.step is not None for _, entries in trainings for entry in entries)
    return "step" if has_steps else "tokens"


def _refuse_unordered(trainings: Sequence[tuple[str, Sequence[Entry]]]) -> None:
    """ArgumentError where tokens fall while steps rise: then names or lists are wrong."""
    for name, entries in trainings:
        known = [entry.tokens_seen for entry in entries if entry.tokens_seen is not None]
        if len(known) == len(entries) and known != sorted(set(known)):
            raise ArgumentError(
                f"the tokens of {name} do not rise with its steps: {', '.join(map(magnitude, known[:6]))}. Correct the"
                " list of its checkpoints (`sweep --checkpoints`)."
            )


def _places(
    name: str, number: int, entries: Sequence[Entry], axis: By, options: PairOptions, count: int
) -> tuple[int, ...]:
    if axis == "step":
        steps = [entry.step for entry in entries]
        if any(step is None for step in steps):
            raise ArgumentError(f"{name} has a checkpoint that tells no step. Give --by tokens.")
        return tuple(step for step in steps if step is not None)
    per_step = options.tokens_per_step
    if len(per_step) not in (0, 1, count):
        raise ArgumentError(
            f"--tokens-per-step has {len(per_step)} numbers for {count} trainings; give one for all, or one for each."
        )
    own = None if not per_step else per_step[0] if len(per_step) == 1 else per_step[number]
    tokens = [_tokens(entry, own) for entry in entries]
    if any(one is None for one in tokens):
        raise ArgumentError(
            f"{name} does not tell how many tokens each checkpoint has seen. Give --tokens-per-step (batch size times"
            " sequence length), or --by step."
        )
    known = [one for one in tokens if one is not None]
    if axis == "tokens":
        return tuple(known)
    size = next((entry.num_parameters for entry in entries if entry.num_parameters is not None), None)
    if size is None:
        raise ArgumentError(
            f"how many parameters {name} has is not recorded, so its operations are not known. Give --by tokens."
        )
    return tuple(FLOPS_PER_TOKEN * size * one for one in known)


def _tokens(entry: Entry, per_step: int | None) -> int | None:
    if entry.tokens_seen is not None:
        return entry.tokens_seen
    return None if per_step is None or entry.step is None else per_step * entry.step


def frame(found: TrainingComparison) -> pd.DataFrame:
    """A row per pair, task and common point, for pandas."""
    import pandas as pd

    rows: list[dict[str, Json]] = []
    for row in found.rows:
        facts = figures(row)
        shared = {name: facts[name] for name in ("a", "b", "task", "metric", "axis", "n", "outcome", "since")}
        rows += [{**shared, **point_figures(row, k)} for k in range(len(row.verdict.points))]
    return pd.DataFrame(rows)


def compare_sweeps(*trainings: str, results: str | Path = "results", by: By | None = None) -> pd.DataFrame:
    """Differences of trainings at their common points: a row per pair, task and point; b is judged against a.

    Each of `trainings` is the name of a series of checkpoints in `results`. Columns: a, b, task, metric, axis, n,
    outcome, since (place from which on the outcome holds), place, difference, ci_low, ci_high, p, interpolated,
    interpolation_error.

    Raises:
        ArgumentError: a name that fits no training, or an axis that its checkpoints do not tell.
    """
    from benchbench.leaderboard.records import read_records

    return frame(compare_trainings(find_trainings(trainings, read_records([Path(results)])), PairOptions(by)))

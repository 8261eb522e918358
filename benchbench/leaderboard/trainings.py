"""From records to trainings: curves, series of scores, shares of the error, verdicts, the mean of all tasks.

One builder for terminal, site and JSON. Curves are made from the entries of `records.py`, item scores come from
`paired.py`; what may be said of them is in `benchbench.stats.sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchbench.core.checkpoint_names import axis_of
from benchbench.core.errors import StoreError
from benchbench.core.record import Row
from benchbench.core.task_scoring import share_units
from benchbench.core.types import Json
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Cell, Entry, Variant
from benchbench.leaderboard.training import NORMALISED, SMOOTH, Curve, Point, Training, VerdictOptions
from benchbench.leaderboard.weights import Benchmark, Weighting, benchmark_of, benchmarks, mean_score, weights_of
from benchbench.stats.groups import error_correlation
from benchbench.stats.influence import Floats
from benchbench.stats.noise import Gain
from benchbench.stats.sentence import Verdict
from benchbench.stats.series import Series, series_of_estimates, series_of_items, series_of_scores, series_of_tasks
from benchbench.stats.sweep import series_verdict
from benchbench.stats.testing import DELTA, Family


def make_training(
    name: str, entries: Sequence[Entry], items: ItemScores, options: VerdictOptions | None = None
) -> Training:
    """Curves and verdicts of one training; `entries` by step."""
    chosen = options or VerdictOptions()
    ordered, axis = tuple(entries), axis_of((entry.step, entry.tokens_seen) for entry in entries)
    place = dict(zip(map(id, ordered), axis.places, strict=True))
    groups = benchmarks(run.record for entry in ordered for run in entry.runs)
    maker = _Maker(name, ordered, axis.name, place, items, groups, chosen)
    curves = [*maker.groups(), *maker.tasks()]
    made = Training(name, ordered, axis, tuple(curves), None, weighting=chosen.weighting)
    return _judged(made, groups, chosen, items)


@dataclass(frozen=True, slots=True)
class _Maker:
    """What the curves of one training are made of."""

    name: str
    entries: tuple[Entry, ...]
    axis: str
    place: Mapping[int, int]
    items: ItemScores
    benchmarks: tuple[Benchmark, ...]
    options: VerdictOptions

    def tasks(self) -> list[Curve]:
        """A curve for every metric of every way a task was asked."""
        found = []
        for variant in sorted({variant for entry in self.entries for variant in entry.cells}):
            members = [entry for entry in self.entries if variant in entry.cells]
            metrics = [row.metric for row in members[-1].cells[variant].rows]
            for metric in metrics:
                seen = [(entry, entry.cells[variant].by(metric)) for entry in members]
                cells = [(entry, cell) for entry, cell in seen if cell is not None]
                found.append(self._curve(variant, cells, is_main=metric == variant.metric))
        return found

    def _curve(self, variant: Variant, cells: Sequence[tuple[Entry, Cell]], *, is_main: bool) -> Curve:
        last = cells[-1][1]
        points = tuple(
            Point(
                self.place[id(entry)], cell.value, cell.row.ci_low, cell.row.ci_high, entry, str(cell.run.folder.path)
            )
            for entry, cell in cells
        )
        return Curve(
            training=self.name,
            task=variant.task,
            metric=last.metric.name,
            points=points,
            axis=self.axis,
            higher_is_better=last.metric.higher_is_better,
            n=last.row.n,
            chance=last.metric.floor or None,
            is_main=is_main,
            variant=variant,
            is_log=last.metric.is_log,
        )

    def groups(self) -> list[Curve]:
        """A curve for every metric of every benchmark, as the runs' records hold them."""
        rows: dict[tuple[str, str], list[tuple[Entry, str, Row]]] = {}
        for entry in self.entries:
            seen = set()
            for run in entry.runs:
                for row in run.record.rows:
                    key = (row.task, row.metric)
                    if row.is_group and key not in seen:
                        seen.add(key)
                        rows.setdefault(key, []).append((entry, str(run.folder.path), row))
        by_name = {group.name: group for group in self.benchmarks}
        main = dict(reversed(rows))
        return [
            self._group(by_name[task], metric, found, is_main=main[task] == metric)
            for (task, metric), found in rows.items()
            if task in by_name
        ]

    def _group(self, group: Benchmark, metric: str, rows: Sequence[tuple[Entry, str, Row]], *, is_main: bool) -> Curve:
        points = tuple(
            Point(self.place[id(entry)], row.value, row.ci_low, row.ci_high, entry, run) for entry, run, row in rows
        )
        last = rows[-1][2]
        return Curve(
            training=self.name,
            task=group.name,
            metric=metric,
            points=points,
            axis=self.axis,
            higher_is_better=last.higher_is_better,
            n=last.n,
            is_main=is_main,
            members=group.tasks,
        )


def _judged(made: Training, groups: Sequence[Benchmark], options: VerdictOptions, items: ItemScores) -> Training:
    """The training with its verdicts and the mean of all tasks."""
    curves = [_with_series(curve, items) if _is_judged(curve, made.curves) else curve for curve in made.curves]
    by_key = {(curve.task, curve.metric): curve for curve in curves if not curve.is_group and curve.series is not None}
    curves = [_group_series(curve, by_key, groups) if curve.is_group and curve.is_main else curve for curve in curves]
    overall, left_out = _overall(made, curves, groups, options.weighting)
    shares = _shares(curves, groups, has_overall=overall is not None)
    looks = options.looks or (1 if all(entry.is_imported for entry in made.entries) else None)
    tasks = len({curve.task for curve in curves if curve.is_main and not curve.is_group})

    def verdict(curve: Curve, share: float) -> Curve:
        return _with_reach(_with_verdict(curve, options, Family(looks, tasks, share)), items)

    return replace(
        made,
        curves=tuple(verdict(curve, shares[id(curve)]) if id(curve) in shares else curve for curve in curves),
        overall=None if overall is None else verdict(overall, 0.5),
        left_out=left_out,
    )


def _is_judged(curve: Curve, among: Sequence[Curve]) -> bool:
    """The main curve of a task, and its bits per byte where they were measured at the same checkpoints."""
    if curve.is_group:
        return False
    main = next(other for other in among if other.is_main and other.variant == curve.variant)
    same = [point.step for point in curve.points] == [point.step for point in main.points]
    return curve.is_main or (curve.metric == SMOOTH and same)


def _with_series(curve: Curve, items: ItemScores) -> Curve:
    if curve.variant is None:
        return curve
    known = [point.entry.cells[curve.variant].by(curve.metric) for point in curve.points]
    cells = [cell for cell in known if cell is not None]
    try:
        series, has_items = series_of_cells([point.step for point in curve.points], cells, items)
    except (StoreError, ValueError) as error:
        return replace(curve, problem=str(error))
    return replace(curve, series=series, has_items=has_items, n=series.n)


def series_of_cells(steps: Sequence[int], cells: Sequence[Cell], items: ItemScores) -> tuple[Series, bool]:
    """From items where every checkpoint has them, else from values and standard errors.

    Raises:
        StoreError: the items of the checkpoints do not fit together.
        ValueError: a checkpoint has neither items nor a value with a standard error.
    """
    metric = cells[0].metric
    if not all(map(items.has, cells)):
        return _of_scores(steps, cells), False
    paired = items.paired(cells)
    better, scale = metric.higher_is_better, metric.scale
    if metric.is_mean:
        return series_of_items(steps, list(paired.scores), paired.units, higher_is_better=better, scale=scale), True
    return series_of_estimates(steps, paired.estimates, paired.units, higher_is_better=better, scale=scale), True


def _of_scores(steps: Sequence[int], cells: Sequence[Cell]) -> Series:
    values, errors = [cell.value for cell in cells], [cell.stderr for cell in cells]
    counts = [cell.row.n for cell in cells if cell.row.n is not None]
    if any(value is None for value in values):
        raise ValueError("a checkpoint has no value")
    if any(error is None for error in errors):
        raise ValueError("a checkpoint has neither items nor a standard error")
    if not counts:
        raise ValueError("it is not known how many docs there were")
    known = [value for value in values if value is not None], [error for error in errors if error is not None]
    metric = cells[0].metric
    scale = None if metric.is_log else metric.scale
    return series_of_scores(steps, *known, min(counts), higher_is_better=metric.higher_is_better, scale=scale)


def _group_series(curve: Curve, known: Mapping[tuple[str, str], Curve], groups: Sequence[Benchmark]) -> Curve:
    """The weighted mean of the members' series."""
    group = next(group for group in groups if group.name == curve.task)
    members = [known.get((task, curve.metric)) for task in group.tasks]
    found = [member.series for member in members if member is not None and member.series is not None]
    if len(found) < len(members):
        return replace(curve, problem=f"not every task of {curve.task} has a {curve.metric} that can be judged")
    try:
        series = series_of_tasks(found, [float(one.n) for one in found] if group.weight_by_size else None)
    except ValueError as error:
        return replace(curve, problem=str(error))
    return replace(curve, series=series, has_items=all(member is not None and member.has_items for member in members))


def _overall(
    made: Training, curves: Sequence[Curve], groups: Sequence[Benchmark], weighting: Weighting
) -> tuple[Curve | None, tuple[str, ...]]:
    """The mean of all tasks that have a best score, a known chance and every checkpoint; and the tasks left out."""
    main = [curve for curve in curves if curve.is_main and not curve.is_group]
    chosen: dict[str, tuple[Curve, Series, tuple[float, float]]] = {}
    for curve in main:
        bounds = None if curve.variant is None else curve.points[-1].entry.cells[curve.variant].range
        whole = len(curve.points) == len(made.entries)
        if bounds is not None and whole and curve.series is not None:
            chosen.setdefault(curve.task, (curve, curve.series, bounds))
    left_out = tuple(dict.fromkeys(curve.task for curve in main if curve.task not in chosen))
    if len(chosen) < 2:
        return None, left_out
    weights = weights_of({task: float(series.n) for task, (_, series, _) in chosen.items()}, groups, weighting)
    ranges = [bounds for _, _, bounds in chosen.values()]
    series = series_of_tasks([s for _, s, _ in chosen.values()], [weights[task] for task in chosen], ranges=ranges)
    more = f" of {len(chosen) + len(left_out)}" if left_out else ""
    members = [curve for curve, _, _ in chosen.values()]
    return _mean_curve(
        made, series, f"{len(chosen)}{more} tasks", members, [weights[task] for task in chosen]
    ), left_out


def _mean_curve(
    made: Training, series: Series, title: str, members: Sequence[Curve], weights: Sequence[float]
) -> Curve:
    points = []
    for k, (place, entry) in enumerate(zip(made.axis.places, made.entries, strict=True)):
        cells = [entry.cells[curve.variant] for curve in members if curve.variant is not None]
        found = mean_score(cells, weights, _correlation(members, k))
        low, high = (None, None) if found.interval is None else found.interval
        points.append(Point(place, found.value, low, high, entry))
    return Curve(
        training=made.name,
        task=title,
        metric=NORMALISED,
        points=tuple(points),
        axis=made.axis.name,
        higher_is_better=True,
        n=series.n,
        chance=0.0,
        members=tuple(curve.task for curve in members),
        has_items=all(curve.has_items for curve in members),
        series=series,
    )


def _correlation(members: Sequence[Curve], checkpoint: int) -> Floats | None:
    """Of the errors of the members' scores; None where no two ask the same questions."""
    known = [curve.series for curve in members if curve.series is not None]
    pulls = [series.pulls[checkpoint] for series in known if series.pulls is not None]
    names = [series.units for series in known]
    return error_correlation(pulls, names) if len(pulls) == len(members) and share_units(names) else None


def _shares(curves: Sequence[Curve], groups: Sequence[Benchmark], *, has_overall: bool) -> dict[int, float]:
    """id(curve) → its share of the chance of a false claim.

    Half goes to the mean of all tasks, the rest in equal parts to the benchmarks; in a benchmark half goes to its own
    mean and the rest to its tasks. A task's bits per byte share with its main metric.
    """
    judged = [curve for curve in curves if curve.series is not None or curve.problem is not None]
    of_groups = {curve.task: curve for curve in judged if curve.is_group}
    units: dict[str, list[Curve]] = {}
    for curve in judged:
        if not curve.is_group:
            group = benchmark_of(curve.task, [group for group in groups if group.name in of_groups])
            units.setdefault(f"task {curve.task}" if group is None else group.name, []).append(curve)
    total = (0.5 if has_overall else 1.0) / max(1, len(units))
    found = {id(curve): total / 2 for name, curve in of_groups.items() if name in units}
    for name, members in units.items():
        part = total / (2 if name in of_groups else 1)
        found.update({id(curve): part / len(members) for curve in members})
    return found


def _with_verdict(curve: Curve, options: VerdictOptions, family: Family) -> Curve:
    if curve.series is None:
        return curve
    verdict = series_verdict(
        curve.series,
        chance=None if curve.metric == NORMALISED else curve.chance,
        delta=_delta(curve, options),
        higher_is_better=curve.higher_is_better,
        since=options.since,
        family=family,
    )
    return replace(curve, verdict=verdict)


def _with_reach(curve: Curve, items: ItemScores) -> Curve:
    if curve.variant is None or not curve.has_items or curve.verdict is None or curve.verdict.findings is None:
        return curve
    first, last = (
        curve.points[place].entry.cells[curve.variant].by(curve.metric) for place in (curve.verdict.findings.since, -1)
    )
    return curve if first is None or last is None else replace(curve, reach=items.reach(first, last))


def _delta(curve: Curve, options: VerdictOptions) -> float:
    """Half a percent of the metric's range, or of the last value; some margin even where that is 0."""
    if options.delta is not None:
        return options.delta
    last = curve.points[-1].value or 0.0
    if curve.variant is None:
        return DELTA * (1.0 if curve.metric == NORMALISED else max(1.0, abs(last)))
    if curve.is_log and not curve.has_items:
        return DELTA * max(1.0, abs(last))
    cell = curve.points[-1].entry.cells[curve.variant].by(curve.metric)
    margin = None if cell is None else cell.metric.margin(*([last] if last else []))
    return margin or DELTA


def figures(curve: Curve) -> dict[str, Json]:
    """The verdict as figures, with the metric's own signs: the same that its sentence names."""
    verdict = curve.verdict
    if verdict is None or verdict.findings is None:
        outcome = None if verdict is None else verdict.outcome
        return {"outcome": outcome, "since": None, "newest": None, "gain": None, "detectable": None, "noise": None}
    found = verdict.findings
    return {
        "outcome": verdict.outcome,
        "short": verdict.short,
        "since": verdict.since,
        "n": verdict.n,
        "n_clusters": verdict.n_clusters,
        "newest": {"from": verdict.steps[found.since], **_change(found.recent, verdict)},
        "gain": {"from": verdict.steps[min(found.start, len(verdict.steps) - 2)], **_change(found.gain, verdict)},
        "detectable": found.detectable,
        "noise": {"median": found.noise.tau, "upper": found.noise.upper, "checkpoints": found.noise.checkpoints},
        "p_rise": found.ever.p,
        "p_rise_lately": found.lately.p,
        "p_fall": found.fall.p,
        "adjusted_for": {"looks": verdict.looks, "tasks": verdict.family.tasks, "share": verdict.family.of_task},
    }


def _change(gain: Gain, verdict: Verdict) -> dict[str, float]:
    low, high = gain.interval()
    if verdict.higher_is_better:
        return {"value": gain.value, "ci_low": low, "ci_high": high}
    return {"value": -gain.value, "ci_low": -high, "ci_high": -low}

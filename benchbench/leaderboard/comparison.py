"""Duels from the records: two or more models on the items they share, per task and for their groups of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from benchbench.core.errors import ArgumentError, StoreError, did_you_mean
from benchbench.core.record import GroupRecord
from benchbench.core.task_scoring import share_units
from benchbench.leaderboard.metrics import metric_names, metric_of
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Cell, cell_of
from benchbench.leaderboard.weights import RULES, Weighting, benchmarks, weights_of
from benchbench.stats.difference import Reach
from benchbench.stats.duel import Duel, Outcome, TaskInfluence, duel, duel_of_estimates, duel_of_tasks
from benchbench.stats.testing import DELTA, benjamini_hochberg, holm
from benchbench.store.find import ModelRuns
from benchbench.store.folder import FinishedRun

ALL_TASKS = "all tasks"
SEED = 1234
"""Of sign flips, so that the same records give the same p."""


@dataclass(frozen=True, slots=True)
class DuelRow:
    """b against a on one task, or on the mean of several."""

    a: str
    b: str
    task: str
    metric: str
    duel: Duel
    """Scores and difference; of perplexities the logarithms, where `is_log`."""
    p_adjusted: float | None
    """Holm over the pairs of models on this task and metric."""
    q: float | None
    """Benjamini–Hochberg over all tasks and pairs of the comparison; None for means of tasks."""
    dropped: int = 0
    """Items left out because one of the two has no score for them."""
    is_log: bool = False
    is_group: bool = False
    note: str | None = None
    reach: Reach | None = None
    """Where the difference could lie if the docs that failed on one side had not; None where none did, or unknown."""
    pulls: TaskInfluence | None = field(default=None, repr=False)
    """How each doc pulls the difference, and what it is called wherever it is asked; None for means of tasks."""

    @property
    def outcome(self) -> Outcome:
        """What can be said of b against a, by the adjusted p."""
        return self.duel.outcome(self.p_adjusted)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A task on which two models cannot be compared, and why, in a sentence."""

    a: str
    b: str
    task: str
    metric: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every pair of models on every task they share."""

    models: tuple[str, ...]
    rows: tuple[DuelRow, ...]
    refused: tuple[Refusal, ...]
    num_pairs: int

    def pair(self, a: str, b: str) -> tuple[DuelRow, ...]:
        """The rows of one pair."""
        return tuple(row for row in self.rows if (row.a, row.b) == (a, b))


@dataclass(frozen=True, slots=True)
class CompareOptions:
    """What to compare by."""

    metrics: tuple[str, ...] | None = None
    """Metric names, or several in one separated by commas; None: each task's first; `all` among them: every one.
    `comet` means the scores of any COMET model, which are named `comet:MODEL`."""
    delta: float | None = None
    """Margin of equivalence in the metrics' own unit (of perplexities: of the logarithm); None: half a percent of each
    metric's range, or of the scores where it has none."""
    weighting: Weighting = "benchmarks"
    """How tasks count in the mean of all of them."""

    def choose(self, known: Sequence[str]) -> list[str]:
        """Those of a task's metrics that are wanted. A name may hold a comma itself (`metric,filter`)."""
        if self.metrics is None:
            return list(known[:1])
        if "all" in self.metrics:
            return list(known)
        parts = {part.strip() for name in self.metrics for part in ([name] if name in known else name.split(","))}
        return [name for name in known if name in parts or name.partition(":")[0] in parts]


def compare_models(models: Sequence[ModelRuns], options: CompareOptions | None = None) -> Comparison:
    """Duels of every pair of models, the later against the earlier, on the items both have.

    Raises:
        ArgumentError: fewer than two models, the same run twice, or a metric that no task has.
        StoreError: no task at all can be compared; the sentence says what differs.
    """
    chosen, items = options or CompareOptions(), ItemScores()
    _check(models, chosen)
    rows: list[DuelRow] = []
    refused: list[Refusal] = []
    for a, b in combinations(models, 2):
        runs: dict[str, tuple[FinishedRun, FinishedRun]] = {}
        for task in (task for task in a.tasks() if task in b.tasks()):
            found = _comparable(a, b, task)
            if isinstance(found, str):
                refused.append(Refusal(a.name, b.name, task, None, found))
                continue
            runs[task] = found
            for result in _duels(a.name, b.name, task, found, chosen, items):
                (rows if isinstance(result, DuelRow) else refused).append(result)  # type: ignore[arg-type]
        rows += _groups(a.name, b.name, runs, [row for row in rows if (row.a, row.b) == (a.name, b.name)], chosen)
    if not rows:
        raise StoreError(_nothing(models, refused))
    names = tuple(model.name for model in models)
    return Comparison(names, tuple(_adjusted(rows)), tuple(refused), math.comb(len(models), 2))


def _check(models: Sequence[ModelRuns], options: CompareOptions) -> None:
    if len(models) < 2:
        raise ArgumentError("a comparison needs two models or more. See `benchbench results ls`.")
    for a, b in combinations(models, 2):
        if a.runs[0].folder.path.resolve() == b.runs[0].folder.path.resolve():
            raise ArgumentError(f"two of the names mean the same run, {a.runs[0].folder.path}.")
    if options.delta is not None and not options.delta > 0:
        raise ArgumentError(f"--delta is a margin above 0 in the metric's own unit, not {options.delta}.")
    if options.metrics is not None:
        known = list(
            dict.fromkeys(
                m for one in models for run in one.runs for t in run.record.tasks for m in metric_names(run.record, t)
            )
        )
        for name in options.metrics:
            if name != "all" and not CompareOptions((name,)).choose(known):
                raise ArgumentError(
                    f"no task of these runs has a metric {name!r}.{did_you_mean(name, known)} There are"
                    f" {', '.join(known)}."
                )


def _nothing(models: Sequence[ModelRuns], refused: Sequence[Refusal]) -> str:
    if refused:
        first = refused[0]
        more = f" ({len(refused) - 1} more tasks cannot be compared either.)" if len(refused) > 1 else ""
        return f"{first.a} and {first.b} cannot be compared on {first.task}: {first.reason}{more}"
    listed = [
        f"{model.name} has {', '.join(model.tasks()[:6])}{', …' if len(model.tasks()) > 6 else ''}" for model in models
    ]
    return f"these models have no task and metric in common: {'; '.join(listed)}. Run the same tasks on each."


def _comparable(a: ModelRuns, b: ModelRuns, task: str) -> tuple[FinishedRun, FinishedRun] | str:
    """The newest runs of the two that asked the same of the same docs, or what differs between the newest."""
    pairs = [(x, y) for x in a.runs if task in x.record.tasks for y in b.runs if task in y.record.tasks]
    reasons = [difference_of_runs(x, y, task) for x, y in pairs]
    return next((p for p, reason in zip(pairs, reasons, strict=True) if reason is None), reasons[0] or "")


def difference_of_runs(x: FinishedRun, y: FinishedRun, task: str) -> str | None:
    """What keeps the two runs' items from being pairs, in a sentence; None if nothing does."""
    one, two = x.record.tasks[task], y.record.tasks[task]
    if one.num_fewshot != two.num_fewshot:
        return f"{one.num_fewshot} shots against {two.num_fewshot}. Run both with the same --num-fewshot."
    if one.data_hash != two.data_hash:
        n, m = one.counts.n, two.counts.n
        if n != m:
            return f"{n} docs against {m}. Run both with the same --limit and the same data."
        return "the documents (or the shots drawn from them) differ. Run both on the same data, seed and split."
    if one.prompt_hash != two.prompt_hash:
        return (
            "the prompts differ. Run both with the same --prompt, --seed, --fewshot-mode and task file, and with "
            "--apply-chat-template and --system alike."
        )
    if one.version != two.version:
        return f"task version {one.version} against {two.version}. Run the older one again."
    return None


def _duels(
    a: str, b: str, task: str, runs: tuple[FinishedRun, FinishedRun], options: CompareOptions, items: ItemScores
) -> Iterator[DuelRow | Refusal]:
    names = [metric_names(run.record, task) for run in runs]
    for name in options.choose([name for name in names[0] if name in names[1]]):
        cells = [cell_of(run, task).by(name) for run in runs]
        one, two = (cell for cell in cells if cell is not None)
        if one.metric.kind is None:
            reason = f"{name} is a median, which has no influence values."
        elif one.metric.identity != two.metric.identity:
            reason = f"{name} is computed differently (normalisation, filters or options differ)."
        else:
            try:
                yield _duel(a, b, (one, two), options, items)
                continue
            except StoreError as error:
                reason = str(error)
        yield Refusal(a, b, task, name, reason)


def _duel(a: str, b: str, cells: tuple[Cell, Cell], options: CompareOptions, items: ItemScores) -> DuelRow:
    metric = cells[0].metric
    paired = items.paired(cells)
    one, two = paired.estimates
    better, scale = metric.higher_is_better, metric.scale
    delta = options.delta or metric.margin(one.value, two.value)
    if metric.is_mean:
        x, y = paired.scores
        found = duel(x, y, paired.clusters, seed=SEED, delta=delta, higher_is_better=better, scale=scale)
    else:
        found = duel_of_estimates(
            one, two, paired.clusters, seed=SEED, delta=delta, higher_is_better=better, scale=scale
        )
    pulls = paired.influences[1] - paired.influences[0], paired.units
    return DuelRow(
        a,
        b,
        cells[0].task,
        metric.name,
        found,
        None,
        None,
        paired.dropped,
        metric.is_log,
        reach=items.reach(*cells),
        pulls=pulls,
    )


def _parallel(rows: Sequence[DuelRow]) -> list[TaskInfluence] | None:
    """What the tasks' docs are called, where two tasks ask the same questions; else None."""
    pulls = [row.pulls for row in rows if row.pulls is not None]
    return pulls if len(pulls) == len(rows) and share_units([units for _, units in pulls]) else None


def _groups(
    a: str,
    b: str,
    runs: Mapping[str, tuple[FinishedRun, FinishedRun]],
    rows: Sequence[DuelRow],
    options: CompareOptions,
) -> Iterator[DuelRow]:
    """A row per group whose every task was compared, then one over all tasks."""
    by_key = {(row.task, row.metric): row for row in rows}
    groups: dict[str, GroupRecord] = {}
    for pair_of_runs in runs.values():
        records = [{group.name: group for group in run.record.groups} for run in pair_of_runs]
        groups |= {name: group for name, group in records[0].items() if records[1].get(name) == group}
    for group in groups.values():
        for metric in dict.fromkeys(row.metric for row in rows):
            members = [by_key.get((task, metric)) for task in group.tasks]
            whole = [row for row in members if row is not None]
            if len(whole) > 1 and len(whole) == len(members):
                yield _group_row(a, b, group, metric, whole, options)
    yield from _all_tasks(a, b, runs, rows, options)


def _group_row(
    a: str, b: str, group: GroupRecord, metric: str, rows: Sequence[DuelRow], options: CompareOptions
) -> DuelRow:
    by_size, parallel = group.weight_by_size, _parallel(rows)
    found = duel_of_tasks(
        [row.duel for row in rows],
        [float(row.duel.n) for row in rows] if by_size else None,
        parallel=parallel,
        delta=rows[0].duel.delta if options.delta is None else options.delta,
        higher_is_better=rows[0].duel.higher_is_better,
    )
    weights = "weighted by size" if by_size else "equal weights"
    note = f"mean of {len(rows)} tasks, {weights}, {_how(parallel)}"
    dropped = sum(row.dropped for row in rows)
    return DuelRow(a, b, group.name, metric, found, None, None, dropped, rows[0].is_log, True, note)


def _how(parallel: Sequence[TaskInfluence] | None) -> str:
    return "as if independent" if parallel is None else "questions that tasks share counted once"


def _all_tasks(
    a: str,
    b: str,
    runs: Mapping[str, tuple[FinishedRun, FinishedRun]],
    rows: Sequence[DuelRow],
    options: CompareOptions,
) -> Iterator[DuelRow]:
    """The mean over tasks of the first metric, each on the scale from chance (0) to the best possible score (1)."""
    firsts = list({row.task: row for row in reversed(rows)}.values())[::-1]
    scaled: list[tuple[DuelRow, float, float]] = []
    for row in firsts:
        metric = metric_of(runs[row.task][0].record, row.task, row.metric)
        if metric.higher_is_better and metric.floor is not None and metric.ceiling is not None:
            scaled.append((row, metric.floor, metric.ceiling))
    if len(scaled) < 2:
        return
    groups = benchmarks(run.record for pair_of_runs in runs.values() for run in pair_of_runs)
    parallel = _parallel([row for row, _, _ in scaled])
    weights = weights_of({row.task: float(row.duel.n) for row, _, _ in scaled}, groups, options.weighting)
    found = duel_of_tasks(
        [row.duel for row, _, _ in scaled],
        [weights[row.task] for row, _, _ in scaled],
        ranges=[(floor, ceiling) for _, floor, ceiling in scaled],
        parallel=parallel,
        delta=options.delta or DELTA,
    )
    out = [row.task for row in firsts if row.task not in weights]
    left = f"; left out, for their chance is not known or they have no best score: {', '.join(out)}" if out else ""
    note = (
        f"mean of {len(scaled)} tasks, each from chance (0) to the best score (1), {RULES[options.weighting]},"
        f" {_how(parallel)}{left}"
    )
    dropped = sum(row.dropped for row, _, _ in scaled)
    yield DuelRow(a, b, ALL_TASKS, "normalised", found, None, None, dropped, False, True, note)


def _adjusted(rows: Sequence[DuelRow]) -> list[DuelRow]:
    """Holm over the pairs of models within a task and metric; Benjamini–Hochberg over all single tasks."""
    raw = {i: row.duel.p for i, row in enumerate(rows) if row.duel.p is not None}
    families: dict[tuple[str, str, bool], list[int]] = {}
    for i in raw:
        families.setdefault((rows[i].task, rows[i].metric, rows[i].is_group), []).append(i)

    def by(adjust: Callable[[list[float]], Iterable[float]], family: list[int]) -> dict[int, float]:
        return dict(zip(family, map(float, adjust([raw[i] for i in family])), strict=True))

    p = {i: value for family in families.values() for i, value in by(holm, family).items()}
    q = by(benjamini_hochberg, [i for family in families.values() for i in family if not rows[i].is_group])
    return [replace(row, p_adjusted=p.get(i), q=q.get(i)) for i, row in enumerate(rows)]

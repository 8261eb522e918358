"""What the run folders hold: entries (models), variants (a task as it was asked), cells (a score of a run)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbench.core import __version__
from benchbench.core.errors import ArgumentError, BenchbenchError, StoreError, did_you_mean
from benchbench.core.ids import content_hash
from benchbench.core.json_record import as_json
from benchbench.core.record import UNKNOWN, Row, TaskRecord
from benchbench.core.task_scoring import family_of
from benchbench.leaderboard.metrics import Metric, metric_of
from benchbench.store.find import all_runs
from benchbench.store.folder import FinishedRun, RunFolder
from benchbench.store.names import told_apart


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """A task as it was asked: only scores of one variant are compared."""

    task: str
    num_fewshot: str
    version: str
    prompt_hash: str
    data_hash: str
    metric: str
    """The metric that the task is known by."""
    metric_hash: str
    kind: str
    """Empty for measured runs, else where the numbers come from."""
    num_docs: str = "?"


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """What one run says of one variant."""

    run: FinishedRun
    variant: Variant
    metric: Metric
    rows: tuple[Row, ...]
    """Of the task; that of the main metric first."""

    @property
    def row(self) -> Row:
        """The row of the metric that the task is known by."""
        return self.rows[0]

    @property
    def task(self) -> str:
        """The task's name."""
        return self.variant.task

    @property
    def family(self) -> str | None:
        """What the task shares with those that ask the same questions in other languages, if anything."""
        return family_of(self.task_record.resolved)

    @property
    def value(self) -> float | None:
        """Its value, if it has one."""
        return self.row.value

    @property
    def stderr(self) -> float | None:
        """Its standard error, if it has one."""
        return self.row.stderr

    @property
    def task_record(self) -> TaskRecord:
        """The run's record of the task."""
        return self.run.record.tasks[self.variant.task]

    @property
    def range(self) -> tuple[float, float] | None:
        """Score of a guesser and best score; None for metrics that have no best score, or whose chance is unknown."""
        metric = self.metric
        if not metric.higher_is_better or metric.floor is None or metric.ceiling is None:
            return None
        return (metric.floor, metric.ceiling) if metric.floor < metric.ceiling else None

    def by(self, metric: str) -> Cell | None:
        """The cell seen by another metric of the task; None if the run has no row of it."""
        rows = [row for row in self.rows if row.metric == metric]
        if not rows:
            return None
        others = tuple(row for row in self.rows if row.metric != metric)
        return replace(self, metric=metric_of(self.run.record, self.task, metric), rows=(rows[0], *others))


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model, or one checkpoint of one."""

    name: str
    series: str
    """The training run that it is a checkpoint of; of other models the name."""
    step: int | None
    runs: tuple[FinishedRun, ...]
    """Newest first."""
    cells: dict[Variant, Cell]
    tokens_seen: int | None = None
    twins: tuple[str, ...] = ()
    """Other names under which the very same weights stand."""

    @property
    def position(self) -> int | None:
        """Where it stands in its series: its step, or the tokens seen where no step is known; None if it is alone."""
        return self.tokens_seen if self.step is None else self.step

    @property
    def weights(self) -> str:
        """The identity of its weights."""
        return self.runs[0].record.weights

    @property
    def num_parameters(self) -> int | None:
        """As the backend counted them."""
        found = (run.record.backend.num_parameters for run in self.runs)
        return next((n for n in found if n is not None), None)

    @property
    def is_imported(self) -> bool:
        """Every number of it was made elsewhere."""
        return all(run.is_imported for run in self.runs)


@dataclass(frozen=True, slots=True)
class Records:
    """Everything the site is made of."""

    entries: tuple[Entry, ...]
    """By name and step."""
    skipped: tuple[str, ...]
    """Runs that were not taken, and why."""
    listed: tuple[Entry, ...] = field(init=False)
    """One entry per model: of a series of checkpoints the last, of the same weights under several names one. Made once:
    duels know an entry by its identity.
    """

    def __post_init__(self) -> None:
        trainings = self.trainings()
        last = {id(members[-1]) for members in trainings.values()}
        later = {id(entry) for entry in self.entries if entry.position is not None and entry.series in trainings}
        listed = tuple(_without_twins(e for e in self.entries if id(e) in last or id(e) not in later))
        object.__setattr__(self, "listed", listed)

    def series(self) -> dict[str, tuple[Entry, ...]]:
        """Training runs with two checkpoints or more, by step; of a step that was overwritten the newest."""
        return {name: members for name, members in sorted(self.trainings().items()) if len(members) > 1}

    def trainings(self) -> dict[str, tuple[Entry, ...]]:
        """Series → its checkpoints by step, or by tokens where none tells a step."""
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.position is not None:
                found.setdefault(entry.series, []).append(entry)
        return {name: _in_order(members) for name, members in found.items()}


def _in_order(members: Sequence[Entry]) -> tuple[Entry, ...]:
    has_steps = any(entry.step is not None for entry in members)
    newest: dict[int, Entry] = {}
    for entry in sorted(members, key=lambda entry: (entry.runs[0].finished, entry.name)):
        place = entry.step if has_steps else entry.tokens_seen
        if place is not None:
            newest[place] = entry
    return tuple(newest[place] for place in sorted(newest))


def _without_twins(entries: Iterable[Entry]) -> Iterator[Entry]:
    """One entry for each weights: the first checkpoint among its names, else the first name, with the scores of all."""
    by_weights: dict[str, list[Entry]] = {}
    for entry in entries:
        is_known = entry.runs[0].record.knows_weights
        by_weights.setdefault(entry.weights if is_known else f"{UNKNOWN} {id(entry)}", []).append(entry)
    for same in by_weights.values():
        first, *others = sorted(same, key=lambda entry: entry.position is None)
        cells = dict(sorted({v: c for one in (*others[::-1], first) for v, c in one.cells.items()}.items()))
        runs = tuple(run for one in (first, *others) for run in one.runs)
        yield replace(first, cells=cells, runs=runs, twins=tuple(one.name for one in others)) if others else first


def read_records(roots: Sequence[Path]) -> Records:
    """Every finished run below `roots`. What cannot be taken is named in `skipped`, and never stops the site."""
    return records_of(run for root in roots for run in all_runs(root))


def records_of(folders: Iterable[RunFolder]) -> Records:
    """The same of these run folders."""
    skipped: list[str] = []
    runs = _told_apart(list(_newest(_finished(folders, skipped), skipped)))
    by_model: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in runs:
        by_model.setdefault((run.record.model, str(run.record.backend.model_identity)), []).append(run)
    shared = {model for model, _ in by_model if sum(other == model for other, _ in by_model) > 1}
    entries = [
        _entry(f"{model} [weights {content_hash(weights, digits=6)}]" if model in shared else model, members, skipped)
        for (model, weights), members in sorted(by_model.items())
    ]
    ordered = sorted(entries, key=lambda e: (e.series, e.position is not None, e.position or 0, e.name))
    return Records(tuple(entry for entry in ordered if entry.cells), tuple(sorted(set(skipped))))


def _told_apart(runs: Sequence[FinishedRun]) -> list[FinishedRun]:
    """The runs with names that no other model has."""
    named = told_apart([run.record for run in runs])
    return [replace(run, record=record) for run, record in zip(runs, named, strict=True)]


def _finished(folders: Iterable[RunFolder], skipped: list[str]) -> Iterator[FinishedRun]:
    for folder in folders:
        if not folder.finished:
            skipped.append(f"{folder.name}: not finished; the command that started it goes on with it.")
            continue
        try:
            run = FinishedRun(folder, folder.record())
        except StoreError as error:
            skipped.append(f"{folder.name}: {str(error).replace(str(folder.path), folder.name)}")
            continue
        made_by = run.record.versions.get("benchbench")
        if made_by != __version__:
            skipped.append(f"{run.name}: taken, but made by benchbench {made_by}; this is {__version__}.")
        yield run


def _newest(runs: Iterable[FinishedRun], skipped: list[str]) -> Iterator[FinishedRun]:
    """Each run once, newest first; copies of a run are named."""
    seen: dict[tuple[str, str], list[FinishedRun]] = {}
    for run in sorted(runs, key=lambda one: (one.finished, one.name), reverse=True):
        others = seen.setdefault((run.record.model, run.record.run_id), [])
        same = next((one for one in others if as_json(one.record.rows) == as_json(run.record.rows)), None)
        if same is not None:
            skipped.append(f"{run.name}: the same run as {same.name}.")
            continue
        others.append(run)
        yield run


def _entry(name: str, runs: Sequence[FinishedRun], skipped: list[str]) -> Entry:
    """`runs` newest first: of a variant that was measured again, the newest counts."""
    record = runs[0].record
    is_alone = record.step is None and record.tokens_seen is None
    cells: dict[Variant, Cell] = {}
    for run in runs:
        for task in run.record.tasks:
            try:
                cell = cell_of(run, task)
            except BenchbenchError as error:
                skipped.append(f"{run.name}: {task} cannot be shown ({error!r}).")
                continue
            if cell.variant in cells:
                skipped.append(f"{run.name}: {task} was measured again in {cells[cell.variant].run.name}.")
            else:
                cells[cell.variant] = cell
    ordered = dict(sorted(cells.items()))
    return Entry(name, name if is_alone else record.series, record.step, tuple(runs), ordered, record.tokens_seen)


def cell_of(run: FinishedRun, task: str) -> Cell:
    """What a run says of a task, by the metric that the task is known by. StoreError if it has no rows."""
    asked, rows = run.record.tasks[task], run.record.rows_of(task)
    if not rows:
        raise StoreError("it has no rows")
    metric = metric_of(run.record, task, rows[0].metric)
    variant = Variant(
        task=task,
        num_fewshot=_text(asked.num_fewshot),
        version=_text(asked.version),
        prompt_hash=_text(asked.prompt_hash),
        data_hash=_text(asked.data_hash),
        metric=metric.name,
        metric_hash=content_hash(metric.identity, digits=8),
        kind=_kind(run, asked),
        num_docs=_text(asked.counts.n or rows[0].n),
    )
    return Cell(run, variant, metric, rows)


def _kind(run: FinishedRun, asked: TaskRecord) -> str:
    """Numbers without items, of which neither documents nor prompts are known, go together; others by their harness."""
    origin = run.record.origin
    if origin is None:
        return ""
    return "imported" if asked.data_hash is None else origin.kind or "imported"


def _text(value: str | float | None) -> str:
    return "?" if value is None else str(value)


def training_named(name: str, known: Sequence[str]) -> str:
    """The training of this name, or whose name ends so. ArgumentError if it fits none or several."""
    fits = [one for one in known if one == name] or [one for one in known if one.rpartition("/")[2] == name]
    if len(fits) == 1:
        return fits[0]
    what = f"fits {len(fits)} trainings" if fits else "is no training here"
    raise ArgumentError(f"{name!r} {what}; there are {some_of(known)}.{did_you_mean(name, known)}")


def some_of(names: Sequence[str], most: int = 8) -> str:
    """The first of them, for a sentence."""
    return f"{', '.join(names[:most])}{', …' if len(names) > most else ''}" or "none"

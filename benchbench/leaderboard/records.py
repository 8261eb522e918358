"""What the run folders hold: entries (models), variants (a task as it was asked), cells (a score of a run)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchbench.core.errors import BenchbenchError, StoreError
from benchbench.core.ids import content_hash
from benchbench.core.parallel import family_of
from benchbench.core.version import __version__
from benchbench.leaderboard.metrics import Metric, metric_names, metric_of
from benchbench.store.find import all_runs
from benchbench.store.folder import RUN_SCHEMA_VERSION, RunFolder
from benchbench.store.model_lookup import NEEDED_OF_RECORD, NEEDED_OF_TASK
from benchbench.store.models import UNKNOWN, told_apart, weights_of


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A finished run."""

    folder: RunFolder
    name: str
    """`model/run`, from the results folder: the same wherever that lies."""
    record: dict[str, Any]

    @property
    def is_imported(self) -> bool:
        """Its numbers were made elsewhere."""
        return self.record.get("origin") is not None

    @property
    def finished(self) -> str:
        """When, ISO 8601; empty if not known."""
        return str(self.record["provenance"].get("finished") or "")


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

    source: Source
    variant: Variant
    metric: Metric
    rows: tuple[dict[str, Any], ...]
    """Of the task; that of the main metric first."""

    @property
    def row(self) -> dict[str, Any]:
        """The row of the metric that the task is known by."""
        return self.rows[0]

    @property
    def task(self) -> str:
        """The task's name."""
        return self.variant.task

    @property
    def family(self) -> str | None:
        """What the task shares with those that ask the same questions in other languages, if anything."""
        return family_of(self.task_record.get("resolved") or {})

    @property
    def value(self) -> float | None:
        """Its value, if it has one."""
        return finite(self.row["value"])

    @property
    def stderr(self) -> float | None:
        """Its standard error, if it has one."""
        return finite(self.row["stderr"])

    @property
    def task_record(self) -> dict[str, Any]:
        """The run's record of the task."""
        found: dict[str, Any] = self.source.record["tasks"][self.variant.task]
        return found

    @property
    def range(self) -> tuple[float, float] | None:
        """Score of a guesser and best score; None for metrics that have no best score, or whose chance is unknown."""
        metric = self.metric
        if not metric.higher_is_better or metric.floor is None or metric.ceiling is None:
            return None
        return (metric.floor, metric.ceiling) if metric.floor < metric.ceiling else None

    def by(self, metric: str) -> Cell | None:
        """The cell seen by another metric of the task; None if the run has no row of it."""
        rows = [row for row in self.rows if row["metric"] == metric]
        if not rows:
            return None
        others = tuple(row for row in self.rows if row["metric"] != metric)
        return replace(self, metric=metric_of(self.source.record, self.task, metric), rows=(rows[0], *others))


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One model, or one checkpoint of one."""

    name: str
    series: str
    """The training run that it is a checkpoint of; of other models the name."""
    step: int | None
    sources: tuple[Source, ...]
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
        return weights_of(self.sources[0].record)

    @property
    def num_parameters(self) -> int | None:
        """As the backend counted them."""
        found = (source.record["backend"].get("num_parameters") for source in self.sources)
        return next((int(n) for n in found if isinstance(n, int) and not isinstance(n, bool)), None)

    @property
    def is_imported(self) -> bool:
        """Every number of it was made elsewhere."""
        return all(source.is_imported for source in self.sources)


@dataclass(frozen=True, slots=True)
class Records:
    """Everything the site is made of."""

    entries: tuple[Entry, ...]
    """By name and step."""
    passed_over: tuple[str, ...]
    """Runs that were not taken, and why."""

    @property
    def listed(self) -> tuple[Entry, ...]:
        """One entry per model: of a series of checkpoints the last, of the same weights under several names one."""
        trainings = self.trainings()
        last = {id(members[-1]) for members in trainings.values()}
        later = {id(entry) for entry in self.entries if entry.position is not None and entry.series in trainings}
        return tuple(_without_twins(e for e in self.entries if id(e) in last or id(e) not in later))

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
    for entry in sorted(members, key=lambda entry: (entry.sources[0].finished, entry.name)):
        place = entry.step if has_steps else entry.tokens_seen
        if place is not None:
            newest[place] = entry
    return tuple(newest[place] for place in sorted(newest))


def _without_twins(entries: Iterable[Entry]) -> Iterator[Entry]:
    """One entry for each weights: the first checkpoint among its names, else the first name, with the scores of all."""
    by_weights: dict[str, list[Entry]] = {}
    for entry in entries:
        is_known = entry.weights and not entry.weights.startswith(UNKNOWN)
        by_weights.setdefault(entry.weights if is_known else f"{UNKNOWN} {id(entry)}", []).append(entry)
    for same in by_weights.values():
        first, *others = sorted(same, key=lambda entry: entry.position is None)
        cells = dict(sorted({v: c for one in (*others[::-1], first) for v, c in one.cells.items()}.items()))
        sources = tuple(source for one in (first, *others) for source in one.sources)
        yield replace(first, cells=cells, sources=sources, twins=tuple(one.name for one in others)) if others else first


def finite(value: Any) -> float | None:
    """A number that is one; None for missing values, NaN and infinities."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def read_records(roots: Sequence[Path]) -> Records:
    """Every finished run below `roots`. What cannot be taken is named in `passed_over`, and never stops the site."""
    return records_of(run for root in roots for run in all_runs(root))


def records_of(runs: Iterable[RunFolder]) -> Records:
    """The same of these run folders."""
    passed: list[str] = []
    sources = _told_apart(list(_newest(_sources(runs, passed), passed)))
    by_model: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        weights = str(source.record["backend"].get("model_identity"))
        by_model.setdefault((str(source.record["model"]), weights), []).append(source)
    shared = {model for model, _ in by_model if sum(other == model for other, _ in by_model) > 1}
    entries = [
        _entry(f"{model} [weights {content_hash(weights, digits=6)}]" if model in shared else model, members, passed)
        for (model, weights), members in sorted(by_model.items())
    ]
    ordered = sorted(entries, key=lambda e: (e.series, e.position is not None, e.position or 0, e.name))
    return Records(tuple(entry for entry in ordered if entry.cells), tuple(sorted(set(passed))))


def _told_apart(sources: Sequence[Source]) -> list[Source]:
    """The sources with names that no other model has."""
    named = told_apart([source.record for source in sources])
    return [replace(source, record=record) for source, record in zip(sources, named, strict=True)]


def source_of(run: RunFolder, record: dict[str, Any]) -> Source:
    """A finished run whose record is known."""
    return Source(run, f"{run.path.parent.name}/{run.path.name}", record)


def _sources(runs: Iterable[RunFolder], passed: list[str]) -> Iterator[Source]:
    for run in runs:
        name = f"{run.path.parent.name}/{run.path.name}"
        try:
            yield source_of(run, _checked(run, name, passed))
        except (BenchbenchError, KeyError, TypeError, AttributeError, ValueError) as error:
            why = str(error) if isinstance(error, BenchbenchError) else f"its run.json is not as expected ({error!r})"
            passed.append(f"{name}: {why.replace(str(run.path), name)}")


def _checked(run: RunFolder, name: str, passed: list[str]) -> dict[str, Any]:
    if not run.finished:
        raise StoreError("not finished; the command that started it goes on with it.")
    record = run.record()
    if record.get("schema_version") != RUN_SCHEMA_VERSION:
        raise StoreError(
            f"schema version {record.get('schema_version')!r}; this benchbench reads version {RUN_SCHEMA_VERSION}."
        )
    lacking = [key for key in (*NEEDED_OF_RECORD, "provenance") if key not in record]
    lacking += [f"{task}: {key}" for task, said in record["tasks"].items() for key in NEEDED_OF_TASK if key not in said]
    if lacking:
        raise StoreError(f"its run.json lacks {', '.join(lacking[:3])}.")
    made_by = (record.get("versions") or {}).get("benchbench")
    if made_by != __version__:
        passed.append(f"{name}: taken, but made by benchbench {made_by}; this is {__version__}.")
    return record


def _newest(sources: Iterable[Source], passed: list[str]) -> Iterator[Source]:
    """Each run once, newest first; copies of a run are named."""
    seen: dict[str, Source] = {}
    for source in sorted(sources, key=lambda one: (one.finished, one.name), reverse=True):
        record = source.record
        same = content_hash([record["model"], record.get("run_id"), record["rows"]])
        if same in seen:
            passed.append(f"{source.name}: the same run as {seen[same].name}.")
            continue
        seen[same] = source
        yield source


def _entry(name: str, sources: Sequence[Source], passed: list[str]) -> Entry:
    """`sources` newest first: of a variant that was measured again, the newest counts."""
    record = sources[0].record
    step, tokens = record["step"], record["tokens_seen"]
    series = name if step is None and tokens is None else str(record["series"])
    cells: dict[Variant, Cell] = {}
    for source in sources:
        for task in source.record["tasks"]:
            try:
                cell = cell_of(source, task)
            except (BenchbenchError, KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
                passed.append(f"{source.name}: {task} cannot be shown ({error!r}).")
                continue
            if cell.variant in cells:
                passed.append(f"{source.name}: {task} was measured again in {cells[cell.variant].source.name}.")
            else:
                cells[cell.variant] = cell
    return Entry(name, series, step, tuple(sources), dict(sorted(cells.items())), tokens)


def cell_of(source: Source, task: str) -> Cell:
    """What a run says of a task, by the metric that the task is known by. StoreError if it has no rows."""
    record, said = source.record, source.record["tasks"][task]
    names = metric_names(record, task)
    if not names:
        raise StoreError("it has no rows")
    metric = metric_of(record, task, names[0])
    rows = tuple(row for row in record["rows"] if row["task"] == task and not row["is_group"])
    for row in rows:
        _ = row["value"], row["stderr"], row["ci_low"], row["ci_high"], row["n"]
    variant = Variant(
        task=task,
        num_fewshot=_text(said["num_fewshot"]),
        version=_text(said["version"]),
        prompt_hash=_text(said["prompt_hash"]),
        data_hash=_text(said["data_hash"]),
        metric=names[0],
        metric_hash=content_hash(metric.identity, digits=8),
        kind=_kind(source, said),
        num_docs=_text((said.get("counts") or {}).get("n") or rows[0]["n"]),
    )
    return Cell(source, variant, metric, rows)


def _kind(source: Source, said: dict[str, Any]) -> str:
    """Numbers without items, of which neither documents nor prompts are known, go together; others by their harness."""
    if not source.is_imported:
        return ""
    return "imported" if said["data_hash"] is None else str(source.record["origin"].get("kind") or "imported")


def _text(value: Any) -> str:
    return "?" if value is None else str(value)

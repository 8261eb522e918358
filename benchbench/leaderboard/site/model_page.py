"""A model's page, and the page of reported numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from benchbench.core.format import between, decimals, name, several, shown, whole_number
from benchbench.core.record import Row
from benchbench.leaderboard.records import Entry
from benchbench.leaderboard.site.parts import (
    Column,
    Link,
    RowGroup,
    Table,
    Text,
    Value,
    row,
    sweep_page,
    task_page,
    value,
)
from benchbench.store.folder import FinishedRun
from benchbench.store.reported import ReportedSource, ReportedTable


@dataclass(frozen=True, slots=True)
class RunLine:
    """A run, in the list of a model's."""

    name: str
    about: str


@dataclass(frozen=True, slots=True)
class ModelPage:
    """A model's page."""

    template: ClassVar[str] = "model.html"
    lead: str
    facts: tuple[tuple[str, str], ...]
    sweep: str | None
    """The page of the series that the model is a checkpoint of."""
    scores: Table
    runs: tuple[RunLine, ...]


@dataclass(frozen=True, slots=True)
class _Score:
    """A row of a run's record."""

    row: Row
    task: str | None
    """The task whose page tells more; None for a group."""

    @property
    def places(self) -> int:
        """Decimals."""
        return decimals([self.row.value])

    @property
    def interval(self) -> str:
        """As it is shown."""
        return between(self.row.ci_low, self.row.ci_high, self.places)


SCORES: tuple[Column[_Score], ...] = (
    Column("task", "Task", lambda s: Link(None if s.task is None else task_page(s.task), name(s.row.task))),
    Column("metric", "Metric", lambda score: Text(name(score.row.metric), "bdi")),
    Column("value", "Value", lambda score: value(score.row.value, score.places), sort="n"),
    Column("interval", "95 % interval", lambda s: Text(s.interval), sort="none", right=True, small=True),
    Column("stderr", "SE", lambda score: value(score.row.stderr, score.places), sort="n", small=True),
    Column("n", "n", lambda score: value(score.row.n), sort="n", small=True),
    Column("shots", "Shots", lambda s: value(s.row.num_fewshot), sort="n", small=True),
    Column(
        "signature",
        "Signature",
        lambda score: Text(shown(score.row.signature, 300), "code"),
        small=True,
        css="sign",
        optional=True,
    ),
    Column("note", "Note", lambda score: Text(shown(score.row.note or "", 300), "bdi"), small=True),
)


def page_of_model(entry: Entry, has_sweep: bool) -> ModelPage:
    """A model's page."""
    cells = list(entry.cells.values())
    runs = tuple(RunLine(shown(run.name, 200), _about(run)) for run in entry.runs)
    tasks = {cell.variant.task for cell in cells}
    rows = [
        *(
            row(SCORES, _Score(one, cell.variant.task), css="main" if one is cell.row else "")
            for cell in cells
            for one in cell.rows
        ),
        *(row(SCORES, _Score(one, None)) for run in entry.runs for one in run.record.rows if one.is_group),
    ]
    return ModelPage(
        lead=f"{several(len(tasks), 'task')} in {several(len(runs), 'run')}.",
        facts=_facts(entry),
        sweep=sweep_page(entry.series) if has_sweep else None,
        scores=Table("scores", f"Scores of {name(entry.name)}", "scores", SCORES, (RowGroup(tuple(rows)),)),
        runs=runs,
    )


def _about(run: FinishedRun) -> str:
    origin = run.record.origin
    if origin is not None:
        return shown(f"imported from {origin.file}, {run.finished}".rstrip(", "), 300)
    return shown(f"benchbench {run.record.versions.get('benchbench')}, {run.finished}".rstrip(", "), 300)


def _facts(entry: Entry) -> tuple[tuple[str, str], ...]:
    backend = entry.runs[0].record.backend
    facts = [
        ("Parameters", "" if entry.num_parameters is None else whole_number(entry.num_parameters)),
        ("Same weights", ", ".join(entry.twins)),
        ("Step", "" if entry.step is None else whole_number(entry.step)),
        ("Tokens seen", "" if entry.tokens_seen is None else whole_number(entry.tokens_seen)),
        ("Backend", " ".join(part for part in (backend.name, backend.version) if part)),
        ("Numbers", " on ".join(part for part in (backend.dtype, backend.device) if part)),
        ("Revision", backend.revision or ""),
        ("Weights", backend.model_identity or ""),
    ]
    return tuple((label, shown(text, 300)) for label, text in facts if text)


@dataclass(frozen=True, slots=True)
class ReportedModel:
    """What a source reports of one model."""

    model: str
    cells: tuple[Value, ...]
    known: str
    """Settings that the source names."""


@dataclass(frozen=True, slots=True)
class ReportedNumbers:
    """A table of a source."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[ReportedModel, ...]
    has_known: bool
    """A model has settings of its own."""
    note: str | None


@dataclass(frozen=True, slots=True)
class ReportedBy:
    """A paper, a model card or slides."""

    source: str
    facts: tuple[tuple[str, str], ...]
    tables: tuple[ReportedNumbers, ...]


@dataclass(frozen=True, slots=True)
class ReportedPage:
    """The reported numbers."""

    template: ClassVar[str] = "reported.html"
    sources: tuple[ReportedBy, ...]


def reported_page(sources: Sequence[ReportedSource]) -> ReportedPage:
    """The reported numbers, source by source."""
    return ReportedPage(tuple(map(_source, sources)))


def _source(source: ReportedSource) -> ReportedBy:
    facts = [
        ("Published", source.date or "not known"),
        ("Address", source.url or ""),
        *((key.capitalize(), text) for key, text in source.known.items()),
        ("Not stated", ", ".join(source.unknown)),
        ("Note", source.note or ""),
    ]
    said = tuple((label, shown(text, 600)) for label, text in facts if text)
    return ReportedBy(name(source.source), said, tuple(map(_table, source.tables)))


def _table(table: ReportedTable) -> ReportedNumbers:
    widths = [decimals([one.values[i] for one in table.rows]) for i in range(len(table.columns))]
    rows = tuple(
        ReportedModel(
            model=name(one.model),
            cells=tuple(value(x, _printed(x, w)) for x, w in zip(one.values, widths, strict=True)),
            known=shown(", ".join(f"{k}: {v}" for k, v in one.known.items()), 300),
        )
        for one in table.rows
    )
    return ReportedNumbers(
        title=name(table.title),
        columns=tuple(f"{c.name}{' (%)' if c.unit == 'percent' else ''}" for c in table.columns),
        rows=rows,
        has_known=any(one.known for one in table.rows),
        note=None if table.note is None else shown(table.note),
    )


def _printed(x: float | None, most: int) -> int:
    """As many decimals as the source prints, two at least."""
    if x is None:
        return most
    return max(2, min(most, len(repr(x).partition(".")[2])))

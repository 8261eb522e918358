"""A model's page, the lists of tasks and sweeps, and the reported numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from benchbench.core.format import between, decimals, name, several, shown, whole_number
from benchbench.core.record import Row
from benchbench.leaderboard.records import Cell, Entry
from benchbench.leaderboard.site.parts import sweep_page, task_page, value
from benchbench.leaderboard.site.sweep_page import newest_part
from benchbench.leaderboard.training import Curve, Training
from benchbench.stats.sentence import with_interval
from benchbench.store.folder import FinishedRun
from benchbench.store.reported import ReportedSource


def model_context(entry: Entry, has_sweep: bool) -> dict[str, Any]:
    """What `model.html` needs."""
    cells = list(entry.cells.values())
    runs = [{"name": shown(run.name, 200), "about": _about(run)} for run in entry.runs]
    tasks = {cell.variant.task for cell in cells}
    return {
        "lead": f"{several(len(tasks), 'task')} in {several(len(runs), 'run')}.",
        "facts": _facts(entry),
        "sweep": sweep_page(entry.series) if has_sweep else None,
        "rows": [row for cell in cells for row in _rows(cell)] + _groups(entry),
        "runs": runs,
    }


def _about(run: FinishedRun) -> str:
    origin = run.record.origin
    if origin is not None:
        return shown(f"imported from {origin.file}, {run.finished}".rstrip(", "), 300)
    return shown(f"benchbench {run.record.versions.get('benchbench')}, {run.finished}".rstrip(", "), 300)


def _facts(entry: Entry) -> list[tuple[str, str]]:
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
    return [(label, shown(text, 300)) for label, text in facts if text]


def _rows(cell: Cell) -> list[dict[str, Any]]:
    return [_row(row, main=row is cell.row, href=task_page(cell.variant.task)) for row in cell.rows]


def _groups(entry: Entry) -> list[dict[str, Any]]:
    return [_row(row, main=False, href=None) for run in entry.runs for row in run.record.rows if row.is_group]


def _row(row: Row, *, main: bool, href: str | None) -> dict[str, Any]:
    places = decimals([row.value])
    return {
        "main": main,
        "href": href,
        "task": name(row.task),
        "metric": name(row.metric),
        "value": value(row.value, places),
        "interval": between(row.ci_low, row.ci_high, places),
        "stderr": value(row.stderr, places),
        "n": value(row.n),
        "shots": value(row.num_fewshot),
        "signature": shown(row.signature, 300),
        "note": shown(row.note or "", 300),
    }


def tasks_context(entries: Sequence[Entry]) -> dict[str, Any]:
    """The list of all tasks."""
    found: dict[str, list[Cell]] = {}
    for entry in entries:
        for variant, cell in entry.cells.items():
            found.setdefault(variant.task, []).append(cell)
    rows = []
    for task, cells in sorted(found.items()):
        variants = {cell.variant for cell in cells}
        ranges = " / ".join(sorted({cell.variant.metric for cell in cells}))
        docs = max((cell.row.n or 0 for cell in cells), default=0)
        shots = ", ".join(sorted({cell.variant.num_fewshot for cell in cells}))
        cell_values = [name(ranges), value(docs or None), shots, value(len(cells)), value(len(variants))]
        rows.append({"label": name(task), "href": task_page(task), "cells": cell_values})
    columns = [("Task", 0), ("Metric", 0), ("Docs", 1), ("Shots", 0), ("Models", 1), ("Ways asked", 1)]
    return {
        "lead": (
            f"{several(len(rows), 'task')}. What was asked in several ways (shots, prompts, docs) is shown in each."
        ),
        "columns": [{"label": label, "numeric": bool(numeric)} for label, numeric in columns],
        "rows": rows,
    }


def sweeps_context(trainings: Sequence[Training]) -> dict[str, Any]:
    """The list of all trainings: what the newest part of each bought, and the verdict."""
    rows = []
    for training in trainings:
        curve = training.overall or training.judged[0]
        found = None if curve.verdict is None else curve.verdict.findings
        bought, interval = ("–", "–") if found is None else bought_by(curve)
        steps = training.axis.places
        tasks = sum(one.is_main and not one.is_group for one in training.curves)
        cells = [
            newest_part(curve) or "–",
            bought,
            interval,
            "–" if curve.verdict is None else curve.verdict.short,
            value(curve.points[-1].value, decimals([point.value for point in curve.points])),
            value(tasks),
            value(len(steps)),
            value(steps[-1]) if training.axis.name == "step" else f"{steps[-1]:,} {training.axis.name}",
        ]
        rows.append({"label": name(training.name), "href": sweep_page(training.name), "cells": cells})
    columns = [
        ("Training", 0),
        ("Last fifth", 0),
        ("bought", 1),
        ("95 % interval", 1),
        ("Verdict", 0),
        ("Last value", 1),
        ("Tasks", 1),
        ("Checkpoints", 1),
        ("Last step", 1),
    ]
    return {
        "lead": (
            f"{several(len(rows), 'training run')} with two checkpoints or more. Values are the mean of all tasks, each"
            " from chance (0) to the best score (1); of a training with one task that task's own."
        ),
        "columns": [{"label": label, "numeric": bool(numeric)} for label, numeric in columns],
        "rows": rows,
    }


def bought_by(curve: Curve) -> tuple[str, str]:
    """What the newest part of a training bought, and its 95 % interval, as its sentence says it."""
    if curve.verdict is None or curve.verdict.findings is None:
        return "–", "–"
    verdict = replace(curve.verdict, is_share=curve.is_share)
    shown, _, interval = with_interval(verdict, curve.verdict.findings.recent).partition(", 95 % CI ")
    return shown, interval


def reported_context(sources: Sequence[ReportedSource]) -> dict[str, Any]:
    """What `reported.html` needs."""
    return {"sources": [_source(source) for source in sources]}


def _source(source: ReportedSource) -> dict[str, Any]:
    facts = [
        ("Published", source.date or "not known"),
        ("Address", source.url or ""),
        *((key.capitalize(), text) for key, text in source.known.items()),
        ("Not stated", ", ".join(source.unknown)),
        ("Note", source.note or ""),
    ]
    tables = []
    for table in source.tables:
        widths = [decimals([row.values[i] for row in table.rows]) for i in range(len(table.columns))]
        rows = [
            {
                "model": name(row.model),
                "cells": [value(x, _printed(x, w)) for x, w in zip(row.values, widths, strict=True)],
                "known": shown(", ".join(f"{k}: {v}" for k, v in row.known.items()), 300),
            }
            for row in table.rows
        ]
        units = [f"{c.name}{' (%)' if c.unit == 'percent' else ''}" for c in table.columns]
        has_known = any(row.known for row in table.rows)
        note = None if table.note is None else shown(table.note)
        tables.append(
            {"title": name(table.title), "columns": units, "rows": rows, "has_known": has_known, "note": note}
        )
    return {"source": name(source.source), "facts": [(k, shown(v, 600)) for k, v in facts if v], "tables": tables}


def _printed(x: float | None, most: int) -> int:
    """As many decimals as the source prints, two at least."""
    if x is None:
        return most
    return max(2, min(most, len(repr(x).partition(".")[2])))

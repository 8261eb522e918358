"""A task's page: scores, duels, prompt, for each way in which it was asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.core.format import between, decimals, name, number, several, shown, whole_number
from benchbench.core.record import Row
from benchbench.leaderboard.charts import Axis, axis_of, strip
from benchbench.leaderboard.duels import Duels, TaskDuels
from benchbench.leaderboard.records import Cell, Entry, Variant
from benchbench.leaderboard.site.parts import Value, key, labels, link, markup, slug, value
from benchbench.store.reported import ReportedSource

SHOWN_DUELS = 16
LONGEST_PROMPT = 20_000
_TEMPLATE = ("description", "doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter", "fewshot_delimiter")
_OUTCOMES = ("unanswered", "truncated", "failed")


def task_context(
    task: str,
    entries: Sequence[Entry],
    duels: Duels,
    samples: Mapping[Variant, str],
    reported: Sequence[ReportedSource],
    root: str,
) -> dict[str, Any]:
    """What `task.html` needs."""
    found: dict[Variant, list[Entry]] = {}
    for entry in entries:
        for variant in entry.cells:
            if variant.task == task:
                found.setdefault(variant, []).append(entry)
    order = sorted(found, key=lambda variant: (-len(found[variant]), variant))
    titles = labels(order)
    return {
        "variants": [_variant(v, titles[v], found[v], duels, samples.get(v), root) for v in order],
        "reported": _reported(task, reported),
    }


def _variant(
    variant: Variant, title: str, entries: Sequence[Entry], duels: Duels, samples: str | None, root: str
) -> dict[str, Any]:
    cells = [entry.cells[variant] for entry in entries]
    first = cells[0]
    better = first.metric.higher_is_better
    ordered = sorted(entries, key=lambda e: _place(e.cells[variant], better=better))
    fought = duels.of(variant)
    places = decimals(cell.value for cell in cells)
    axis = axis_of(x for cell in cells for x in (cell.value, cell.row.ci_low, cell.row.ci_high))
    others = list(dict.fromkeys(row.metric for cell in cells for row in cell.rows[1:]))
    mark = first.metric.floor if first.range is not None else None
    layout = _Layout(axis, mark, others, places, root)
    rows = [_row(e, e.cells[variant], fought, layout) for e in ordered]
    return {
        "id": slug("|".join(key(variant))),
        "title": title,
        "lead": _lead(variant, cells),
        "facts": _facts(variant, first),
        "metric": variant.metric,
        "others": [{"key": slug(metric), "label": metric} for metric in others],
        "rows": rows,
        "has_duels": fought is not None,
        "note": _note(first, fought, cells),
        "duels": None if fought is None else _duels(fought, ordered, places),
        "samples": samples,
        "prompt": _prompt(first),
        "template": [(k, shown(v)) for k in _TEMPLATE if (v := first.task_record.resolved.get(k))],
    }


def _place(cell: Cell, *, better: bool) -> tuple[float, str]:
    if cell.value is None:
        return (float("inf"), cell.run.name)
    return (-cell.value if better else cell.value, cell.run.name)


def _lead(variant: Variant, cells: Sequence[Cell]) -> str:
    models = several(len(cells), "model")
    origin = (
        f", imported ({variant.kind})" if variant.kind not in ("", "imported") else ", imported" * bool(variant.kind)
    )
    return f"{models}{origin}. {variant.metric}, {'higher' if cells[0].metric.higher_is_better else 'lower'} is better."


def _facts(variant: Variant, cell: Cell) -> list[tuple[str, str]]:
    task, clusters = cell.task_record, cell.row.n_clusters
    facts = [
        ("Shots", "not known" if variant.num_fewshot == "?" else variant.num_fewshot),
        ("Docs", whole_number(cell.row.n)),
        ("Clusters of docs", "" if clusters is None else whole_number(clusters)),
        ("Chance", "" if task.scoring.chance is None else number(task.scoring.chance)),
        ("Task version", "" if variant.version == "?" else variant.version),
        ("Output", task.output_type or ""),
        ("Documents", " ".join(filter(None, [_public(task.data_path), task.data_revision]))),
        ("Hashes", "" if variant.data_hash == "?" else f"docs {variant.data_hash}, prompt {variant.prompt_hash}"),
    ]
    return [(label, shown(text, 300)) for label, text in facts if text]


@dataclass(frozen=True, slots=True)
class _Layout:
    """What the rows of a table share."""

    axis: Axis | None
    mark: float | None
    """Where guessing is, for metrics with a best score."""
    others: Sequence[str]
    """Further metrics."""
    places: int
    root: str


def _row(entry: Entry, cell: Cell, fought: TaskDuels | None, layout: _Layout) -> dict[str, Any]:
    places = layout.places
    low, high = cell.row.ci_low, cell.row.ci_high
    balance = fought.balance(entry) if fought is not None and id(entry) in fought.places else None
    by_name = {row.metric: row for row in cell.rows}
    return {
        "link": link(entry, layout.root),
        "value": value(cell.value, places),
        "drawing": markup(strip(layout.axis, cell.value, low, high, layout.mark)),
        "interval": between(low, high, places),
        "stderr": value(cell.stderr, places),
        "n": value(cell.row.n),
        "beats": value(None if balance is None else balance[0]),
        "loses": value(None if balance is None else balance[1]),
        "outcomes": _outcomes(cell),
        "others": [_other(by_name.get(metric)) for metric in layout.others],
    }


def _public(path: str | None) -> str:
    """The name of a data set; a folder on somebody's disk says nothing to a reader."""
    text = path or ""
    return "" if text.startswith(("/", "~", "\\")) or text[1:3] == ":\\" else text


def _other(row: Row | None) -> Value:
    found = None if row is None else row.value
    return value(found, decimals([found]))


def _outcomes(cell: Cell) -> str:
    counts = cell.task_record.counts
    found = [(getattr(counts, kind), kind) for kind in (*_OUTCOMES, "ties", "shortened")]
    return ", ".join(f"{count} {kind}" for count, kind in found if count)


def _note(cell: Cell, fought: TaskDuels | None, cells: Sequence[Cell]) -> str:
    parts = []
    if cell.range is None:
        parts.append("This metric has no best possible score and is in no mean.")
    elif cell.task_record.output_type == "multiple_choice" and cell.task_record.scoring.chance is None:
        parts.append("Chance is not known for this task and counts as 0.")
    if len(cells) > 1 and fought is None:
        parts.append(
            "There are no items to compare doc by doc, so no duels: two intervals that overlap decide nothing."
        )
    if fought is not None:
        parts.append("Beats and beaten by: models on the docs that all have, p < 0.05 after Holm over all pairs.")
        if fought.dropped:
            parts.append(f"{fought.dropped} docs without a score of some model are left out of the duels.")
        if len(fought.entries) < len(cells):
            parts.append(f"{len(cells) - len(fought.entries)} models have no items and no duels.")
    return " ".join(parts)


def _duels(fought: TaskDuels, ordered: Sequence[Entry], places: int) -> dict[str, Any]:
    chosen = [entry for entry in ordered if id(entry) in fought.places][:SHOWN_DUELS]
    at = [fought.places[id(entry)] for entry in chosen]
    rows = [
        {"label": name(entry.name), "cells": [_duel(fought, i, j, places) for j in at]}
        for entry, i in zip(chosen, at, strict=True)
    ]
    m = len(fought.entries)
    more = f" The {len(chosen)} best of {m} models are shown; the counts above are over all." if m > len(chosen) else ""
    names = [row["label"] for row in rows]
    return {"docs": fought.num_docs, "pairs": m * (m - 1) // 2, "names": names, "rows": rows, "more": more}


def _duel(fought: TaskDuels, i: int, j: int, places: int) -> dict[str, Any]:
    if i == j:
        return {"kind": "self", "raw": None, "title": "", "text": "", "sign": ""}
    matrix = fought.matrix
    difference, p = float(matrix.difference[i, j]), float(matrix.p_adjusted[i, j])
    kind, sign = ("up", "▲") if fought.wins[i, j] else ("down", "▼") if fought.wins[j, i] else ("open", "·")
    title = f"p {p:.4g} (Holm), SE {number(float(matrix.stderr[i, j]), places)}"
    shown = number(difference, places, sign=True)
    return {"kind": kind, "raw": repr(difference), "title": title, "text": shown, "sign": sign}


def _prompt(cell: Cell) -> dict[str, Any] | None:
    example = cell.task_record.example
    if example is None:
        return None
    return {
        "text": shown(example.prompt, LONGEST_PROMPT),
        "continuations": [shown(text, 600) for text in example.continuations[:12]],
        "about": f"As the model saw it, for doc {example.doc_id}.",
    }


def _reported(task: str, sources: Sequence[ReportedSource]) -> list[dict[str, Any]]:
    found = []
    for source in sources:
        for table in source.tables:
            for place, column in enumerate(table.columns):
                if column.task == task:
                    for row in table.rows:
                        metric = f"{column.metric}{' (%)' if column.unit == 'percent' else ''}"
                        printed = row.values[place]
                        if printed is not None:
                            found.append(
                                {
                                    "model": name(row.model),
                                    "value": value(printed, decimals([printed])),
                                    "metric": metric,
                                    "source": name(f"{source.source}, {source.date}"),
                                }
                            )
    return found

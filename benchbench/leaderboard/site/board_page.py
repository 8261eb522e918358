"""The overview and the pages of suites: boards as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchbench.core.format import between, magnitude, name, several
from benchbench.leaderboard.board import Board, Coverage, Standing
from benchbench.leaderboard.charts import axis_of, rank_strip, strip
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.records import Entry, Variant
from benchbench.leaderboard.site.parts import key, labels, link, markup, slug, suite_page, task_page, value
from benchbench.leaderboard.site.render import embedded
from benchbench.stats.testing import benjamini_hochberg

HEAT_MODELS, HEAT_TASKS = 30, 24
_POOL = ({"key": "duels", "label": "Duels won"}, {"key": "wins", "label": "Win rate"})
FEW_TASKS = 10
"""Up to so many tasks stand as columns of their own; of more, a reader picks some."""


@dataclass(frozen=True, slots=True)
class SuiteColumn:
    """A suite as a column of the overview."""

    suite: str
    label: str
    means: dict[int, float]
    """id(entry) → mean, in percent."""


def board_context(
    board: Board, duels: Duels, root: str, *, suites: Sequence[SuiteColumn] = (), heat: bool = True
) -> dict[str, Any]:
    """What `index.html` needs of a board."""
    variants = sorted({variant for group in board.groups for variant in group.variants})
    titles = labels(variants)
    own = variants if len(variants) <= FEW_TASKS else []
    many = sum(len(group.standings) for group in board.groups) > 1
    columns: list[dict[str, Any]] = [
        *({"key": f"suite-{slug(s.label)}", "label": s.label, "href": suite_page(s.suite)} for s in suites),
        *({"key": f"task-{i}", "label": titles[v], "href": task_page(v.task)} for i, v in enumerate(own)),
        {"key": "tasks", "label": "Tasks", "optional": True},
        {"key": "se", "label": "SE", "optional": True},
        *({**column, "optional": True, "pool": True} for column in _POOL if many),
        {"key": "params", "label": "Parameters", "optional": True},
    ]
    blank = {"href": None, "optional": False, "pool": False}
    axis = axis_of(
        100 * x
        for group in board.groups
        for s in group.standings
        for x in (s.mean, *(s.interval or ()))
    )  # fmt: skip
    groups: list[dict[str, Any]] = []
    shown = -1
    for number, group in enumerate(board.groups):
        rows = [_row(group, standing, axis, root, own, suites, pool=many) for standing in group.standings]
        for row in rows:
            row["id"] = shown = shown + 1
        groups.append({"title": _group_title(group, number, board), "note": group.ranked_by, "rows": rows})
    return {
        "groups": groups,
        "columns": [{**blank, **column} for column in columns],
        "pool": many,
        "weights": [_weights(group, number, board, titles) for number, group in enumerate(board.groups)],
        "heat": _heat(board.groups[0], duels, titles, root) if heat and board.groups else None,
        "on_demand": None if own else _on_demand(board, variants, titles),
    }


def _group_title(group: Coverage, number: int, board: Board) -> str:
    models = len(group.standings)
    tasks = len(group.variants)
    alike = "asked alike" if models > 1 else "that no other model was asked alike" if len(board.groups) > 1 else ""
    said = f"{several(models, 'model')} on {several(tasks, 'task')} {alike}".rstrip()
    return said if len(board.groups) == 1 else f"Group {number + 1}: {said}"


def _row(
    group: Coverage,
    standing: Standing,
    axis: Any,
    root: str,
    own: Sequence[Variant],
    suites: Sequence[SuiteColumn],
    *,
    pool: bool,
) -> dict[str, Any]:
    mean = 100 * standing.mean
    low, high = (None, None) if standing.interval is None else (100 * x for x in standing.interval)
    cells = [value(suite.means.get(id(standing.entry)), 2) for suite in suites]
    cells += [value(_percent(standing.normalised.get(variant)), 2) for variant in own]
    cells += [value(len(group.variants)), value(_percent(standing.stderr), 2)]
    if pool:
        cells += [value(standing.duel_wins, 3), value(standing.win_rate, 3)]
    parameters = standing.entry.num_parameters
    cells.append(value(parameters))
    if parameters:
        cells[-1] = type(cells[-1])(str(parameters), magnitude(parameters, 3))
    return {
        "link": link(standing.entry, root),
        "mean": value(mean, 2),
        "drawing": markup(strip(axis, mean, low, high, 0.0)),
        "interval": between(low, high, 2),
        "rank": None if standing.rank is None else _rank(standing.rank, len(group.standings)),
        "cells": cells,
    }


def _rank(rank: tuple[int, int], count: int) -> dict[str, Any]:
    low, high = rank
    text = str(low) if low == high else f"{low}–{high}"
    return {"low": low, "high": high, "text": text, "drawing": markup(rank_strip(low, high, count))}


def _percent(x: float | None) -> float | None:
    return None if x is None else 100 * x


def _weights(group: Coverage, number: int, board: Board, titles: dict[Variant, str]) -> dict[str, Any]:
    entry = group.standings[0].entry
    rows = []
    for variant in group.variants:
        cell = entry.cells[variant]
        floor, ceiling = cell.range or (None, None)
        clusters = cell.row.n_clusters
        said = "–" if clusters is None else f"{clusters} of {cell.row.n} docs"
        rows.append(
            {
                "href": task_page(variant.task),
                "label": titles[variant],
                "weight": value(group.weights[variant]),
                "floor": value(floor),
                "ceiling": value(ceiling, 0),
                "clusters": said,
            }
        )
    return {"title": _group_title(group, number, board), "rows": rows}


def _on_demand(board: Board, variants: Sequence[Variant], titles: dict[Variant, str]) -> Any:
    """Normalised scores of every task in the order of the rows, for columns that a reader asks for."""
    rows = [standing for group in board.groups for standing in group.standings]
    tasks = {
        slug("|".join(key(variant))): {
            "label": titles[variant],
            "values": [None if (x := row.normalised.get(variant)) is None else round(100 * x, 4) for row in rows],
        }
        for variant in variants
    }
    return markup(embedded(tasks))


def _heat(group: Coverage, duels: Duels, titles: dict[Variant, str], root: str) -> dict[str, Any] | None:
    """Models × tasks: is a model told apart from the best of those shown on this task?"""
    standings, variants = group.standings[:HEAT_MODELS], group.variants[:HEAT_TASKS]
    if len(standings) < 2 or len(variants) < 2:
        return None
    entries = [standing.entry for standing in standings]
    marks = _against_best(entries, variants, duels)
    rows = []
    for i, standing in enumerate(standings):
        cells = []
        for j, variant in enumerate(variants):
            shown = value(100 * standing.normalised[variant], 1)
            shade = int(min(5, max(0, standing.normalised[variant] * 6)))
            cells.append({"raw": shown.raw, "text": shown.text, "shade": shade, "mark": marks[i][j]})
        rows.append({"link": link(standing.entry, root), "cells": cells})
    return {"columns": [{"label": titles[v], "href": task_page(v.task)} for v in variants], "rows": rows}


def _against_best(entries: Sequence[Entry], variants: Sequence[Variant], duels: Duels) -> list[list[str]]:
    p = np.full((len(entries), len(variants)), np.nan)
    best = {}
    for j, variant in enumerate(variants):
        found = duels.of(variant)
        places = {} if found is None else found.places
        if found is None or any(id(entry) not in places for entry in entries):
            continue
        top = max(range(len(entries)), key=lambda i: entries[i].cells[variants[j]].value or 0.0)
        best[j] = top
        p[:, j] = [found.matrix.p[places[id(entry)], places[id(entries[top])]] for entry in entries]
        p[top, j] = np.nan
    known = ~np.isnan(p)
    q = np.full(p.shape, np.nan)
    if known.any():
        q[known] = benjamini_hochberg(p[known])
    return [
        [
            "" if j not in best else "●" if i == best[j] or not q[i, j] < 0.05 else "▼"
            for j in range(len(variants))
        ]
        for i in range(len(entries))
    ]  # fmt: skip


def suite_column(suite: str, board: Board) -> SuiteColumn:
    """Its means, for the overview; models that lack a task of the suite have none."""
    whole = max((len(group.variants) for group in board.groups), default=0)
    means = {
        id(standing.entry): 100 * standing.mean
        for group in board.groups
        if len(group.variants) == whole
        for standing in group.standings
    }
    here = len({variant.task for group in board.groups for variant in group.variants})
    label = f"{suite} ({here} of {here + len(board.missing)} tasks)" if board.missing else suite
    return SuiteColumn(suite, name(label), means)

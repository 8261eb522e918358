"""Every pair of models on one task, doc by doc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchbench.core.errors import StoreError
from benchbench.leaderboard.comparison import CompareOptions, Comparison, DuelRow, compare_models
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Entry, Variant
from benchbench.stats.matrix import DuelMatrix, duel_matrix
from benchbench.stats.testing import benjamini_hochberg
from benchbench.store.find import find_models

if TYPE_CHECKING:
    import pandas as pd


SEED = 1234


@dataclass(frozen=True, slots=True)
class TaskDuels:
    """The duels of one variant."""

    entries: tuple[Entry, ...]
    places: dict[int, int]
    """id(entry) → its row and column."""
    matrix: DuelMatrix
    wins: NDArray[np.bool_]
    """Row is significantly better than column, after Holm over all pairs on this task."""
    num_docs: int
    """Docs that all of them have a score for."""
    dropped: int
    """Docs left out because a model has no score for them."""

    def balance(self, entry: Entry) -> tuple[int, int]:
        """How many models it beats, and how many beat it."""
        place = self.places[id(entry)]
        return int(self.wins[place].sum()), int(self.wins[:, place].sum())


class Duels:
    """The duels of each variant among the entries that a site lists, worked out once."""

    def __init__(self, entries: Sequence[Entry], items: ItemScores) -> None:
        self._entries = entries
        self._items = items
        self._known: dict[Variant, TaskDuels | None] = {}
        self.problems: list[str] = []
        """Tasks on which models could not be compared, and why."""

    def of(self, variant: Variant) -> TaskDuels | None:
        """None with fewer than two models that have items."""
        if variant not in self._known:
            self._known[variant] = self._make(variant)
        return self._known[variant]

    def wins(self, variant: Variant, entries: Sequence[Entry]) -> NDArray[np.bool_] | None:
        """Shape (entries, entries); None where one of them has no items."""
        found = self.of(variant)
        if found is None:
            return None
        if any(id(entry) not in found.places for entry in entries):
            return None
        rows = [found.places[id(entry)] for entry in entries]
        return found.wins[np.ix_(rows, rows)]

    def worse_than_best(self, entries: Sequence[Entry], variants: Sequence[Variant]) -> list[list[bool | None]]:
        """Of each entry, for each variant: is it told apart from the best of these entries? None: no items for all.

        q < 0.05, Benjamini–Hochberg over all these entries and variants.
        """
        p = np.full((len(entries), len(variants)), np.nan)
        best = dict[int, int]()
        for j, variant in enumerate(variants):
            found = self.of(variant)
            if found is None or any(id(entry) not in found.places for entry in entries):
                continue
            best[j] = top = max(range(len(entries)), key=lambda i: entries[i].cells[variants[j]].value or 0.0)
            places = [found.places[id(entry)] for entry in entries]
            p[:, j] = found.matrix.p[places, places[top]]
            p[top, j] = np.nan
        known = ~np.isnan(p)
        q = np.full(p.shape, np.nan)
        if known.any():
            q[known] = benjamini_hochberg(p[known])
        return [
            [None if j not in best else i != best[j] and bool(q[i, j] < 0.05) for j in range(len(variants))]
            for i in range(len(entries))
        ]

    def _make(self, variant: Variant) -> TaskDuels | None:
        known = [entry for entry in self._entries if variant in entry.cells]
        entries = [entry for entry in known if self._items.has(entry.cells[variant])]
        if len(entries) < 2:
            return None
        try:
            paired = self._items.paired([entry.cells[variant] for entry in entries])
        except StoreError as error:
            self.problems.append(f"no duels on {variant.task}: {error}")
            return None
        metric = entries[0].cells[variant].metric
        matrix = duel_matrix(
            paired.scores, paired.clusters, seed=SEED, scale=metric.scale, estimates=not metric.is_mean
        )
        places = {id(entry): place for place, entry in enumerate(entries)}
        wins = matrix.wins(higher_is_better=metric.higher_is_better)
        return TaskDuels(tuple(entries), places, matrix, wins, paired.scores.shape[1], paired.dropped)


DUEL_COLUMNS: dict[str, str] = {
    "a": "string",
    "b": "string",
    "task": "string",
    "metric": "string",
    "is_group": "boolean",
    "n": "Int64",
    "n_clusters": "Int64",
    "dropped": "Int64",
    "score_a": "Float64",
    "score_b": "Float64",
    "difference": "Float64",
    "stderr": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "p": "Float64",
    "p_adjusted": "Float64",
    "q": "Float64",
    "method": "string",
    "right_to_wrong": "Int64",
    "wrong_to_right": "Int64",
    "flips": "Float64",
    "failed_low": "Float64",
    "failed_high": "Float64",
    "delta": "Float64",
    "equivalence_p": "Float64",
    "detectable": "Float64",
    "verdict": "string",
    "higher_is_better": "boolean",
    "is_log": "boolean",
    "note": "string",
}


def flat(row: DuelRow) -> dict[str, str | float | None]:
    """The row as a dict with the keys of `DUEL_COLUMNS`."""
    found = row.duel
    interval = found.interval
    return {
        "a": row.a,
        "b": row.b,
        "task": row.task,
        "metric": row.metric,
        "is_group": row.is_group,
        "n": found.n,
        "n_clusters": found.n_clusters,
        "dropped": row.dropped,
        "score_a": found.score_a,
        "score_b": found.score_b,
        "difference": found.difference.value,
        "stderr": found.difference.stderr,
        "ci_low": None if interval is None else interval.low,
        "ci_high": None if interval is None else interval.high,
        "p": found.p,
        "p_adjusted": row.p_adjusted,
        "q": row.q,
        "method": found.method,
        "right_to_wrong": found.losses,
        "wrong_to_right": found.wins,
        "flips": found.flips,
        "failed_low": None if row.reach is None else row.reach.low,
        "failed_high": None if row.reach is None else row.reach.high,
        "delta": found.delta,
        "equivalence_p": found.equivalence_p,
        "detectable": found.detectable,
        "verdict": row.outcome,
        "higher_is_better": found.higher_is_better,
        "is_log": row.is_log,
        "note": row.note,
    }


def frame(comparison: Comparison) -> pd.DataFrame:
    """All rows as a DataFrame with the columns of `compare`."""
    import pandas as pd

    rows = [flat(row) for row in comparison.rows]
    return pd.DataFrame(rows, columns=list(DUEL_COLUMNS)).astype(DUEL_COLUMNS)


def compare(
    *models: str | Path,
    results: str | Path = "results",
    metric: str | tuple[str, ...] | list[str] | None = None,
    delta: float | None = None,
) -> pd.DataFrame:
    """Duels of every pair of models, the later against the earlier, on the docs both have scores for.

    Each of `models` is a run folder, a run id or its beginning, a model's name, or `model@step`, found in `results`.
    `metric` keeps these metrics (`"all"`: every one; default: each task's first). `delta` is the margin of
    equivalence in the metrics' own unit (of perplexities: of the logarithm); by default half a percent of each metric's
    range, or of the scores where it has none.
    What cannot be compared is left out with a warning that says why.

    | column | meaning |
    |---|---|
    | a, b | the two models; b is judged against a |
    | task, metric, is_group | where; `is_group` for means of several tasks |
    | n, n_clusters, dropped | docs compared, clusters of them, docs left out because one side has no score |
    | score_a, score_b, difference | on these docs; difference is b − a |
    | stderr, ci_low, ci_high | of the difference, 95 % |
    | p, p_adjusted, q | two-sided; Holm over the pairs of models on this task; Benjamini–Hochberg over all tasks |
    | method | the test |
    | right_to_wrong, wrong_to_right, flips | docs on which b falls below or rises above a; their share |
    | failed_low, failed_high | the difference, had the docs that failed on one side all gone against b, or for it |
    | delta, equivalence_p | margin, and p of the two one-sided tests against it |
    | detectable | smallest true difference found with 80 % power |
    | verdict | better, worse, equivalent, undecided: b against a, at p_adjusted < 0.05 |
    | higher_is_better | |
    | is_log | scores, difference and interval are logarithms (perplexities): exp(difference) is their ratio |
    | note | how a mean of tasks was made |

    Raises:
        BenchbenchError: a name that fits nothing, or nothing that can be compared.
    """
    import warnings

    options = CompareOptions(None if metric is None else (metric,) if isinstance(metric, str) else tuple(metric), delta)
    found = compare_models(find_models([str(model) for model in models], Path(results)), options)
    for refusal in found.refused:
        where = refusal.task if refusal.metric is None else f"{refusal.task} {refusal.metric}"
        warnings.warn(f"not compared: {refusal.a} and {refusal.b} on {where}: {refusal.reason}", stacklevel=2)
    return frame(found)

"""Duels as flat rows: the same columns in JSON, CSV and pandas."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.leaderboard.comparison import Comparison, Row, Wanted, compare_sides
from benchbench.store.sides import find_sides

if TYPE_CHECKING:
    import pandas as pd

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


def flat(row: Row) -> dict[str, Any]:
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

    wanted = Wanted(None if metric is None else (metric,) if isinstance(metric, str) else tuple(metric), delta)
    found = compare_sides(find_sides([str(model) for model in models], Path(results)), wanted)
    for refusal in found.refused:
        where = refusal.task if refusal.metric is None else f"{refusal.task} {refusal.metric}"
        warnings.warn(f"not compared: {refusal.a} and {refusal.b} on {where}: {refusal.reason}", stacklevel=2)
    return frame(found)

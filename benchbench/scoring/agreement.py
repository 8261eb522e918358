"""F1, macro F1 and Matthews correlation of predicted and right choices over all docs, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import numpy as np

from benchbench.core.format import several
from benchbench.stats.groups import correlation_of, group_mean
from benchbench.stats.influence import Estimate, Floats, jackknife_sums, ratio
from benchbench.stats.intervals import Interval, Uncertainty, cluster_sums, proportion, spread, uncertainty, wilson_of
from benchbench.stats.scores import bounded, effective_size

FEWEST = 3
"""Docs of a choice, right or predicted, that an interval needs."""
ADDED = 3.0
"""Docs that are spread over all pairs of right and predicted choice before the scatter of Matthews' correlation is
taken from the table: what a few docs of a rare choice have not shown."""


def agreement(metric: str, gold: Sequence[int], predicted: Sequence[int]) -> Estimate:
    """`f1` of choice 1, `macro_f1` or `matthews_corrcoef` of any number of choices; jackknife influence values.

    Equal to scikit-learn's values, also where a denominator is 0 (then 0).

    Args:
        gold, predicted: choice indices, at least one doc; for F1 only 0 and 1.
    """
    count = 1 + max(*gold, *predicted, 1)
    table = np.zeros((len(gold), count * count))
    table[np.arange(len(gold)), np.asarray(gold) * count + np.asarray(predicted)] = 1
    scores: dict[str, Callable[[Sequence[float]], float]] = {
        "f1": _f1,
        "macro_f1": partial(_macro_f1, count=count),
        "matthews_corrcoef": partial(_matthews, count=count),
    }
    return jackknife_sums(table, scores[metric])


def agreement_uncertainty(
    metric: str,
    estimate: Estimate,
    gold: Sequence[int],
    predicted: Sequence[int],
    clusters: Sequence[Hashable | None] | None = None,
    *,
    choices: int = 2,
) -> Uncertainty:
    """The jackknife's standard error of an `agreement`, and an interval that holds for rare choices, too.

    Args:
        metric, gold, predicted: as of `agreement`.
        estimate: what `agreement` has found.
        choices: how many there are at least; one that no doc has is a reason to give no interval.
    """
    plain, known = uncertainty(estimate, clusters), spread(estimate.influence, clusters)
    if plain.stderr is None or known is None:
        return plain
    y_true, y_pred = np.asarray(gold), np.asarray(predicted)
    count = max(choices, 1 + max(*gold, *predicted, 1))
    refusal = known.refusal() or _too_few(metric, y_true, y_pred, count)
    if refusal is not None:
        return plain._replace(interval=None, reason=refusal)
    if metric == "matthews_corrcoef":
        interval = _matthews_interval(estimate, y_true, y_pred, clusters, count)
    else:
        interval = _f1_interval(metric, y_true, y_pred, clusters, count)
    return plain._replace(interval=interval, reason=known.warning())


def _too_few(metric: str, gold: np.ndarray, predicted: np.ndarray, count: int) -> str | None:
    """A choice that too few docs have: for F1 right or predicted, for Matthews' correlation each of the two."""
    wanted = [1] if metric == "f1" else range(count)
    for k in wanted:
        right, chosen = gold == k, predicted == k
        found = int(min(right.sum(), chosen.sum()) if metric == "matthews_corrcoef" else (right | chosen).sum())
        if found < FEWEST:
            how = "right, or predicted," if metric == "matthews_corrcoef" else "right or predicted"
            return f"no interval: choice {k} is {how} for only {several(found, 'doc')}"
    return None


def _f1_interval(
    metric: str, gold: np.ndarray, predicted: np.ndarray, clusters: Sequence[Hashable | None] | None, count: int
) -> Interval | None:
    """F1 is 2J/(1 + J) of J, the share of the docs with the choice, right or predicted, that are right and predicted.

    J is a share of right answers and has the interval of one; of macro F1 the choices' intervals are put together, with
    the correlation that their influence values have.
    """
    if metric == "f1":
        return _f1_of_choice(gold == 1, predicted == 1, clusters)[1]
    parts = [_f1_of_choice(gold == k, predicted == k, clusters) for k in range(count)]
    return group_mean(
        [part[0] for part in parts],
        [part[3] for part in parts],
        [int(((gold == k) | (predicted == k)).sum()) - 1 for k in range(count)],
        intervals=[part[1] for part in parts],
        correlation=correlation_of([part[2] for part in parts]),
    ).interval


def _f1_of_choice(
    right: np.ndarray, chosen: np.ndarray, clusters: Sequence[Hashable | None] | None
) -> tuple[float, Interval, Floats, float]:
    """F1 of one choice, its interval, the influence values of J summed within clusters, and F1's standard error."""
    both, either = (right & chosen).astype(float), (right | chosen).astype(float)
    share = ratio(both, either)
    known = spread(share.influence, clusters, either)
    if known is None or not known.is_clustered:
        found = proportion(int(both.sum()), int(either.sum()))
    else:
        found = bounded(share.value, known)
    low, high = (2 * end / (1 + end) for end in found)
    error = 0.0 if known is None else 2 * math.sqrt(known.variance) / (1 + share.value) ** 2
    return 2 * share.value / (1 + share.value), Interval(low, high), cluster_sums(share.influence, clusters), error


def _matthews_interval(
    estimate: Estimate, gold: np.ndarray, predicted: np.ndarray, clusters: Sequence[Hashable | None] | None, count: int
) -> Interval | None:
    """Wilson's on (φ + 1)/2 with the effective number of docs of the table with a few docs added."""
    table = np.full((count, count), ADDED / count**2)
    np.add.at(table, (gold, predicted), 1)
    cells = _matthews_influence(table)
    squares = (cells / table.sum()) ** 2
    variance = float((table * squares).sum())
    alike = variance**2 / float((table * squares**2).sum())
    known = spread(estimate.influence, clusters)
    more = max(1.0, known.variance / known.alone) if known and known.is_clustered and known.alone > 0 else 1.0
    degrees = min(gold.size - 1, 2 * alike / max(1 - alike / gold.size, 1e-9))
    degrees = min(degrees, known.degrees) if known and known.is_clustered else degrees
    smooth = (_matthews(table.ravel().tolist(), count) + 1) / 2
    size = effective_size(smooth, variance * more / 4, degrees)
    found = wilson_of((estimate.value + 1) / 2, size)
    return Interval(2 * found.low - 1, 2 * found.high - 1)


def _matthews_influence(table: Floats) -> Floats:
    """Influence on Matthews' correlation of a doc in each cell of a table of counts; sums to 0 over its docs."""
    count, total = table.shape[0], table.sum()
    gold, chosen, right = table.sum(axis=1), table.sum(axis=0), np.trace(table)
    of_gold, of_chosen = total**2 - gold @ gold, total**2 - chosen @ chosen
    above, below = right * total - gold @ chosen, math.sqrt(of_gold * of_chosen)
    d_above = np.eye(count) * total + right - chosen[:, None] - gold[None, :]
    d_below = (2 * (total - gold)[:, None] * of_chosen + 2 * (total - chosen)[None, :] * of_gold) / (2 * below)
    slope = total * (d_above / below - above / below**2 * d_below)
    return np.asarray(slope - (slope * table).sum() / total)


def _f1(cells: Sequence[float]) -> float:
    """2·TP / (2·TP + FP + FN) from the cells (gold, predicted) = 00, 01, 10, 11."""
    _, false_positive, false_negative, true_positive = cells
    whole = 2 * true_positive + false_positive + false_negative
    return 2 * true_positive / whole if whole else 0.0


def _macro_f1(cells: Sequence[float], count: int) -> float:
    """Mean F1 of the choices that are right or predicted for some doc."""
    confusion = np.asarray(cells).reshape(count, count)
    whole = confusion.sum(axis=0) + confusion.sum(axis=1)
    seen = whole > 0
    return float((2 * np.diag(confusion)[seen] / whole[seen]).mean()) if seen.any() else 0.0


def _matthews(cells: Sequence[float], count: int) -> float:
    """Gorodkin's R_K from the confusion matrix (Comput. Biol. Chem. 28, 2004); two choices: Matthews' φ."""
    confusion = np.asarray(cells).reshape(count, count)
    total, right = confusion.sum(), np.trace(confusion)
    gold, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    spread = (total**2 - (gold**2).sum()) * (total**2 - (predicted**2).sum())
    return float((right * total - gold @ predicted) / math.sqrt(spread)) if spread > 0 else 0.0

"""F1, macro F1 and Matthews correlation of predicted and right choices over all docs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchbench.stats.influence import Estimate, jackknife_sums


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

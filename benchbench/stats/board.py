"""Figures of a board: scores on one scale, and two that depend on which models are listed."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats


def chance_normalised(score: float, chance: float, best: float = 1.0) -> float:
    """(score − chance) / (best − chance): 0 is guessing, 1 the best. Not clipped: below chance is below 0.

    Standard errors scale by 1 / (best − chance).
    """
    if not chance < best:
        raise ValueError(f"chance {chance} must be below the best score {best}")
    return (score - chance) / (best - chance)


def mean_win_rate(scores: ArrayLike) -> Floats:
    """HELM's mean win rate: share of the other models beaten, ties one half, mean over tasks.

    Depends on the models listed.

    Args:
        scores: shape (tasks, models), higher is better; NaN where a model has no score. A task counts for a model
            among the models that have it.
    Returns:
        shape (models,); NaN for a model that meets no other.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    known = ~np.isnan(table)
    wins = (table[:, :, None] > table[:, None, :]).sum(axis=2)
    ties = (table[:, :, None] == table[:, None, :]).sum(axis=2) - known
    others = known.sum(axis=1, keepdims=True) - known
    rates = np.where(known & (others > 0), (wins + ties / 2) / np.maximum(others, 1), np.nan)
    counts = (~np.isnan(rates)).sum(axis=0)
    return np.where(counts > 0, np.nansum(rates, axis=0) / np.maximum(counts, 1), np.nan)


def duel_win_score(wins: ArrayLike, categories: Sequence[Hashable] | None = None) -> Floats:
    """BenCzechMark's duel win score: share of the other models beaten significantly, mean over tasks, then categories.

    Ties count for neither. Depends on the models listed. Source: arXiv 2412.17933.

    Args:
        wins: shape (tasks, models, models): on this task, row beats column significantly.
        categories: of each task; None: one for all.
    Returns:
        shape (models,).
    """
    table = np.asarray(wins, dtype=bool)
    if table.ndim != 3 or table.shape[1] != table.shape[2] or table.shape[1] < 2:
        raise ValueError(f"wins must have the shape tasks × models × models, two models or more, not {table.shape}")
    rates = table.sum(axis=2) / (table.shape[1] - 1)
    names = [None] * len(rates) if categories is None else list(categories)
    members: dict[Hashable, list[int]] = {}
    for task, name in enumerate(names):
        members.setdefault(name, []).append(task)
    means = np.stack([rates[tasks].mean(axis=0) for tasks in members.values()])
    return np.asarray(means.mean(axis=0), dtype=np.float64)

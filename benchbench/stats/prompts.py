"""One task under K prompts: each prompt's mean, the mean over prompts, and what choosing the best one is worth.

The best of K is chosen by the very items that it is then scored on, so it is too high: by chance alone up to 1.16
standard deviations of the prompts for K = 5, and more for models that are sensitive to prompts. What a chosen prompt is
really worth is its score on items that did not choose it (cross-fitting: one half of the items chooses, the other half
scores, in both directions, over several divisions).
Source: Fajčík et al., "BenCzechMark", arXiv 2412.17933, reports the maximum; Cawley & Talbot, "On Over-fitting in Model
Selection and Subsequent Selection Bias in Performance Evaluation", JMLR 11 (2010), says why not to.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Estimate, Floats, ends, mean, unseen_variance
from benchbench.stats.intervals import (
    LEVEL,
    Interval,
    Uncertainty,
    cluster_index,
    cluster_sums,
    standard_error,
    t_quantile,
    uncertainty,
)
from benchbench.stats.units import default_scale, gather, skewness

DRAWS = 9999
DIVISIONS = 20
"""Ways in which the items are halved: their average does not hang on one division."""


class Prompts(NamedTuple):
    """What K prompts of one task say of one model."""

    values: tuple[float, ...]
    """Mean of each prompt."""
    deviation: float
    """Standard deviation between the prompts' means (ddof 1)."""
    mean: float
    mean_stderr: float | None
    """Of the mean over prompts, for other items and other prompts of the kind."""
    mean_interval: Interval | None
    best: int
    """The prompt with the best mean; the first of those that share it."""
    held_out: float | None
    """Score of the prompt chosen on other items; None with fewer than four clusters of items."""
    held_out_known: Uncertainty | None
    """Standard error of that, and an interval that holds the true score of the prompt shown as best in at least 95 % of
    cases, although it was chosen by these items."""


def over_prompts(
    scores: ArrayLike, clusters: Sequence[Hashable | None] | None = None, *, higher_is_better: bool = True, seed: int
) -> Prompts:
    """The summary of `scores`, shape (prompts, items), both at least 2: item scores of one model under each prompt."""
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or min(table.shape) < 2:
        raise ValueError(f"scores must be two prompts or more by two items or more, not of shape {table.shape}")
    values = table.mean(axis=1)
    sign = 1.0 if higher_is_better else -1.0
    best = int(np.argmax(sign * values))
    known = _over_prompts_and_items(table, clusters)
    centre = float(values.mean())
    half = 0.0 if known is None else t_quantile(known[1]) * known[0]
    held_out = _held_out(table, clusters, higher_is_better=higher_is_better, seed=seed)
    return Prompts(
        values=tuple(map(float, values)),
        deviation=float(values.std(ddof=1)),
        mean=centre,
        mean_stderr=None if known is None else known[0],
        mean_interval=None if known is None else Interval(centre - half, centre + half),
        best=best,
        held_out=None if held_out is None else held_out.value,
        held_out_known=None if held_out is None else _known(table, clusters, held_out, best, sign, seed),
    )


def _known(
    table: Floats, clusters: Sequence[Hashable | None] | None, held_out: Estimate, best: int, sign: float, seed: int
) -> Uncertainty:
    """How sure the best prompt's own score is.

    The best of K is shown too good by as much as the largest of K errors, so the end on its bad side lies as many
    standard errors away as the largest of K normal errors with the prompts' correlation reaches in 2.5 % of draws.
    The other end is the usual one. The interval holds the held-out score as well.
    """
    pulls = gather(sign * (table - table.mean(axis=1, keepdims=True)), cluster_index(clusters, table.shape[1]))
    n, own = pulls.shape[1], pulls[best]
    squares, cubes = np.array([own @ own]), np.array([own**2 @ own])
    unseen = unseen_variance(own, default_scale(table))
    skewed = float(skewness(squares, cubes, np.array([unseen]), n)[0])
    usual = t_quantile(n - 1)
    far = usual * max(1.0, _largest(pulls, seed) / t_quantile(math.inf))
    error = sign * math.sqrt(float(squares[0]) / (n * (n - 1)) + unseen)
    score = float(table[best].mean())
    reached = [held_out.value, score - error * ends(far, skewed)[1], score - error * ends(usual, skewed)[0]]
    if bool(((table >= 0) & (table <= 1)).all()):
        reached = [min(1.0, max(0.0, end)) for end in reached]
    return uncertainty(held_out, clusters)._replace(interval=Interval(min(reached), max(reached)))


def _largest(pulls: Floats, seed: int) -> float:
    """What the largest of the prompts' errors, in standard errors, reaches in 2.5 % of draws."""
    rng = np.random.default_rng(seed)
    errors = np.sqrt(np.square(pulls).sum(axis=1, keepdims=True))
    scaled = np.divide(pulls, errors, out=np.zeros_like(pulls), where=errors > 0)
    root = np.linalg.cholesky(scaled @ scaled.T + 1e-9 * np.eye(len(pulls)))
    return float(np.quantile((root @ rng.standard_normal((len(pulls), DRAWS))).max(axis=0), 1 - (1 - LEVEL) / 2))


def _over_prompts_and_items(table: Floats, clusters: Sequence[Hashable | None] | None) -> tuple[float, float] | None:
    """(standard error, degrees of freedom) of the mean over prompts; None where the items give no error.

    Items and prompts are crossed: Var = Var_items(s̄_i·) + Var_prompts(s̄_·k)/K − Var_residual/(nK), the last two not
    below 0 together; degrees after Satterthwaite (1946).
    """
    count, n = table.shape
    influence = mean(table.mean(axis=0)).influence
    by_item = standard_error(influence, clusters)
    if by_item is None:
        return None
    rest = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    residual = float((rest**2).sum()) / ((count - 1) * (n - 1))
    between = max(0.0, float(table.mean(axis=1).var(ddof=1)) / count - residual / (n * count))
    total = by_item**2 + between
    parts = by_item**4 / (cluster_sums(influence, clusters).size - 1) + between**2 / (count - 1)
    return math.sqrt(total), total**2 / parts if parts else math.inf


def _held_out(
    table: Floats, clusters: Sequence[Hashable | None] | None, *, higher_is_better: bool, seed: int
) -> Estimate | None:
    """Mean over items of the score under the prompt that the other half of the items has chosen."""
    n = table.shape[1]
    which = cluster_index(clusters, n)
    which = np.arange(n) if which is None else which
    groups = int(which.max()) + 1
    if groups < 4:
        return None
    rng = np.random.default_rng(seed)
    better = table if higher_is_better else -table
    total = np.zeros(n)
    for _ in range(DIVISIONS):
        first = (rng.permutation(groups) < groups // 2)[which]
        for chooses in (first, ~first):
            chosen = int(np.argmax(better[:, chooses].mean(axis=1)))
            total[~chooses] += table[chosen, ~chooses]
    return mean(total / DIVISIONS)

"""Strengths from pairwise comparisons: the Bradley-Terry model, with what else sways a judge, and errors by question.

    logit P(first is preferred) = strength of first − strength of second + Σ coefficient · covariate

A tie is half a win for each. Source of the model: Bradley & Terry, Biometrika 39 (1952); covariates as by Agresti,
Categorical Data Analysis (2013), section 11.6; clustered errors: Liang & Zeger, Biometrika 73 (1986).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats
from benchbench.stats.intervals import LEVEL, Interval, cluster_index, t_quantile

STEPS = 200
TOLERANCE = 1e-12
PRIOR = 0.5
"""Wins and losses against one of middling strength that each model is given where the data alone have no maximum."""


@dataclass(frozen=True, slots=True)
class Strengths:
    """What comparisons say of the models, on the logistic scale."""

    values: Floats
    """Shape (models,), of mean 0; 0.4 apart means that the better one is preferred in 60 of 100."""
    coefficients: Floats
    """Shape (covariates,)."""
    covariance: Floats
    """Shape (models + covariates, models + covariates), clustered; NaN with fewer clusters than parameters."""
    clusters: int
    separated: bool
    """Some models never lost, or never won, against the others: each was given half a win and half a loss more."""

    @property
    def models(self) -> int:
        """How many there are."""
        return int(self.values.size)

    @property
    def errors(self) -> Floats:
        """Standard errors, shape (models + covariates,)."""
        return np.asarray(np.sqrt(np.maximum(np.diag(self.covariance), 0.0)), dtype=np.float64)

    def interval(self, place: int, level: float = LEVEL) -> Interval | None:
        """Of a model's strength, or of covariate `place − models`; None where its error is not known: too few clusters,
        or all comparisons ended alike.
        """
        error = float(self.errors[place])
        if not math.isfinite(error) or error < 1e-9:
            return None
        both = np.concatenate([self.values, self.coefficients])
        reach = t_quantile(max(1, self.clusters - 1), level) * error
        return Interval(float(both[place]) - reach, float(both[place]) + reach)


def bradley_terry(
    first: Sequence[int],
    second: Sequence[int],
    outcomes: ArrayLike,
    *,
    models: int,
    clusters: Sequence[Hashable] | None = None,
    covariates: ArrayLike | None = None,
) -> Strengths:
    """The strengths of maximum likelihood, by Newton's method.

    The covariance is the delete-one-cluster jackknife's in one step from the whole (CR3: Bell & McCaffrey, Survey
    Methodology 28, 2002): with few questions the plain sandwich is too small.

    Args:
        first, second: which models were compared, from 0; not the same.
        outcomes: shape (comparisons,): 1 where the first is preferred, 0 the second, 0.5 a tie.
        models: how many there are; each is compared with some other.
        clusters: what comparisons share, the question; None: nothing.
        covariates: shape (comparisons, k).
    """
    y = np.asarray(outcomes, dtype=np.float64)
    a, b = np.asarray(first, dtype=np.intp), np.asarray(second, dtype=np.intp)
    if y.size == 0 or not y.size == a.size == b.size or (a == b).any():
        raise ValueError("comparisons are of two different models each, with an outcome, at least one")
    extra = np.zeros((y.size, 0)) if covariates is None else np.asarray(covariates, dtype=np.float64)
    design = np.zeros((y.size, models))
    design[np.arange(y.size), a] = 1.0
    design[np.arange(y.size), b] = -1.0
    basis = _contrasts(models)
    separated = not _is_connected(a, b, y, models)
    x = np.concatenate([design @ basis, extra], axis=1)
    ghosts = np.concatenate([basis, np.zeros((models, extra.shape[1]))], axis=1) if separated else None
    beta, hessian = _maximum(x, y, ghosts)
    back = np.zeros((models + extra.shape[1], models - 1 + extra.shape[1]))
    back[:models, : models - 1] = basis
    back[models:, models - 1 :] = np.eye(extra.shape[1])
    found = back @ beta
    which = cluster_index(clusters, y.size)
    which = np.arange(y.size) if which is None else which
    moved, count = _left_out(x, y, beta, hessian, which)
    covariance = back @ moved @ back.T if count > beta.size else np.full((found.size, found.size), math.nan)
    return Strengths(found[:models], found[models:], covariance, count, separated)


def _contrasts(models: int) -> Floats:
    """An orthonormal basis of strengths that sum to 0, shape (models, models − 1)."""
    return np.asarray(np.linalg.svd(np.eye(models) - 1.0 / models)[0][:, : models - 1], dtype=np.float64)


def _maximum(x: Floats, y: Floats, ghosts: Floats | None) -> tuple[Floats, Floats]:
    """The coefficients, and the negative Hessian there."""
    beta = np.zeros(x.shape[1])
    scale = max(1.0, float(np.abs(x).max(initial=0.0)))

    def step(at: Floats) -> tuple[Floats, Floats]:
        p = _logistic(x @ at)
        gradient, hessian = x.T @ (y - p), (x * (p * (1 - p))[:, None]).T @ x
        if ghosts is not None:
            q = _logistic(ghosts @ at)
            gradient += 2 * PRIOR * ghosts.T @ (0.5 - q)
            hessian += 2 * PRIOR * (ghosts * (q * (1 - q))[:, None]).T @ ghosts
        return gradient, hessian

    for _ in range(STEPS):
        gradient, hessian = step(beta)
        move = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        longest = float(np.abs(move).max(initial=0.0))
        beta = beta + move * min(1.0, 4.0 / (longest * scale)) if longest else beta
        if longest < TOLERANCE:
            break
    return beta, step(beta)[1]


def _logistic(z: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(z, -500, 500))), dtype=np.float64)


def _left_out(x: Floats, y: Floats, beta: Floats, hessian: Floats, which: NDArray[np.intp]) -> tuple[Floats, int]:
    """Jackknife covariance of the coefficients, one Newton step for each cluster left out; and the clusters' number."""
    p = _logistic(x @ beta)
    scores, weight = x * (y - p)[:, None], p * (1 - p)
    count = int(which.max()) + 1
    moves = np.zeros((count, beta.size))
    order = np.argsort(which, kind="stable")
    ends = np.searchsorted(which[order], np.arange(count + 1))
    for cluster in range(count):
        rows = order[ends[cluster] : ends[cluster + 1]]
        rest = hessian - (x[rows] * weight[rows, None]).T @ x[rows]
        moves[cluster] = -np.linalg.lstsq(rest, scores[rows].sum(axis=0), rcond=None)[0]
    moves -= moves.mean(axis=0)
    return (count - 1) / count * moves.T @ moves, count


def _is_connected(a: NDArray[np.intp], b: NDArray[np.intp], y: Floats, models: int) -> bool:
    """Whether a chain of wins or ties leads from each model to each other: else there is no maximum (Ford 1957)."""
    beats = np.zeros((models, models), dtype=bool)
    beats[a[y > 0], b[y > 0]] = True
    beats[b[y < 1], a[y < 1]] = True
    reach = beats | np.eye(models, dtype=bool)
    for _ in range(max(1, models.bit_length())):
        reach = (reach.astype(np.int64) @ reach.astype(np.int64)) > 0
    return bool(reach.all())


def expected_gains(counts: ArrayLike, pairs: Sequence[tuple[int, int]]) -> Floats:
    """Of each pair how much one more comparison tells: ln(1 + variance of its difference / 4), shape (pairs,).

    It is what one comparison takes off the log determinant of the strengths' covariance (D-optimality: Fedorov, Theory
    of Optimal Experiments, 1972) where the models are alike. Who won has no part in it: a choice that follows the
    estimates feeds on their errors, and ranks would be claimed too often.

    Args:
        counts: shape (models, models), symmetric: how often two models were compared.
    """
    met = np.asarray(counts, dtype=np.float64)
    laplacian = np.diag(met.sum(axis=1)) - met
    known = np.linalg.inv(laplacian / 4 + np.full_like(met, 1.0 / met.shape[0]) + 1e-6 * np.eye(met.shape[0]))
    places = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    a, b = places[:, 0], places[:, 1]
    variance = known[a, a] + known[b, b] - 2 * known[a, b]
    return np.asarray(np.log1p(np.maximum(variance, 0.0) / 4), dtype=np.float64)

"""p-values of many tests, adjusted. An adjusted p below α is significant among its family.

numpy only; statsmodels' `multipletests` computes the same.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from benchbench.stats.influence import Floats


def holm(p: ArrayLike) -> Floats:
    """Adjusted p-values, shape (tests,): the chance of any false claim stays below α, whatever the dependence.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    raised = np.maximum.accumulate(x[order] * np.arange(x.size, 0, -1))
    return _back(np.minimum(raised, 1.0), order)


def benjamini_hochberg(p: ArrayLike, *, any_dependence: bool = False) -> Floats:
    """Adjusted p-values, shape (tests,): among the claims, the expected share of false ones stays below α.

    `any_dependence` pays Benjamini & Yekutieli's factor Σ 1/k (Annals of Statistics 29, 2001).
    Source: Benjamini & Hochberg, JRSS B 57 (1995).
    """
    x = _probabilities(p)
    order = np.argsort(x, kind="stable")
    ranks = np.arange(1, x.size + 1)
    factor = float((1 / ranks).sum()) if any_dependence else 1.0
    lowered = np.minimum.accumulate((x[order] * factor * x.size / ranks)[::-1])[::-1]
    return _back(np.minimum(lowered, 1.0), order)


def _probabilities(p: ArrayLike) -> Floats:
    x = np.asarray(p, dtype=np.float64)
    if x.ndim != 1 or not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError("p-values are a vector of numbers from 0 to 1")
    return x


def _back(x: Floats, order: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Floats:
    adjusted = np.empty_like(x)
    adjusted[order] = x
    return adjusted

"""Tests for pairs that need no large sample: McNemar's for right and wrong, sign flips for any score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.stats.influence import Floats

EXACT_FLIPS = 12
"""Up to this many values all 2^C sign patterns are tried."""


def mcnemar(wins: int, losses: int) -> float:
    """Exact two-sided p that wins and losses are equally likely; 1 where no pair differs.

    Source: McNemar, Psychometrika 12 (1947); exact form: the sign test on the pairs that differ.
    """
    return min(1.0, 2 * min(mcnemar_above(wins, losses), mcnemar_above(losses, wins)))


def mcnemar_above(wins: int, losses: int) -> float:
    """Exact one-sided p of "wins are no more likely than losses"."""
    from scipy.special import bdtrc

    if wins < 0 or losses < 0:
        raise ValueError(f"{wins} wins and {losses} losses")
    return 1.0 if wins == 0 else float(bdtrc(wins - 1, wins + losses, 0.5))


def mcnemar_mid(wins: int, losses: int) -> float:
    """Two-sided mid-p: half the probability of the observed count is left out. Less conservative than the exact p.

    Source: Fagerland, Lydersen & Laake, BMC Med. Res. Methodol. 13:91 (2013).
    """
    from scipy.stats import binom

    most, pairs = max(wins, losses), wins + losses
    if wins == losses:
        return 1.0
    return min(1.0, 2 * float(binom.sf(most, pairs, 0.5) + 0.5 * binom.pmf(most, pairs, 0.5)))


def sign_flip(values: ArrayLike, *, seed: int, draws: int = 9999) -> float:
    """Two-sided p that the values (differences of items, or sums of them per cluster) are symmetric about 0.

    All 2^C sign patterns where C is at most 12, else `draws` random ones and p = (1 + r) / (draws + 1),
    which is never 0. Source: Fisher, "The Design of Experiments" (1935), §21; Phipson & Smyth (2010).
    """
    x: Floats = np.asarray(values, dtype=np.float64)
    slack = 1e-12 * float(np.abs(x).sum())
    signs, extra = sign_patterns(x.size, seed=seed, draws=draws)
    reached = np.abs(signs @ x) >= abs(float(x.sum())) - slack
    return float((extra + reached.sum()) / (extra + signs.shape[0]))


def sign_patterns(count: int, *, seed: int, draws: int = 9999) -> tuple[NDArray[np.int8], int]:
    """Patterns of ±1, shape (patterns, count), and how many to count beside them as reached.

    All 2^count of them and 0, or `draws` random ones and 1.
    """
    if count <= EXACT_FLIPS:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return (1 - 2 * patterns).astype(np.int8), 0
    return 1 - 2 * np.random.default_rng(seed).integers(0, 2, (draws, count), dtype=np.int8), 1

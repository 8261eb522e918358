"""Simulated item scores: curves whose truth is known, the published curve, and metrics with a known true value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CARD_STEPS = (26_500, 50_000, 75_000, 100_000, 130_000)
CARD_COUNTS = (4543, 4775, 4916, 4980, 5025)
"""Right answers of 10042 at the published CS-HellaSwag scores .4524, .4755, .4895, .4959 and .5004."""
CARD_N = 10042
MISTRAL_COUNT = 5013
"""At Mistral-7B's published .4992."""


def related(base: Floats, count: int, disagreement: float, rng: np.random.Generator) -> Floats:
    """Right and wrong of another model: exactly `count` right, differing from `base` on that share of items."""
    fewer = int(base.sum()) - count
    differing = round(disagreement * base.size)
    differing += (differing + fewer) % 2
    lost, won = (differing + fewer) // 2, (differing - fewer) // 2
    other = base.copy()
    other[rng.permutation(np.flatnonzero(base == 1))[:lost]] = 0
    other[rng.permutation(np.flatnonzero(base == 0))[:won]] = 1
    return other


def card(disagreement: float, rng: np.random.Generator) -> list[Floats]:
    """The model card's five checkpoints, each differing from the last on that share of items."""
    last = np.zeros(CARD_N)
    last[: CARD_COUNTS[-1]] = 1
    return [*(related(last, count, disagreement, rng) for count in CARD_COUNTS[:-1]), last]


@dataclass(frozen=True)
class Curve:
    """A training run: true accuracy at each checkpoint, and how items and checkpoints vary."""

    accuracy: tuple[float, ...]
    n: int
    disagreement: float = 0.2
    """Share of items on which two checkpoints of equal accuracy differ."""
    tau: float = 0.0
    """Standard deviation of a checkpoint's true accuracy around the curve."""
    cluster_size: int = 1
    """Items per cluster; the items of a cluster are right or wrong together."""

    @property
    def clusters(self) -> list[str] | None:
        """Cluster names, or None for items of their own."""
        if self.cluster_size == 1:
            return None
        return [f"passage {i // self.cluster_size}" for i in range(self.n)]

    def draw(self, rng: np.random.Generator) -> list[Floats]:
        """Item scores of each checkpoint.

        An item is settled for all checkpoints, or drawn anew by each with the checkpoint's accuracy; the share of
        drawn ones gives the disagreement.
        """
        count = -(-self.n // self.cluster_size)
        base = float(np.mean(self.accuracy))
        share = min(1.0, self.disagreement / (2 * base * (1 - base)))
        settled = rng.random(count) >= share
        fixed = rng.random(count) < base
        rows = []
        for accuracy in self.accuracy:
            now = base + (accuracy - base + self.tau * rng.standard_normal()) / share
            right = np.where(settled, fixed, rng.random(count) < min(1.0, max(0.0, now)))
            rows.append(np.repeat(right, self.cluster_size)[: self.n].astype(np.float64))
        return rows


def skewed_clusters(count: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """Scores in clusters of 1 to 8 items that share a level; the true mean of scores is 1/2."""
    sizes = rng.integers(1, 9, count)
    which = np.repeat(np.arange(count), sizes)
    level = rng.beta(2, 2, count)
    return (rng.random(which.size) < level[which]).astype(np.float64), which


def segments(count: int, rng: np.random.Generator) -> Floats:
    """BLEU's sufficient statistics of segments: [hypothesis length, target length, matches 1..4, totals 1..4].

    A segment's quality and length vary, and matches of longer n-grams follow from those of shorter ones.
    """
    target = rng.integers(8, 40, count)
    length = np.maximum(5, np.round(target * rng.normal(0.97, 0.08, count)).astype(int))
    quality = rng.beta(8, 5, count)
    columns = [length, target]
    totals = [np.maximum(0, length - k) for k in range(4)]
    matches = [rng.binomial(total, quality ** (1 + 0.8 * k)) for k, total in enumerate(totals)]
    return np.stack([*columns, *matches, *totals], axis=1).astype(np.float64)


def bleu(sums: Floats) -> Floats:
    """Corpus BLEU, 0 to 100, of column sums, shape (…, 10)."""
    precisions = np.log(sums[..., 2:6] / sums[..., 6:10]).mean(axis=-1)
    brevity = np.minimum(0.0, 1 - sums[..., 1] / sums[..., 0])
    return np.asarray(100 * np.exp(precisions + brevity))


def true_bleu() -> float:
    """BLEU of endlessly many segments: of four million."""
    rng = np.random.default_rng(0)
    return float(bleu(sum(segments(500_000, rng).sum(axis=0) for _ in range(8))))


def flat(checkpoints: int = 8, n: int = 2000, accuracy: float = 0.5, tau: float = 0.0) -> Curve:
    """A run that learns nothing."""
    return Curve((accuracy,) * checkpoints, n, tau=tau)


def standard_error(proportion: float, runs: int) -> float:
    """Of a share counted in `runs` simulated runs."""
    return math.sqrt(proportion * (1 - proportion) / runs)

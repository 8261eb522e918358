"""Simulated pairs of models whose true difference is known: what duels are tried on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from scipy.special import expit, ndtr, ndtri

from benchbench.stats.duel import Duel, duel, duel_of_estimates
from benchbench.stats.influence import Estimate
from tests.simulate.worlds import Floats, bleu

Fight = Callable[[float], Duel]
"""The duel of two simulated models, given the margin of equivalence."""
AT_ONCE = 100
"""Pairs that are drawn together."""


class Pairs(Protocol):
    """A kind of pair of models. All are alike where the gap is 0: either may be the first."""

    @property
    def name(self) -> str:
        """Metric and kind."""
        ...

    @property
    def cell(self) -> str:
        """Sizes."""
        ...

    @property
    def units(self) -> int:
        """Independent docs or clusters."""
        ...

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """Duels of models of about this gap, each with the true difference."""
        ...


def batches(runs: int) -> Iterator[int]:
    """Parts of at most `AT_ONCE` that add up to `runs`."""
    while runs > 0:
        yield min(AT_ONCE, runs)
        runs -= AT_ONCE


def twins(rng: np.random.Generator, shape: tuple[int, ...], correlation: float) -> Floats:
    """Two normal values for each doc, shape (2, *shape), that share what makes the doc hard."""
    common, own = rng.standard_normal(shape), rng.standard_normal((2, *shape))
    return math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own


Sizes = Literal["alone", "of 5", "1 or 2", "as SQuAD", "one has half"]


def sizes_of(kind: Sizes, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Docs in each cluster; as SQuAD: a geometric number, 7.7 on average."""
    if kind == "alone":
        return np.ones(clusters, dtype=int)
    if kind == "of 5":
        return np.full(clusters, 5)
    if kind == "1 or 2":
        return rng.integers(1, 3, clusters)
    if kind == "as SQuAD":
        return 1 + rng.geometric(0.15, clusters)
    return np.array([3 * (clusters - 1), *[3] * (clusters - 1)])


@dataclass(frozen=True)
class RightOrWrong:
    """Docs that are right or wrong, alone or in clusters; a share of them differs, in one direction or the other."""

    units: int
    differing: float = 0.2
    kind: Sizes = "alone"
    together: float = 0.3
    """Correlation of the directions in which the docs of a cluster differ."""

    @property
    def name(self) -> str:
        """Metric and kind."""
        return "right or wrong" if self.kind == "alone" else f"right or wrong, clusters {self.kind}"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, {self.differing:.0%} differ"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """As many docs differ whatever the gap, until the gap itself asks for more."""
        share = min(1.0, max(self.differing, gap))
        up = (1 + min(gap, 1.0) / share) / 2
        for _ in range(runs):
            which = np.repeat(np.arange(self.units), sizes_of(self.kind, self.units, rng))
            chance = np.full(self.units, up)
            if self.kind != "alone" and up < 1:
                chance = rng.beta(up * (1 / self.together - 1), (1 - up) * (1 / self.together - 1), self.units)
            differ, rises = rng.random(which.size) < share, rng.random(which.size) < chance[which]
            a = np.where(differ, ~rises, rng.random(which.size) < 0.5).astype(np.float64)
            b = np.where(differ, rises, a)
            names = None if self.kind == "alone" else which.tolist()
            yield lambda delta, a=a, b=b, names=names: duel(a, b, names, seed=1, delta=delta, scale=1.0), min(gap, 1.0)


SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Floats]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1,
    "gamma(½)": lambda rng, shape: (rng.gamma(0.5, size=shape) - 0.5) / math.sqrt(0.5),
    "lognormal(½)": lambda rng, shape: np.exp(0.5 * rng.standard_normal(shape)) - math.exp(0.125),
    "lognormal(1)": lambda rng, shape: np.exp(rng.standard_normal(shape)) - math.exp(0.5),
    "Student's t(3)": lambda rng, shape: rng.standard_t(3, shape),
}


@dataclass(frozen=True)
class Shaped:
    """Real scores whose differences have this shape: skewed ones are rarely large and often small the other way."""

    units: int
    shape: str

    @property
    def name(self) -> str:
        """Metric and kind."""
        return f"differences: {self.shape}"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """All differences are moved by the gap."""
        for count in batches(runs):
            a = rng.standard_normal((count, self.units))
            b = a + gap + 0.2 * SHAPES[self.shape](rng, (count, self.units))
            for x, y in zip(a, b, strict=True):
                yield lambda delta, x=x, y=y: duel(x, y, seed=1, delta=delta), gap


@dataclass(frozen=True)
class Texts:
    """Scores like F1 of texts: many are 0, the others anything up to 1."""

    units: int
    zeros: float
    kind: Sizes = "alone"
    grows: bool = False
    """The better model answers more docs, instead of more often getting the better of two answers."""

    @property
    def name(self) -> str:
        """Metric and kind."""
        kind = "" if self.kind == "alone" else f", clusters {self.kind}"
        return f"F1 of texts{kind}{', more answered' if self.grows else ''}"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, {self.zeros:.0%} zeros"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """An answer is worth ½ on average."""
        most = self.zeros / 2 if self.grows else _mean_gap(self.zeros)
        truth = min(gap, most)
        for _ in range(runs):
            which = np.repeat(np.arange(self.units), sizes_of(self.kind, self.units, rng))
            a, b = self.scores(rng, which.size, truth if self.grows else 0.0)
            if not self.grows:
                turned = (rng.random(which.size) < truth / most) & (a > b)
                a, b = np.where(turned, b, a), np.where(turned, a, b)
            names = None if self.kind == "alone" else which.tolist()
            yield lambda delta, a=a, b=b, names=names: duel(a, b, names, seed=1, delta=delta, scale=1.0), truth

    def scores(self, rng: np.random.Generator, docs: int, gap: float) -> Floats:
        """Of two models, shape (2, docs)."""
        chance, worth = ndtr(twins(rng, (docs,), 0.7)), ndtr(twins(rng, (docs,), 0.6))
        return np.where(chance > np.array([self.zeros, self.zeros - 2 * gap])[:, None], worth, 0.0)


@lru_cache(maxsize=8)
def _mean_gap(zeros: float) -> float:
    """How far two models are apart if one gets the better of every two answers: of four million docs."""
    first, second = Texts(0, zeros).scores(np.random.default_rng(0), 4_000_000, 0.0)
    return float(np.abs(first - second).mean())


def left_out(tables: Floats, score: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """Values and influence values (delete-one jackknife) of many tables at once, (…, docs, statistics)."""
    totals = tables.sum(axis=-2)
    without = score(totals[..., None, :] - tables)
    n = tables.shape[-2]
    return score(totals), (n - 1) * (without.mean(axis=-1, keepdims=True) - without)


def safe_bleu(sums: Floats) -> Floats:
    """BLEU; next to 0 where a segment of few words has no match at all."""
    return bleu(np.maximum(sums, 1e-9))


def chrf(sums: Floats) -> Floats:
    """F2 of the matches of each length, averaged; of words, but with chrF's formula.

    A segment has one pair of words less than words, both as translated and as its target.
    """
    segments = sums[..., [6]] - sums[..., [7]]
    precision = sums[..., 2:6] / np.maximum(sums[..., 6:10], 1)
    recall = sums[..., 2:6] / np.maximum(sums[..., [1]] - segments * np.arange(4), 1)
    return np.asarray(100 * (5 * precision * recall / np.maximum(4 * precision + recall, 1e-9)).mean(axis=-1))


def ter(sums: Floats) -> Floats:
    """Words of the target that were not matched, per hundred."""
    return np.asarray(100 * (1 - sums[..., 2] / sums[..., 1]))


CORPUS: dict[str, Callable[[Floats], Floats]] = {"BLEU": safe_bleu, "chrF": chrf, "TER": ter}


def translations(rng: np.random.Generator, runs: int, n: int, quality: float, gap: float) -> Floats:
    """Sufficient statistics as in `worlds.segments` of two systems, shape (2, runs, segments, 10)."""
    target = rng.integers(8, 40, (runs, n))
    length = np.maximum(5, np.round(target * rng.normal(0.97, 0.08, (2, runs, n)))).astype(int)
    level = expit(quality + 0.6 * twins(rng, (runs, n), 0.8) + np.array([0, gap])[:, None, None])
    totals = [np.maximum(0, length - k) for k in range(4)]
    matches = [rng.binomial(total, level ** (1 + 0.8 * k)) for k, total in enumerate(totals)]
    targets = np.broadcast_to(target, length.shape)
    return np.stack([length, targets, *matches, *totals], axis=-1).astype(np.float64)


@lru_cache(maxsize=64)
def true_gap(metric: str, quality: float, gap: float) -> float:
    """Difference of the metric over endlessly many segments: half a million."""
    rng = np.random.default_rng(0)
    sums = sum(translations(rng, 1, 50_000, quality, gap).sum(axis=2)[:, 0] for _ in range(10))
    first, second = CORPUS[metric](np.asarray(sums))
    return float(second - first)


def odds_for(metric: str, quality: float, gap: float) -> tuple[float, float]:
    """Log odds that give about this gap in points of the metric, and the gap they truly give."""
    if gap == 0:
        return 0.0, 0.0
    tried = np.array([0.0, *(2.0 ** np.arange(-5, 2))])
    gaps = np.abs([0.0, *(true_gap(metric, quality, odds) for odds in tried[1:])])
    odds = round(float(np.interp(abs(gap), gaps, tried)), 3)
    return odds, true_gap(metric, quality, odds)


@dataclass(frozen=True)
class Translations:
    """Corpus BLEU, chrF or TER; the gap is one of log odds of a word being right."""

    units: int
    metric: str
    quality: float = 0.5

    @property
    def name(self) -> str:
        """Metric and kind."""
        return self.metric

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, quality {self.quality:g}"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """Influence values are those of leaving out each segment in turn."""
        odds, truth = odds_for(self.metric, self.quality, gap)
        for count in batches(runs):
            values, influences = left_out(translations(rng, count, self.units, self.quality, odds), CORPUS[self.metric])
            for i in range(count):
                a, b = (Estimate(float(values[k, i]), influences[k, i]) for k in (0, 1))
                yield lambda delta, a=a, b=b: duel_of_estimates(a, b, delta=delta, scale=100.0), truth


@dataclass(frozen=True)
class Bits:
    """Bits per byte of docs whose lengths are lognormal."""

    units: int
    spread: float
    """Standard deviation of the logarithm of the lengths; wikitext-2: 1.08."""
    are_weighed: bool = False
    """The duel is given the lengths."""

    @property
    def name(self) -> str:
        """Metric and kind."""
        return "bits per byte, lengths given" if self.are_weighed else "bits per byte"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, lengths {self.spread:g}"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """Every doc's bits per byte are moved by the gap."""
        for count in batches(runs):
            length = np.exp(self.spread * rng.standard_normal((count, self.units)))
            length /= length.mean(axis=1, keepdims=True)
            bits = 0.7 + 0.1 * rng.standard_normal((count, self.units))
            both = bits + 0.02 * rng.standard_normal((2, count, self.units)) + np.array([0, gap])[:, None, None]
            values = (length * both).mean(axis=2)
            influences = length * (both - values[:, :, None])
            for i in range(count):
                a, b = (Estimate(float(values[k, i]), influences[k, i]) for k in (0, 1))
                weights = length[i] if self.are_weighed else None
                yield lambda delta, a=a, b=b, w=weights: duel_of_estimates(a, b, delta=delta, weights=w), gap


@dataclass(frozen=True)
class Areas:
    """Area under the ROC curve with DeLong's influence values."""

    units: int
    positive: float
    apart: float = 1.0
    """Standard deviations between the two kinds of docs."""

    @property
    def name(self) -> str:
        """Metric and kind."""
        return "AUROC"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, {self.positive:.0%} positive, {ndtr(self.apart / math.sqrt(2)):.2f}"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """The better model holds the two kinds further apart."""
        area = float(ndtr(self.apart / math.sqrt(2)))
        truth = min(gap, (1 - area) / 2)
        further = math.sqrt(2) * float(ndtri(area + truth))
        many = max(2, round(self.positive * self.units))
        for count in batches(runs):
            scores = twins(rng, (count, self.units), 0.7)
            scores[:, :, :many] += np.array([self.apart, further])[:, None, None]
            values, influences = areas(scores, many)
            for i in range(count):
                a, b = (Estimate(float(values[k, i]), influences[k, i]) for k in (0, 1))
                yield lambda delta, a=a, b=b: duel_of_estimates(a, b, delta=delta, scale=1.0), truth


def areas(scores: Floats, positive: int) -> tuple[Floats, Floats]:
    """Areas and influence values as `auroc.macro_auroc` gives them, of scores (…, docs), the positive docs first."""
    total, negative = scores.shape[-1], scores.shape[-1] - positive
    above = (scores[..., :positive, None] > scores[..., None, positive:]).astype(np.float64)
    placed, value = (above.mean(axis=-1), above.mean(axis=-2)), above.mean(axis=(-1, -2))
    parts = [
        (place - value[..., None]) * total / size * math.sqrt(size / (size - 1) * (total - 1) / total)
        for place, size in zip(placed, (positive, negative), strict=True)
    ]
    return value, np.concatenate(parts, axis=-1)


@dataclass(frozen=True)
class Classes:
    """Macro F1 of classes, of which one is rare."""

    units: int
    rare: float
    classes: int = 3

    @property
    def name(self) -> str:
        """Metric and kind."""
        return "macro F1"

    @property
    def cell(self) -> str:
        """Sizes."""
        return f"n={self.units}, {self.classes} classes, one of {self.rare:.0%}"

    def draw(self, rng: np.random.Generator, runs: int, gap: float) -> Iterator[tuple[Fight, float]]:
        """The better model is right more often; influence values are those of leaving out each doc in turn."""
        more = round(min(1.2 * gap, 0.15), 3)
        truth = 0.0 if gap == 0 else true_agreement(self, more)
        for count in batches(runs):
            values, influences = left_out(self.tables(rng, count, self.units, more), self.score)
            for i in range(count):
                a, b = (Estimate(float(values[k, i]), influences[k, i]) for k in (0, 1))
                yield lambda delta, a=a, b=b: duel_of_estimates(a, b, delta=delta, scale=1.0), truth

    def tables(self, rng: np.random.Generator, runs: int, n: int, more: float) -> Floats:
        """One-hot cells of the table of right and chosen classes, shape (2, runs, docs, classes²)."""
        shares = np.array([self.rare, *[(1 - self.rare) / (self.classes - 1)] * (self.classes - 1)])
        gold = (rng.random((runs, n, 1)) > np.cumsum(shares)[:-1]).sum(axis=-1)
        right = ndtr(twins(rng, (runs, n), 0.6)) < np.array([0.7, 0.7 + more])[:, None, None]
        wrong = (gold + rng.integers(1, self.classes, (2, runs, n))) % self.classes
        return np.eye(self.classes**2)[gold * self.classes + np.where(right, gold, wrong)]

    def score(self, cells: Floats) -> Floats:
        """Macro F1 of tables, (…, classes²)."""
        table = cells.reshape(*cells.shape[:-1], self.classes, self.classes)
        hits, both = np.einsum("...ii->...i", table), table.sum(axis=-1) + table.sum(axis=-2)
        return np.asarray((2 * hits / np.maximum(both, 1)).mean(axis=-1))


@lru_cache(maxsize=64)
def true_agreement(pairs: Classes, more: float) -> float:
    """Difference of macro F1 over endlessly many docs: half a million."""
    first, second = pairs.score(pairs.tables(np.random.default_rng(0), 1, 500_000, more).sum(axis=2)[:, 0])
    return float(second - first)

"""Simulated docs of one model whose true score is known: what the intervals of one score are tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from benchbench.scoring.agreement import agreement
from benchbench.stats.auroc import macro_auroc
from tests.simulate.pairs import chrf
from tests.simulate.worlds import Floats

Ints = NDArray[np.intp]


# Right and wrong, and scores between 0 and 1


def cluster_sizes(shape: str, count: int, rng: np.random.Generator) -> Ints:
    """Docs in each of `count` clusters; like SQuAD: a geometric number, 7.7 on average."""
    if shape == "4 each":
        return np.full(count, 4)
    if shape == "1 or 2":
        return rng.integers(1, 3, count)
    if shape == "like SQuAD":
        return 1 + rng.geometric(0.15, count)
    assert shape == "one has half", shape
    return np.array([4 * (count - 1), *[4] * (count - 1)])


def cluster_names(sizes: Ints) -> list[str]:
    """Of each doc's cluster."""
    return [f"passage {i}" for i, size in enumerate(sizes) for _ in range(size)]


def in_clusters(sizes: Ints, alike: float, p: float, rng: np.random.Generator) -> Floats:
    """Right and wrong; shares of clusters are drawn from a beta distribution with this intra-class correlation."""
    share = np.full(sizes.size, p)
    if alike > 0:
        share = rng.beta(p * (1 / alike - 1), (1 - p) * (1 / alike - 1), sizes.size)
    return (rng.random(int(sizes.sum())) < np.repeat(share, sizes)).astype(np.float64)


SCORES = {"middling": 0.5, "near 1": 20 / 21}
"""Kinds of scores of answers that are worth something, and their means."""


def scores(kind: str, n: int, rng: np.random.Generator) -> Floats:
    """Of such answers."""
    return rng.beta(2, 2, n) if kind == "middling" else rng.beta(20, 1, n)


# Translations


QUALITIES = {"low": (-1.4, 0.0), "middle": (0.6, 0.02), "high": (1.4, 0.6)}
"""Log odds of a word being right, and the share of segments that equal their target. BLEU 4, 40 and 84."""
EDITED = 0.3
"""Words put in for each that is wrong, so that TER has no upper end."""


@dataclass(frozen=True)
class Segments:
    """Sufficient statistics of translated segments."""

    ngrams: Floats
    """Shape (segments, 10): lengths of translation and target, matches of 1 to 4 words, and how many there are."""
    edits: Floats
    """Shape (segments,)."""

    @property
    def lengths(self) -> Floats:
        """Words of each target."""
        return self.ngrams[:, 1]

    def statistics(self, metric: str) -> Floats:
        """What the metric sums up, shape (segments, …)."""
        return np.column_stack([self.edits, self.lengths]) if metric == "ter" else self.ngrams


def _bleu(sums: Floats) -> Floats:
    """Corpus BLEU of column sums, shape (…, 10), with sacrebleu's exponential smoothing of orders without a match."""
    matches, totals = sums[..., 2:6], np.maximum(sums[..., 6:10], 1)
    smoothed = 2.0 ** -np.cumsum(matches == 0, axis=-1)
    logs = np.log(np.where(matches > 0, matches, smoothed) / totals).mean(axis=-1)
    return np.asarray(100 * np.exp(logs + np.minimum(0.0, 1 - sums[..., 1] / sums[..., 0])))


CORPUS: dict[str, Callable[[Floats], Floats]] = {
    "bleu": _bleu,
    "chrf": chrf,
    "ter": lambda sums: np.asarray(100 * sums[..., 0] / sums[..., 1]),
}
"""Scores of sums over segments."""


def translated(quality: str, n: int, rng: np.random.Generator, shared: Floats | float = 0.0) -> Segments:
    """Segments; `shared` is added to the log odds of each."""
    odds, same = QUALITIES[quality]
    target = rng.integers(8, 40, n)
    is_same = rng.random(n) < same
    length = np.maximum(5, np.round(target * rng.normal(0.97, 0.08, n))).astype(int)
    length = np.where(is_same, target, length)
    level = np.where(is_same, 1.0, expit(odds + 0.6 * rng.standard_normal(n) + shared))
    totals = [np.maximum(0, length - k) for k in range(4)]
    matches = [rng.binomial(total, level ** (1 + 0.8 * k)) for k, total in enumerate(totals)]
    wrong = np.maximum(target, length) - np.minimum(matches[0], target)
    edits = wrong + rng.poisson(EDITED * wrong)
    return Segments(np.stack([length, target, *matches, *totals], axis=1).astype(np.float64), edits.astype(np.float64))


def documents(quality: str, sizes: Ints, rng: np.random.Generator) -> Segments:
    """Segments of documents, which are alike in quality."""
    return translated(quality, int(sizes.sum()), rng, np.repeat(0.4 * rng.standard_normal(sizes.size), sizes))


@cache
def true_corpus_score(metric: str, quality: str, *, documents: bool = False) -> float:
    """The score of endlessly many segments: of two million, each a document of its own if of documents."""
    rng, total = np.random.default_rng(0), np.zeros(2 if metric == "ter" else 10)
    for _ in range(8):
        shared = 0.4 * rng.standard_normal(250_000) if documents else 0.0
        total += translated(quality, 250_000, rng, shared).statistics(metric).sum(axis=0)
    return float(CORPUS[metric](total))


# Areas and agreement


def three_classes(shift: float, n: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """Right classes, `shift` apart, and chances of each of three; a tenth of docs have the first."""
    gold = rng.choice(3, n, p=[0.1, 0.45, 0.45])
    odds = rng.standard_normal((n, 3)) + shift * np.eye(3)[gold]
    table = np.exp(odds)
    return gold, table / table.sum(axis=1, keepdims=True)


@cache
def true_area(shift: float) -> float:
    """The macro average of endlessly many docs: of a fifth of a million, ten times."""
    rng = np.random.default_rng(0)
    return float(np.mean([macro_auroc(*three_classes(shift, 200_000, rng)).value for _ in range(10)]))


CONFUSIONS = {
    "2 choices, 50 %": np.array([[40.0, 10], [10, 40]]),
    "2 choices, 5 %": np.array([[93.0, 2], [1.5, 3.5]]),
    "2 choices, 1 %": np.array([[98.5, 0.5], [0.3, 0.7]]),
    "3 choices, 2 %": np.array([[40.0, 8, 1], [10, 38, 1], [0.5, 0.3, 1.2]]),
    "3 choices, 5 %": np.array([[44.0, 3, 0.5], [4, 43, 0.5], [0.5, 0.5, 4]]),
}
"""Percent of docs by right choice (rows) and predicted choice; the last choice is the rare one."""


@cache
def agreement_of(metric: str, name: str) -> float:
    """The metric of endlessly many docs of a table."""
    table = CONFUSIONS[name]
    counts = np.round(1000 * table).astype(int).ravel()
    gold, predicted = (side.tolist() for side in np.divmod(np.repeat(np.arange(table.size), counts), len(table)))
    return agreement(metric, gold, predicted).value


# Bits per byte and groups


RATES: dict[str, Callable[[np.random.Generator, int], Floats]] = {
    "even": lambda rng, n: np.maximum(0.3, rng.normal(1, 0.15, n)),
    "skewed": lambda rng, n: rng.gamma(6, 1 / 6, n),
}
"""Bits per byte of docs, 1 on average."""


def task_groups(k: int) -> dict[str, tuple[Ints, Floats]]:
    """Tasks of right and wrong answers: docs and true shares of each."""
    place = np.arange(k)
    middle = 0.3 + 0.5 * place / max(1, k - 1)
    return {
        "100 to 1,000 docs": (np.linspace(100, 1000, k).astype(int), middle),
        "100 docs, .02 and .98": (np.full(k, 100), np.where(place % 2, 0.02, 0.98)),
        "100 docs, .97": (np.full(k, 100), np.full(k, 0.97)),
        "5 docs, .97": (np.full(k, 5), np.full(k, 0.97)),
        "5 docs, .3 to .8": (np.full(k, 5), middle),
        "5 to 2,000 docs, .1 to .99": (
            np.geomspace(5, 2000, k).astype(int),
            np.array([0.1, 0.5, 0.9, 0.99])[place % 4],
        ),
    }

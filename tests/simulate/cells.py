"""Cells of one score: right and wrong, means, corpus metrics, areas, agreement, perplexities, groups, medians."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchbench.scoring.agreement import agreement, agreement_uncertainty
from benchbench.scoring.estimates import corpus_uncertainty, mean_uncertainty, ratio_uncertainty
from benchbench.scoring.generation import CorpusScore
from benchbench.stats.auroc import macro_auroc, macro_auroc_uncertainty
from benchbench.stats.groups import error_correlation, group_mean
from benchbench.stats.influence import jackknife, mean, ratio
from benchbench.stats.intervals import Interval, proportion, standard_error
from benchbench.stats.scores import median_interval, positive, score_uncertainty
from tests.simulate import samples
from tests.simulate.coverage import Cell, probability_in_range
from tests.simulate.table import Row
from tests.simulate.worlds import Floats

Rng = np.random.Generator
Found = tuple[Interval | None, float]
FEW, MOST_OF_FEW = 20, 0.985
"""Of fewer right or wrong answers an interval may hold that many cases: Wilson's limits are kept, and where one just
holds a share (.4 lies in [.018, .404], that of one right answer of ten) the next narrower set has far less."""


@cache
def every_cell() -> tuple[Cell, ...]:
    """All cells of `--part intervals`."""
    families = (
        right_or_wrong, in_clusters, zero_inflated, zero_inflated_in_clusters, translations, translated_documents,
        areas, three_classes, rare_choices, lengths, plain_perplexity, groups, parallel_languages, medians,
    )  # fmt: skip
    return tuple(cell for family in families for cell in family())


def jobs(most: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table, cells with up to `most` runs each."""
    yield from (partial(_rows, cell, most, (seed, place)) for place, cell in enumerate(every_cell()))


def _rows(cell: Cell, most: int, seed: tuple[int, int]) -> list[Row]:
    return [cell.row(most, seed)]


# Right and wrong


def right_or_wrong() -> Iterator[Cell]:
    """Shares of right answers without clusters, counted."""
    for n in (1, 2, 3, 5, 6, 7, 10, 15, 20, 30, 50, 62, 100, 164, 200, 500, 1000, 2000, 10_000):
        for p in (0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99):
            yield Cell("right or wrong", f"n={n} p={p}", p, None, partial(_counted, n, p))


def _counted(n: int, p: float) -> tuple[float, float, bool]:
    low, high = (int(stats.binom.ppf(q, n, p)) for q in (1e-9, 1 - 1e-9))
    counts = np.arange(low, high + 1)
    found = [proportion(int(k), n) for k in counts]
    chance = stats.binom.pmf(counts, n, p)
    held = sum(c for c, ends in zip(chance, found, strict=True) if ends.low <= p <= ends.high)
    width = sum(c * (ends.high - ends.low) for c, ends in zip(chance, found, strict=True))
    nearly = n <= FEW and held <= MOST_OF_FEW
    return float(held), float(width), probability_in_range(chance) and not nearly


def in_clusters() -> Iterator[Cell]:
    """Right and wrong in clusters of several shapes; the scores of a cluster are beta-binomial."""
    for shape in ("4 each", "1 or 2", "like SQuAD", "one has half"):
        for count in (5, 10, 20, 50, 200):
            for alike in (0.0, 0.2, 0.5):
                for p in (0.03, 0.1, 0.5, 0.7, 0.97):
                    label = f"{count} clusters, {shape}, ICC {alike}, p={p}"
                    draw = partial(_clustered, shape=shape, count=count, alike=alike, p=p)
                    yield Cell("right or wrong in clusters", label, p, draw)


def _clustered(rng: Rng, shape: str, count: int, alike: float, p: float) -> Found:
    sizes = samples.cluster_sizes(shape, count, rng)
    scores = samples.in_clusters(sizes, alike, p, rng)
    known, _ = mean_uncertainty(scores.tolist(), samples.cluster_names(sizes), (0.0, 1.0))
    return known.interval, float(scores.sum() if p <= 0.5 else (1 - scores).sum())


# Means of scores between 0 and 1


def zero_inflated() -> Iterator[Cell]:
    """F1 or ROUGE of answers of which many are worth 0."""
    for kind, centre in samples.SCORES.items():
        for zeros in (0.0, 0.5, 0.9, 0.97, 0.99):
            for n in (5, 10, 20, 50, 100, 300, 1000):
                draw = partial(_texts, kind=kind, zeros=zeros, n=n)
                yield Cell("mean of scores", f"{zeros:.0%} zeros, rest {kind}, n={n}", (1 - zeros) * centre, draw)


def _texts(rng: Rng, kind: str, zeros: float, n: int) -> Found:
    scores = np.where(rng.random(n) < zeros, 0.0, samples.scores(kind, n, rng))
    known, _ = mean_uncertainty(scores.tolist(), [None] * n, (0.0, 1.0))
    return known.interval, float(np.count_nonzero(scores)) if zeros else float(scores.mean())


def zero_inflated_in_clusters() -> Iterator[Cell]:
    """The same, where docs share passages."""
    for shape in ("1 or 2", "like SQuAD"):
        for count in (5, 20, 100):
            for alike in (0.0, 0.3):
                for zeros in (0.5, 0.9, 0.97):
                    draw = partial(_clustered_texts, shape=shape, count=count, alike=alike, zeros=zeros)
                    label = f"{count} clusters, {shape}, ICC {alike}, {zeros:.0%} zeros"
                    yield Cell("mean of scores in clusters", label, (1 - zeros) / 2, draw)


def _clustered_texts(rng: Rng, shape: str, count: int, alike: float, zeros: float) -> Found:
    sizes = samples.cluster_sizes(shape, count, rng)
    scores = samples.in_clusters(sizes, alike, 1 - zeros, rng) * samples.scores("middling", int(sizes.sum()), rng)
    known, _ = mean_uncertainty(scores.tolist(), samples.cluster_names(sizes), (0.0, 1.0))
    return known.interval, float(np.count_nonzero(scores))


# Corpus metrics


def translations() -> Iterator[Cell]:
    """BLEU, chrF and TER of single segments."""
    for metric in ("bleu", "chrf", "ter"):
        for quality in samples.QUALITIES:
            for n in (5, 10, 20, 50, 100, 500):
                draw = partial(_corpus, metric=metric, quality=quality, n=n)
                yield Cell(metric, f"{quality}, {n} segments", samples.true_corpus_score(metric, quality), draw)


def _corpus(rng: Rng, metric: str, quality: str, n: int) -> Found:
    return _corpus_interval(metric, samples.translated(quality, n, rng), [None] * n)


def _corpus_interval(metric: str, segments: samples.Segments, clusters: Sequence[str | None]) -> Found:
    table, score = segments.statistics(metric), samples.CORPUS[metric]
    total = table.sum(axis=0)
    found = CorpusScore(
        jackknife(float(score(total)), score(total - table)),
        "",
        tuple(segments.lengths.astype(int).tolist()),
        int(total[5]) if metric == "bleu" else None,
    )
    return corpus_uncertainty(metric, found, clusters).interval, found.estimate.value


def translated_documents() -> Iterator[Cell]:
    """Segments of documents that are alike in quality."""
    for metric in ("bleu", "ter"):
        for quality in ("middle", "high"):
            for count in (5, 10, 30):
                draw = partial(_documents, metric=metric, quality=quality, count=count)
                truth = samples.true_corpus_score(metric, quality, documents=True)
                yield Cell(f"{metric} in documents", f"{quality}, {count} of 5 to 20 segments", truth, draw)


def _documents(rng: Rng, metric: str, quality: str, count: int) -> Found:
    sizes = rng.integers(5, 21, count)
    return _corpus_interval(metric, samples.documents(quality, sizes, rng), samples.cluster_names(sizes))


# Areas and agreement


def areas() -> Iterator[Cell]:
    """Areas under the ROC curve of binormal scores."""
    for share in (0.03, 0.1, 0.3, 0.5):
        for n in (20, 50, 100, 200, 500, 1000):
            for area in (0.6, 0.92, 0.98, 0.998):
                draw = partial(_area, share=share, n=n, area=area)
                yield Cell("AUROC", f"{area}, n={n}, {share:.0%} positive", area, draw)


def _area(rng: Rng, share: float, n: int, area: float) -> Found:
    gold = (rng.random(n) < share).astype(int)
    if min(gold.sum(), n - gold.sum()) < 2:
        return None, math.nan
    margin = rng.normal(size=n) + gold * math.sqrt(2) * stats.norm.ppf(area)
    chance = 1 / (1 + np.exp(-margin))
    table = np.column_stack([1 - chance, chance])
    return macro_auroc_uncertainty(gold, table).interval, macro_auroc(gold, table).value


def three_classes() -> Iterator[Cell]:
    """Mean area of three classes, one of them rare."""
    for shift in (1.0, 3.0):
        for n in (30, 100, 300, 1000):
            yield Cell(
                "macro AUROC", f"3 classes, shift {shift}, n={n}", samples.true_area(shift), partial(_areas, shift, n)
            )


def _areas(shift: float, n: int, rng: Rng) -> Found:
    gold, table = samples.three_classes(shift, n, rng)
    if np.bincount(gold, minlength=3).min() < 2:
        return None, math.nan
    return macro_auroc_uncertainty(gold, table).interval, macro_auroc(gold, table).value


def rare_choices() -> Iterator[Cell]:
    """F1, macro F1 and Matthews correlation where a choice is rare."""
    for metric in ("f1", "macro_f1", "matthews_corrcoef"):
        for name, table in samples.CONFUSIONS.items():
            if metric == "f1" and table.shape[0] > 2:
                continue
            for n in (20, 50, 100, 200, 500, 2000):
                truth = samples.agreement_of(metric, name)
                yield Cell(metric, f"{name}, n={n}", truth, partial(_agreement, metric, name, n))


def _agreement(metric: str, name: str, n: int, rng: Rng) -> Found:
    table = samples.CONFUSIONS[name]
    counts = rng.multinomial(n, table.ravel() / table.sum())
    return _agreement_of(metric, table.shape[0], tuple(counts.tolist()))


@cache
def _agreement_of(metric: str, choices: int, counts: tuple[int, ...]) -> Found:
    gold, predicted = (side.tolist() for side in np.divmod(np.repeat(np.arange(choices**2), counts), choices))
    estimate = agreement(metric, gold, predicted)
    return agreement_uncertainty(metric, estimate, gold, predicted, choices=choices).interval, estimate.value


# Perplexities and bits per byte


def lengths() -> Iterator[Cell]:
    """Bits per byte of docs of unequal length."""
    for kind in samples.RATES:
        for deviation in (0.5, 1.08, 1.8):
            for n in (5, 10, 20, 62, 200, 1000):
                draw = partial(_bits, kind=kind, deviation=deviation, n=n)
                yield Cell("bits per byte", f"{kind} rates, sd(log length) {deviation}, n={n}", 1.0, draw)


def _bits(rng: Rng, kind: str, deviation: float, n: int) -> Found:
    size = np.maximum(1, np.round(np.exp(rng.normal(7, deviation, n))))
    found = ratio(size * samples.RATES[kind](rng, n), size)
    return ratio_uncertainty(found, [None] * n, size).interval, found.value


def plain_perplexity() -> Iterator[Cell]:
    """Mean nats of targets: exponential."""
    for n in (5, 10, 20, 50, 100, 1000):
        yield Cell("perplexity", f"exponential nats, n={n}", 1.0, partial(_nats, n))


def _nats(n: int, rng: Rng) -> Found:
    found = mean(rng.exponential(1, n))
    return score_uncertainty(found, [None] * n, positive).interval, found.value


# Groups


def groups() -> Iterator[Cell]:
    """Means of tasks of right and wrong answers."""
    for k in (2, 5, 20, 57):
        for name, (sizes, shares) in samples.task_groups(k).items():
            for by_size in (False, True):
                weights = sizes if by_size else np.ones(k)
                truth = float(weights @ shares / weights.sum())
                label = f"{k} tasks, {name}, {'by size' if by_size else 'equal'}"
                yield Cell("group", label, truth, partial(_group, sizes, shares, weights))


def _group(sizes: NDArray[np.intp], shares: Floats, weights: Floats, rng: Rng) -> Found:
    counts = rng.binomial(sizes, shares)
    values = counts / sizes
    errors = np.sqrt(values * (1 - values) / np.maximum(sizes - 1, 1))
    found = group_mean(
        values.tolist(),
        [float(error) if n > 1 else None for error, n in zip(errors, sizes, strict=True)],
        np.maximum(sizes - 1, 1).tolist(),
        weights.tolist(),
        intervals=[proportion(int(k), int(n)) for k, n in zip(counts, sizes, strict=True)],
    )
    return found.interval, found.value


def parallel_languages() -> Iterator[Cell]:
    """The same 900 questions in several languages."""
    for k in (2, 5, 20, 120):
        for alike in (0.5, 0.8):
            label, draw = f"{k} languages, item correlation {alike}", partial(_languages, k, alike)
            yield Cell("group of languages", label, 0.6, draw, cost=1 + k // 20)


def _languages(k: int, alike: float, rng: Rng, n: int = 900) -> Found:
    ease = rng.normal(size=n) * math.sqrt(alike) + rng.normal(size=(k, n)) * math.sqrt(1 - alike)
    scores = (ease < stats.norm.ppf(0.6)).astype(float)
    values = scores.mean(axis=1)
    influences = list(scores - values[:, None])
    found = group_mean(
        values.tolist(),
        [standard_error(psi) for psi in influences],
        [n - 1] * k,
        intervals=[proportion(int(row.sum()), n) for row in scores],
        correlation=error_correlation(influences, [range(n)] * k),
    )
    return found.interval, found.value


# Medians


def medians() -> Iterator[Cell]:
    """The upper median of skewed scores."""
    for n in (5, 6, 7, 8, 10, 13, 20, 50, 101, 500):
        yield Cell("median", f"n={n}", math.log(2), partial(_median, n))
    for count, size in ((5, 4), (10, 4), (20, 4), (50, 3)):
        for alike in (0.0, 0.3):
            yield Cell(
                "median",
                f"{count} clusters of {size}, ICC {alike}",
                0.0,
                partial(_clustered_median, count, size, alike),
            )


def _median(n: int, rng: Rng) -> Found:
    x = rng.exponential(1, n)
    return median_interval(x)[0], float((x < math.log(2)).sum())


def _clustered_median(count: int, size: int, alike: float, rng: Rng) -> Found:
    x = np.repeat(rng.normal(size=count), size) * math.sqrt(alike) + rng.normal(size=count * size) * math.sqrt(
        1 - alike
    )
    return median_interval(x, np.repeat(np.arange(count), size).tolist())[0], float(np.median(x))

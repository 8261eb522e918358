"""How often duels, means of duels and ranks are wrong where the truth is known, cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import ndtri

from benchbench.stats.duel import Duel, duel, duel_of_estimates, duel_of_tasks
from benchbench.stats.influence import Estimate
from benchbench.stats.prompts import over_prompts
from benchbench.stats.ranks import mean_covariance, rank_intervals
from benchbench.stats.testing import ALPHA
from tests.simulate.pairs import (
    Areas,
    Bits,
    Classes,
    Pairs,
    RightOrWrong,
    Shaped,
    Sizes,
    Texts,
    Translations,
)
from tests.simulate.table import Row
from tests.simulate.worlds import Floats

BATCH = 250
DISCRETE = 12
"""With at most so many units, or units that differ, few values of p are possible and an interval may cover more."""


Counted = dict[str, bool]
"""What was seen in one simulated run."""


@dataclass(frozen=True)
class Promise:
    """What is promised of a rate."""

    what: str
    """As in `Counted`."""
    low: float = 0.0
    high: float = 1.0
    may_be_discrete: bool = False


@dataclass(frozen=True)
class Cell:
    """Runs of one kind, and what is promised of them."""

    name: str
    cell: str
    draw: Callable[[np.random.Generator, int], Iterator[Counted]]
    promises: tuple[Promise, ...]
    is_discrete: bool = False

    def rows(self, most: int, seed: int) -> list[Row]:
        """Batches of runs until all verdicts are clear, or until there are `most`."""
        rng, found, made = np.random.default_rng(seed), list[Counted](), list[Row]()
        while len(found) < most:
            found += self.draw(rng, min(BATCH, most - len(found)))
            made = [self._row(promise, found) for promise in self.promises]
            if all(row.is_clear for row in made):
                break
        return made

    def _row(self, promise: Promise, found: Sequence[Counted]) -> Row:
        rate = float(np.mean([one[promise.what] for one in found]))
        may = promise.may_be_discrete and self.is_discrete
        return Row(self.name, self.cell, promise.what, len(found), rate, promise.low, promise.high, may)


CLAIMED, COVERED, EQUAL, AT_ODDS, FOUND = (
    "claims of equal models",
    "coverage",
    "called equal at the margin",
    "p and interval at odds",
    "power at the detectable",
)


def seen(found: Duel, truth: float) -> Counted:
    """What is counted of one duel."""
    interval, claimed = found.interval, found.p is not None and found.p < ALPHA
    excludes = interval is not None and (interval.low > 0 or interval.high < 0)
    holds_shown = interval is None or interval.low <= found.difference.value <= interval.high
    return {
        CLAIMED: claimed,
        FOUND: claimed,
        COVERED: interval is None or interval.low <= truth <= interval.high,
        EQUAL: found.equivalence_p is not None and found.equivalence_p < ALPHA,
        AT_ODDS: excludes != claimed or not holds_shown,
    }


@dataclass(frozen=True)
class Limits:
    """What is promised of a kind of pairs, where it is not the usual."""

    type_one: float = 0.05
    coverage: tuple[float, float] = (0.93, 0.98)
    equal: float = 0.05
    power: tuple[float, float] = (0.77, 0.83)


SHOWN = (0.0, 1.0)
"""No promise."""


def of_pairs(pairs: Pairs, limits: Limits, seed: int, most: int) -> list[Row]:
    """All rates of a kind of pairs: of equal models, and of models as far apart as the docs can show."""
    gap, differing = _gap(pairs, seed)
    is_discrete = min(pairs.units, differing) <= DISCRETE
    power = SHOWN if is_discrete or pairs.units < 20 else limits.power
    null = (Promise(CLAIMED, 0.0, limits.type_one), Promise(AT_ODDS, 0.0, 0.0))
    apart = (
        Promise(COVERED, *limits.coverage, may_be_discrete=True),
        Promise(EQUAL, 0.0, limits.equal),
        Promise(AT_ODDS, 0.0, 0.0),
        Promise(FOUND, *power),
    )
    cells = [
        Cell(pairs.name, pairs.cell, partial(_fought, pairs, distance), promises, is_discrete)
        for distance, promises in ((0.0, null), (gap, apart))
    ]
    return [row for cell in cells for row in cell.rows(most, seed)]


def _gap(pairs: Pairs, seed: int) -> tuple[float, float]:
    """The median detectable difference (three errors where there is none), and how many docs differ on average."""
    found = [fight(1.0) for fight, _ in pairs.draw(np.random.default_rng(seed + 1), 150, 0.0)]
    known = [one.detectable for one in found if one.detectable is not None]
    errors = [one.difference.error or 0.0 for one in found]
    gap = float(np.median(known)) if len(known) > len(found) / 2 else 3 * float(np.median(errors))
    return gap, float(np.mean([one.n if one.flips is None else one.flips * one.n for one in found]))


def _fought(pairs: Pairs, gap: float, rng: np.random.Generator, runs: int) -> Iterator[Counted]:
    for fight, truth in pairs.draw(rng, runs, gap):
        yield seen(fight(abs(truth) or 1.0), truth)


@dataclass(frozen=True)
class Tasks:
    """Means of tasks that do not share docs, each with few of them."""

    tasks: int
    docs: int
    zeros: float
    """Share of docs with a score of 0; half of the tasks are right or wrong."""

    def draw(self, gap: float, rng: np.random.Generator, runs: int) -> Iterator[Counted]:
        """The gap is that of each task."""
        kinds: list[Pairs] = [Texts(self.docs, self.zeros, grows=True), RightOrWrong(self.docs, 0.3)]
        draws = [kinds[i % 2].draw(rng, runs, gap) for i in range(self.tasks)]
        for fights in zip(*draws, strict=True):
            truth = float(np.mean([true for _, true in fights]))
            yield seen(duel_of_tasks([fight(1.0) for fight, _ in fights], delta=abs(truth) or 1.0), truth)


@dataclass(frozen=True)
class Languages:
    """The same questions in several languages; differences of a question hang together."""

    languages: int
    correlation: float
    questions: int = 900

    def draw(self, gap: float, rng: np.random.Generator, runs: int) -> Iterator[Counted]:
        """Scores of the first model are 0, so that those of the second are the differences."""
        names = list(range(self.questions))
        for _ in range(runs):
            common, own = rng.standard_normal(self.questions), rng.standard_normal((self.languages, self.questions))
            gaps = gap + np.sqrt(self.correlation) * common + np.sqrt(1 - self.correlation) * own
            duels = [duel(np.zeros(self.questions), row, seed=1) for row in gaps]
            parallel = [(row - row.mean(), names) for row in gaps]
            yield seen(duel_of_tasks(duels, parallel=parallel, delta=abs(gap) or 1.0), gap)


@dataclass(frozen=True)
class Board:
    """Equal models on the same docs, right or wrong."""

    models: int
    docs: int
    accuracy: float
    correlation: float
    languages: int = 1
    """Tasks that ask the same questions."""

    def draw(self, rng: np.random.Generator, runs: int) -> Iterator[Counted]:
        """Whether any model is called better than any other."""
        for run in range(runs):
            tables = [self._table(rng) for _ in range(self.languages)]
            if self.languages > 1:
                shared = self._table(rng)
                same = rng.random(self.docs) < 0.7
                tables = [np.where(same, shared, table) for table in tables]
            values = np.mean([table.mean(axis=1) for table in tables], axis=0)
            psi = [table - table.mean(axis=1, keepdims=True) for table in tables]
            names = [[f"question {i}" for i in range(self.docs)]] * self.languages if self.languages > 1 else None
            covariance = mean_covariance(psi, names, parallel=self.languages > 1)
            yield {"any false better": bool(rank_intervals(values, covariance, seed=run, draws=999).better.any())}

    def _table(self, rng: np.random.Generator) -> Floats:
        own = np.sqrt(1 - self.correlation) * rng.standard_normal((self.models, self.docs))
        latent = np.sqrt(self.correlation) * rng.standard_normal(self.docs) + own
        return (latent < ndtri(self.accuracy)).astype(np.float64)


@dataclass(frozen=True)
class BestPrompt:
    """One model under several prompts, right or wrong."""

    prompts: int
    docs: int
    accuracy: float
    spread: float
    """Half the distance of the best prompt's true score from the worst's."""

    def draw(self, rng: np.random.Generator, runs: int) -> Iterator[Counted]:
        """Whether the interval holds the true score of the prompt that is shown as best."""
        truth = self.accuracy + self.spread * np.linspace(-1, 1, self.prompts)
        for _ in range(runs):
            latent = np.sqrt(0.5) * (rng.standard_normal(self.docs) + rng.standard_normal((self.prompts, self.docs)))
            found = over_prompts((latent < ndtri(truth)[:, None]).astype(np.float64), seed=1)
            interval = found.held_out_known.interval if found.held_out_known else None
            yield {COVERED: interval is not None and interval.low <= truth[found.best] <= interval.high}


def without_variance(_: np.random.Generator, runs: int) -> Iterator[Counted]:
    """Equal and nearly equal scores of 2 to 60 docs, on every path: none is certain, and all intervals are wide."""
    for n in (2, 3, 5, 8, 12, 30, 60):
        for found in _equal_duels(n):
            units = found.n if found.n_clusters is None else found.n_clusters
            width = 0.0 if found.interval is None else found.interval.high - found.interval.low
            yield {"certain of nothing": found.outcome() != "undecided" or width < min(1.0, 2 / units) * found.scale}


def _equal_duels(n: int) -> Iterator[Duel]:
    x = np.random.default_rng(n).random(n)
    right = (x < 0.5).astype(np.float64)
    one, names = np.where(np.arange(n) == 0, x + 0.01, x), [max(1, i) for i in range(n)]
    for a, b in ((x, x), (x, x + 1e-9), (x, x * (1 + 1e-7)), (x, x + 1e-4), (x, one)):
        yield duel(a, b, seed=1, delta=0.005)
    if n > 2:
        yield from (duel(a, a, names, seed=1, delta=0.005) for a in (x, right))
    yield duel(right, right, seed=1, delta=0.005)
    for value, pulls, scale in ((30.0, 20 * (x - x.mean()), 100.0), (0.9, np.zeros(n), 1.0), (0.8, x - x.mean(), 1.0)):
        yield duel_of_estimates(Estimate(value, pulls), Estimate(value, pulls), delta=0.005 * scale, scale=scale)
    yield duel_of_tasks([duel(x, x, seed=1), duel(right, right, seed=1)], delta=0.005)


def every_pairs() -> Iterator[tuple[Pairs, Limits]]:
    """All kinds of pairs, in the order of the table."""
    plain, shown = Limits(), Limits(power=SHOWN)
    for n in (5, 10, 20, 50, 200, 1000):
        yield from ((RightOrWrong(n, share), plain) for share in (0.02, 0.2, 0.5))
    kinds: tuple[Sizes, ...] = ("of 5", "1 or 2", "as SQuAD", "one has half")
    for kind in kinds:
        # Where one cluster has half of all docs, signs of the others decide, and less is enough than is named.
        limits = shown if kind == "one has half" else Limits(power=(0.75, 0.87))
        yield from ((RightOrWrong(clusters, 0.2, kind), limits) for clusters in (5, 10, 20, 40, 100, 200))
        yield from ((Texts(clusters, 0.9, kind, grows=True), shown) for clusters in (10, 40, 200))
    for shape, limits in {
        "normal": plain,
        "Student's t(3)": shown,
        "exponential": shown,
        "gamma(½)": Limits(power=SHOWN, type_one=0.06),
        "lognormal(½)": shown,
        "lognormal(1)": Limits(power=SHOWN, type_one=0.08, coverage=(0.91, 0.98)),
    }.items():
        yield from ((Shaped(n, shape), limits) for n in (5, 6, 8, 10, 20, 39, 100, 1000))
    for zeros in (0.5, 0.9, 0.97, 0.99):
        yield from ((Texts(n, zeros, grows=True), Limits(power=(0.74, 0.86))) for n in (5, 10, 20, 50, 100, 500))
        yield from ((Texts(n, zeros), shown) for n in (20, 100, 500))
    for metric in ("BLEU", "chrF", "TER"):
        yield from ((Translations(n, metric), plain) for n in (5, 8, 20, 80, 500))
    yield from ((Translations(n, "BLEU", quality), shown) for quality in (-1.0, 3.0) for n in (8, 20, 80))
    for spread in (0.5, 1.08, 1.5, 1.8):
        limits = Limits(power=(0.74, 0.83)) if spread < 1 else shown
        yield from ((Bits(n, spread), limits) for n in (5, 8, 20, 62, 200, 1000))
    yield from ((Bits(n, 1.8, are_weighed=True), shown) for n in (8, 20, 62, 200))
    for positive in (0.5, 0.1):
        yield from ((Areas(n, positive, apart), shown) for apart in (1.0, 2.5) for n in (20, 50, 200))
    # In a third of samples of 50 docs there is none of a class of 2 %: nothing can be known of it.
    rare = {(0.02, 50): Limits(power=SHOWN, equal=0.09, coverage=(0.92, 0.98))}
    for share in (0.2, 0.05, 0.02):
        yield from ((Classes(n, share), rare.get((share, n), shown)) for n in (20, 50, 200, 500))


def every_other(most: int) -> Iterator[tuple[Cell, int]]:
    """The cells that are no single pairs, with the runs of each."""
    none = (Promise("certain of nothing", 0.0, 0.0),)
    yield Cell("no variance", "2 to 60 docs, every path", without_variance, none), 1
    null = (Promise(CLAIMED, 0.0, 0.05), Promise(AT_ODDS, 0.0, 0.0))
    apart = (Promise(COVERED, 0.93, 0.985), Promise(EQUAL, 0.0, 0.05), Promise(AT_ODDS, 0.0, 0.0))
    for tasks, docs in ((2, 10), (5, 10), (5, 40), (20, 20)):
        world = Tasks(tasks, docs, 0.7)
        for gap, promises in ((0.0, null), (0.1, apart)):
            yield Cell("mean of tasks", f"{tasks} tasks of {docs} docs", partial(world.draw, gap), promises), most
    for count, correlation in ((2, 0.5), (5, 0.5), (20, 0.5), (120, 0.5), (2, 0.8), (5, 0.8), (20, 0.8), (120, 0.8)):
        languages = Languages(count, correlation)
        runs = most if count < 20 else most // 2 if count < 100 else most // 5
        for gap, promises in ((0.0, null), (0.1, apart)):
            name = f"{count} languages, correlation {correlation:g}"
            yield Cell("the same 900 questions", name, partial(languages.draw, gap), promises), runs
    better = (Promise("any false better", 0.0, 0.05),)
    for models, docs, accuracy, correlation in _boards():
        board = Board(models, docs, accuracy, correlation)
        name = f"{models} models, n={docs}, {accuracy:g} right, correlation {correlation:g}"
        yield Cell("ranks", name, board.draw, better), most if models < 30 else most // 2
    board = Board(10, 100, 0.5, 0.6, languages=5)
    yield Cell("ranks over 5 languages", "10 models, 100 questions", board.draw, better), most
    holds = (Promise(COVERED, 0.94, 1.0),)
    for prompts, docs, accuracy, spread in _prompt_worlds():
        best = BestPrompt(prompts, docs, accuracy, spread)
        name = f"{prompts} prompts, n={docs}, {accuracy:g} right ±{spread:g}"
        yield Cell("score of the prompt shown as best", name, best.draw, holds), most


def _boards() -> Iterator[tuple[int, int, float, float]]:
    for models in (2, 10, 30):
        yield from ((models, docs, 0.5, 0.6) for docs in (10, 20, 50, 100, 1000))
        yield from ((models, docs, accuracy, 0.6) for docs in (20, 100) for accuracy in (0.1, 0.97))
        yield from ((models, docs, 0.5, 0.95) for docs in (20, 100))


def _prompt_worlds() -> Iterator[tuple[int, int, float, float]]:
    for prompts in (2, 5, 10):
        yield from ((prompts, docs, accuracy, 0.02) for docs in (20, 200, 1000) for accuracy in (0.5, 0.95))
        yield prompts, 200, 0.5, 0.0


def jobs(most: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of the table, cells with up to `most` runs each."""
    yield from (partial(of_pairs, pairs, limits, seed, most) for pairs, limits in every_pairs())
    yield from (partial(cell.rows, runs, seed) for cell, runs in every_other(most))

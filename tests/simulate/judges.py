"""A judge whose preferences and noise are known: what is said of strengths, ranks, its biases and its agreement."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations

import numpy as np

from benchbench.extensions.judge.pairs import Comparison, Match, biases
from benchbench.extensions.judge.schedule import Schedule
from benchbench.extensions.judge.strengths import SURE, ranks_of, strengths_of
from benchbench.scoring.estimates import mean_uncertainty
from benchbench.stats.kappa import weighted_kappa
from tests.simulate.table import Row
from tests.simulate.worlds import Floats

LEAST, MOST = 0.94, 0.96
"""What a 95 % interval is to hold."""
Rng = np.random.Generator
MANY = 16_000
"""Questions from which what is true is worked out."""


@dataclass(frozen=True)
class Arena:
    """Models whose answers a judge prefers by worth, place and length; each question suits some models more."""

    worth: tuple[float, ...]
    questions: int = 80
    suits: float = 0.8
    """Standard deviation of a question's effect on a model."""
    first: float = 0.0
    longer: float = 0.0
    lengths: tuple[float, ...] | None = None
    """Mean log length of each model's answers."""
    pairs: int | None = None
    """Matches that are judged, where they are chosen."""

    def world(self, rng: Rng, questions: int) -> tuple[Floats, Floats]:
        """Worth on each question and log lengths, shape (questions, models)."""
        models = len(self.worth)
        own = np.asarray(self.worth) + rng.normal(0, self.suits, (questions, models))
        centre = np.zeros(models) if self.lengths is None else np.asarray(self.lengths)
        return own, centre + rng.normal(0, 0.4, (questions, models))

    def compared(self, rng: Rng, own: Floats, logs: Floats, match: Match) -> Comparison:
        """One match, judged in both orders."""
        a, b, doc = match.first, match.second, match.doc_id
        sizes = [max(1, round(100 * float(np.exp(logs[doc, one])))) for one in (a, b)]
        gap = own[doc, a] - own[doc, b] + self.longer * (sizes[0] - sizes[1]) / sum(sizes)
        one, two = (1 / (1 + np.exp(-(side * gap + self.first))) for side in (1, -1))
        said = ["A" if rng.random() < p else "B" for p in (one, two)]
        return Comparison(match, 0, "j", said[0], said[1], (sizes[0], sizes[1]))  # type: ignore[arg-type]

    def sample(self, rng: Rng) -> list[Comparison]:
        """What a judge says of all matches, or of those that are chosen one after the other."""
        own, logs = self.world(rng, self.questions)
        models, docs = len(self.worth), range(self.questions)
        if self.pairs is None:
            return [
                self.compared(rng, own, logs, Match(a, b, doc))
                for a, b in combinations(range(models), 2)
                for doc in docs
            ]
        names = [f"{n} {rng.integers(1 << 30)}" for n in range(models)]
        schedule, found = Schedule(names, lambda a, b: docs), list[Comparison]()
        matches = schedule.even(self.pairs)
        while matches:
            found += [self.compared(rng, own, logs, match) for match in matches]
            fitted = strengths_of(found, models)
            assert fitted is not None
            left = min(self.pairs - len(found), max(32, 2 * len(schedule.pairs)))
            ranks = ranks_of(fitted, SURE)
            better = np.zeros((models, models), dtype=bool) if ranks is None else ranks.better
            matches = schedule.best(lambda pair, b=better: bool(b[pair] or b[pair[::-1]]), left) if left > 0 else []  # type: ignore[misc]
        return found

    @cache  # noqa: B019 - a handful of worlds
    def truth(self) -> tuple[Floats, float, float | None]:
        """Strengths, position and length coefficient that endless questions would give."""
        rng = np.random.default_rng(12345)
        models = len(self.worth)
        own, logs = self.world(rng, MANY // models)
        found = [
            self.compared(rng, own, logs, Match(a, b, doc))
            for a, b in combinations(range(models), 2)
            for doc in range(len(own))
        ]
        fitted = strengths_of(found, models)
        assert fitted is not None
        swayed = biases(found, models)
        assert swayed.position is not None
        return fitted.values, swayed.position.value, None if swayed.length is None else swayed.length.value


ARENAS: Mapping[str, Arena] = {
    "3 models, 80 questions": Arena((0.5, 0.0, -0.5)),
    "5 models, 40 questions": Arena((0.8, 0.3, 0.0, -0.3, -0.8), questions=40),
    "2 models, 80 questions, first +0.7": Arena((0.3, -0.3), first=0.7),
    "3 models, longer +2": Arena((0.5, 0.0, -0.5), longer=2.0, lengths=(-0.3, 0.0, 0.3)),
}


def strengths(name: str, most: int, seed: int) -> list[Row]:
    """Coverage of strengths, and of the judge's biases."""
    arena, rng = ARENAS[name], np.random.default_rng(seed)
    values, position, length = arena.truth()
    held: dict[str, list[bool]] = {}
    widths: dict[str, list[float]] = {}
    for _ in range(most):
        found = arena.sample(rng)
        fitted, swayed = strengths_of(found, len(arena.worth)), biases(found, len(arena.worth))
        assert fitted is not None
        ends = fitted.interval(0)
        assert ends is not None
        shown: list[tuple[str, float | None, float | None, float]] = [("strength", *ends, float(values[0]))]
        for kind, one, true in (("position bias", swayed.position, position), ("length bias", swayed.length, length)):
            if one is not None and true is not None:
                shown.append((kind, one.low, one.high, true))
        for kind, low, high, true in shown:
            assert low is not None
            assert high is not None
            held.setdefault(kind, []).append(low <= true <= high)
            widths.setdefault(kind, []).append(high - low)
    return [_row(kind, name, held[kind], float(np.mean(widths[kind]))) for kind in held]


def _row(kind: str, label: str, held: Sequence[bool], width: float, least: float = LEAST, most: float = MOST) -> Row:
    return Row(kind, label, "coverage", len(held), float(np.mean(held)), least, most, False, width, 0.0)


EQUAL, SPREAD = (0.0,) * 10, tuple(np.linspace(0.6, -0.6, 10).tolist())
RANKED: Mapping[str, Arena] = {
    "10 models alike": Arena(EQUAL),
    "10 models apart": Arena(SPREAD),
    "10 models alike, 400 of 3,600 matches chosen": Arena(EQUAL, pairs=400),
    "10 models apart, 400 of 3,600 matches chosen": Arena(SPREAD, pairs=400),
}


def ranks(name: str, most: int, seed: int) -> list[Row]:
    """How often all ten models' places are in their intervals at once: at least 95 %."""
    arena, rng = RANKED[name], np.random.default_rng(seed)
    worth = np.asarray(arena.worth)
    low = np.array([1 + (worth > own).sum() for own in worth])
    high = np.array([worth.size - (worth < own).sum() for own in worth])
    held, widths = [], []
    for _ in range(most):
        fitted = strengths_of(arena.sample(rng), worth.size)
        assert fitted is not None
        found = ranks_of(fitted)
        assert found is not None
        held.append(bool((found.low <= low).all() and (found.high >= high).all()))
        widths.append(float((found.high - found.low).mean()))
    return [_row("arena ranks", name, held, float(np.mean(widths)), LEAST, 1.0)]


def judged_means(repeats: int, most: int, seed: int) -> list[Row]:
    """Coverage of a model's mean grade: what the judge would give on endless questions, judged endlessly often."""
    rng, held, widths = np.random.default_rng(seed), [], []
    spread, noise, centre, bounds = 1.5, 1.2, 6.0, (1.0, 10.0)
    for _ in range(most):
        worth = rng.normal(centre, spread, (80, 1))
        grades = worth + rng.normal(0, noise, (80, repeats))
        known, _ = mean_uncertainty(grades.mean(axis=1).tolist(), [None] * 80, bounds)
        assert known.interval is not None
        held.append(known.interval.low <= centre <= known.interval.high)
        widths.append(known.interval.high - known.interval.low)
    return [_row("mean grade", f"80 questions, judged {repeats} times", held, float(np.mean(widths)), 0.94, 0.97)]


def kappas(kind: str, most: int, seed: int) -> list[Row]:
    """Coverage of Cohen's kappa, plain and weighted: people and judge see an answer's worth, each with an error."""
    rng = np.random.default_rng(seed)
    weights = "quadratic" if kind == "weighted" else "none"

    def sample(questions: int, rng: Rng) -> tuple[list[int], list[int], list[int]]:
        worth = np.repeat(rng.normal(0, 1, questions), 2) + rng.normal(0, 0.7, 2 * questions)
        one, two = (np.clip(np.round(3 + worth + rng.normal(0, 0.8, worth.size)), 1, 5).astype(int) for _ in "12")
        return one.tolist(), two.tolist(), np.repeat(np.arange(questions), 2).tolist()

    a, b, _ = sample(20_000, np.random.default_rng(1))
    truth = weighted_kappa(a, b, weights=weights).value  # type: ignore[arg-type]
    assert truth is not None
    held, widths = [], []
    for _ in range(most):
        one, two, docs = sample(80, rng)
        found = weighted_kappa(one, two, weights=weights, clusters=docs)  # type: ignore[arg-type]
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= truth <= found.high)
        widths.append(found.high - found.low)
    return [_row("kappa", f"{kind}, 80 questions of 2 turns", held, float(np.mean(widths)))]


def jobs(most: int, seed: int) -> Iterator[Callable[[], list[Row]]]:
    """What makes the rows of `--part judges`."""
    yield from (partial(strengths, name, most, seed) for name in ARENAS)
    yield from (partial(ranks, name, max(40, most // 4), seed) for name in RANKED)
    yield from (partial(judged_means, repeats, most, seed) for repeats in (1, 3))
    yield from (partial(kappas, kind, most, seed) for kind in ("plain", "weighted"))

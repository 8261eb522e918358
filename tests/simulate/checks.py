"""What is promised of the statistics, and how often it holds in simulated worlds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benchbench.stats.duel import duel
from benchbench.stats.influence import jackknife, mean, ratio
from benchbench.stats.intervals import uncertainty
from benchbench.stats.power import ALPHA, DELTA
from benchbench.stats.ranks import mean_covariance, rank_intervals
from benchbench.stats.verdict import Verdict, sweep_verdict
from tests.simulate import worlds
from tests.simulate.worlds import Curve

STEPS = tuple(range(1000, 9000, 1000))


@dataclass(frozen=True)
class Check:
    """A promise, what was found, and whether it holds."""

    promise: str
    found: str
    holds: bool | None
    """None: a figure to know, without a promise."""


def verdict(curve: Curve, rng: np.random.Generator) -> Verdict:
    """The verdict on one simulated run of eight checkpoints."""
    rows = curve.draw(rng)
    return sweep_verdict(STEPS[: len(rows)], rows, clusters=curve.clusters, delta=DELTA)


def claims(curve: Curve, runs: int, seed: int) -> float:
    """Share of runs in which the last checkpoint is claimed to be better than an earlier one."""
    rng = np.random.default_rng(seed)
    return sum(verdict(curve, rng).sequence[0].p <= ALPHA for _ in range(runs)) / runs


def the_card(runs: int, seed: int) -> Iterator[Check]:
    """The published curve as item vectors."""
    rng = np.random.default_rng(seed)
    for disagreement in (0.08, 0.10, 0.15, 0.20, 0.30, 0.40):
        outcomes: Counter[str] = Counter()
        duels: Counter[str] = Counter()
        for _ in range(runs):
            rows = worlds.card(disagreement, rng)
            found = sweep_verdict(worlds.CARD_STEPS, rows, chance=0.25, delta=DELTA)
            outcomes[f"{found.outcome} from {found.since}"] += 1
            mistral = worlds.related(rows[-1], worlds.MISTRAL_COUNT, disagreement, rng)
            duels[duel(mistral, rows[-1], seed=0, delta=DELTA).outcome()] += 1
        wanted = "no detectable improvement from 100000"
        yield Check(f"card, d={disagreement:.0%}: {wanted}", _counted(outcomes), set(outcomes) == {wanted})
        yield Check(
            f"card, d={disagreement:.0%}: 130k against Mistral undecided", _counted(duels), set(duels) == {"undecided"}
        )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count}× {name}" for name, count in counts.most_common())


def flat_runs(runs: int, seed: int, most: float = 0.065) -> Iterator[Check]:
    """Runs that learn nothing: how many claim an improvement or a regression."""
    cases = {
        "n=2000": worlds.flat(),
        "n=200, accuracy .25": worlds.flat(n=200, accuracy=0.25),
        "300 passages of 5": Curve((0.5,) * 8, 1500, cluster_size=5),
        "5 checkpoints": worlds.flat(checkpoints=5),
    }
    for name, curve in cases.items():
        share = claims(curve, runs, seed)
        yield Check(f"flat runs ({name}): at most {most:.1%} claim an improvement", f"{share:.1%}", share <= most)


def noisy_runs(runs: int, seed: int) -> Iterator[Check]:
    """Flat runs whose checkpoints move: figures, with and without the estimate of that movement."""
    for tau in (0.005, 0.01):
        share = claims(worlds.flat(n=5000, tau=tau), runs, seed)
        yield Check(f"flat runs with checkpoint noise τ={100 * tau:g} pp, estimated (claims)", f"{share:.1%}", None)
        short = claims(worlds.flat(checkpoints=4, n=5000, tau=tau), runs, seed)
        yield Check("the same with 4 checkpoints, not estimable (claims)", f"{short:.1%}", None)


def upper_bounds(runs: int, seed: int) -> Iterator[Check]:
    """How often the true gain since X* lies above its upper bound, X* being chosen from the same data."""
    for name, gains in {
        "rising slowly": np.arange(8) * 0.003,
        "rising, then flat": np.minimum(np.arange(8), 4) * 0.01,
    }.items():
        curve = Curve(tuple(0.45 + gains), 2000)
        rng, above = np.random.default_rng(seed), 0
        for _ in range(runs):
            found = verdict(curve, rng)
            truth = curve.accuracy[-1] - curve.accuracy[min(found.start, 6)]
            above += found.upper is not None and truth > found.upper
        yield Check(f"true gain above its 95 % upper bound ({name})", f"{above / runs:.1%}", None)


def coverage(runs: int, seed: int) -> Iterator[Check]:
    """How often a 95 % interval holds the true value."""
    cases: dict[str, Callable[[np.random.Generator], tuple[float, float]]] = {
        "means of 0/1, n=1000": lambda rng: _mean(rng, 1000),
        "means of skewed scores, n=1000": lambda rng: _skewed(rng, 1000),
        "means in 150 clusters": _clustered,
        "paired differences of 0/1, n=1000": _difference,
        "ratios of sums, 600 docs": _ratio,
    }
    for name, case in cases.items():
        rng = np.random.default_rng(seed)
        share = sum(low <= 0 <= high for low, high in (case(rng) for _ in range(runs))) / runs
        yield _covers(name, share)
    yield _covers("BLEU, 600 segments", _bleu_coverage(runs, seed))


def _covers(name: str, share: float) -> Check:
    return Check(f"95 % intervals of {name}: coverage 94 to 96 %", f"{share:.2%}", 0.94 <= share <= 0.96)


def _around(value: float, interval: tuple[float, float] | None) -> tuple[float, float]:
    """The interval, moved so that the truth is 0."""
    assert interval is not None
    return interval[0] - value, interval[1] - value


def _mean(rng: np.random.Generator, n: int) -> tuple[float, float]:
    return _around(0.3, uncertainty(mean(rng.random(n) < 0.3)).interval)


def _skewed(rng: np.random.Generator, n: int) -> tuple[float, float]:
    return _around(2.0, uncertainty(mean(rng.gamma(2.0, 1.0, n))).interval)


def _clustered(rng: np.random.Generator) -> tuple[float, float]:
    scores, which = worlds.skewed_clusters(150, rng)
    return _around(0.5, uncertainty(mean(scores), which.tolist()).interval)


def _difference(rng: np.random.Generator) -> tuple[float, float]:
    a, b = Curve((0.50, 0.53), 1000).draw(rng)
    return _around(0.03, duel(a, b, seed=0).interval)


def _ratio(rng: np.random.Generator) -> tuple[float, float]:
    size = rng.integers(20, 400, 600)
    nats = size * rng.gamma(4.0, 0.25, 600)
    return _around(1.0, uncertainty(ratio(nats, size)).interval)


def _bleu_coverage(runs: int, seed: int, count: int = 600) -> float:
    """Influence values from leaving out each segment in turn, as the product makes them, here all at once."""
    truth, rng, held = worlds.true_bleu(), np.random.default_rng(seed), 0
    for _ in range(runs):
        table = worlds.segments(count, rng)
        total = table.sum(axis=0)
        found = uncertainty(jackknife(float(worlds.bleu(total)), worlds.bleu(total - table))).interval
        assert found is not None
        held += found.low <= truth <= found.high
    return held / runs


def rank_coverage(runs: int, seed: int, models: int = 30) -> Iterator[Check]:
    """How often all models' true places are in their intervals at once; many models are tied or nearly so."""
    truth = np.repeat(np.linspace(0.4, 0.6, models // 3), 3)
    worse = (truth[:, None] < truth[None, :]).sum(axis=1)
    best, last = 1 + worse, models - (truth[:, None] > truth[None, :]).sum(axis=1)
    rng, held = np.random.default_rng(seed), 0
    for run in range(runs):
        ease = rng.normal(0, 0.2, 1500)
        scores = rng.random((models, 1500)) < np.clip(truth[:, None] + ease, 0, 1)
        values = scores.mean(axis=1)
        found = rank_intervals(values, mean_covariance([scores - values[:, None]]), seed=run, draws=999)
        held += bool(((found.low <= best) & (found.high >= last)).all())
    share = held / runs
    yield Check(f"rank intervals of {models} models hold all true places: at least 95 %", f"{share:.1%}", share >= 0.95)

"""The board: chance-normalised macro means with rank intervals, for models that were asked the same tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.core.errors import StoreError
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import Entry, Variant
from benchbench.leaderboard.weights import (
    Benchmark,
    Weighting,
    bounds,
    mean_score,
    normalised,
    scaled_error,
    weights_of,
)
from benchbench.stats.groups import error_correlation
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval
from benchbench.stats.ranks import (
    DRAWS,
    Covariance,
    Ranks,
    covariance_of_mean,
    duel_win_score,
    mean_covariance,
    mean_win_rate,
    rank_intervals,
)

SEED = 1234
MANY, FEWER_DRAWS = 60, 1999
"""Above so many models the quantile of the largest |t| is read from fewer draws."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One model's line among those with the same tasks."""

    entry: Entry
    mean: float
    """Of the normalised scores: 0 is guessing, 1 the best."""
    stderr: float | None
    interval: Interval | None
    rank: tuple[int, int] | None
    """Places that it may hold; None where they could not be worked out."""
    win_rate: float | None
    duel_wins: float | None
    normalised: Mapping[Variant, float]


@dataclass(frozen=True, slots=True)
class Coverage:
    """Models that were asked the same tasks, best first. Those that were asked more are judged by these alone."""

    variants: tuple[Variant, ...]
    weights: Mapping[Variant, float]
    """Sum 1."""
    standings: tuple[Standing, ...]
    ranked_by: str
    """How the rank intervals were made, in a sentence."""


@dataclass(frozen=True, slots=True)
class Board:
    """Coverage groups, the most usual set of tasks first."""

    groups: tuple[Coverage, ...]
    left_out: tuple[str, ...]
    """Tasks without a best possible score (perplexities) or without a value, which are in no mean."""
    unknown_chance: tuple[str, ...] = ()
    """Tasks of which nobody said what a guesser gets, which are in no mean either."""
    missing: tuple[str, ...] = ()
    """Tasks that were asked for and that no model has."""

    @property
    def tasks(self) -> set[str]:
        """Those that are in some group's mean."""
        return {variant.task for group in self.groups for variant in group.variants}


def make_board(
    entries: Sequence[Entry],
    items: ItemScores,
    duels: Duels,
    groups: Sequence[Benchmark] = (),
    tasks: Iterable[str] | None = None,
    *,
    weighting: Weighting = "benchmarks",
) -> Board:
    """Means and ranks of these entries over these tasks (None: all). Entries that have none of them are left out."""
    wanted = None if tasks is None else set(tasks)
    popular = Counter(variant for entry in entries for variant in entry.cells)
    covered: dict[tuple[Variant, ...], list[Entry]] = {}
    left_out: set[str] = set()
    unknown: set[str] = set()
    for entry in entries:
        chosen: dict[str, Variant] = {}
        for variant in sorted(entry.cells, key=lambda one: (-popular[one], one)):
            if wanted is None or variant.task in wanted:
                cell = entry.cells[variant]
                if cell.metric.lacks_chance:
                    unknown.add(variant.task)
                elif cell.range is None or cell.value is None:
                    left_out.add(variant.task)
                else:
                    chosen.setdefault(variant.task, variant)
        if chosen:
            covered.setdefault(tuple(sorted(chosen.values())), []).append(entry)
    found = tuple(
        _coverage(variants, members, items, duels, groups, weighting) for variants, members in _grouped(covered)
    )
    inside = {variant.task for group in found for variant in group.variants}
    here = {variant.task for entry in entries for variant in entry.cells}
    return Board(
        found, *(tuple(sorted(tasks)) for tasks in (left_out - inside, unknown - inside, (wanted or here) - here))
    )


def _grouped(covered: Mapping[tuple[Variant, ...], list[Entry]]) -> Iterator[tuple[tuple[Variant, ...], list[Entry]]]:
    """Sets of tasks, the most usual first, each with all models that have them; until every model is in one."""
    shown: set[int] = set()
    for variants in sorted(covered, key=lambda one: (-len(covered[one]), -len(one), one)):
        if any(id(entry) not in shown for entry in covered[variants]):
            needed = set(variants)
            members = [entry for other, entries in covered.items() if needed <= set(other) for entry in entries]
            shown |= set(map(id, members))
            yield variants, members


def _coverage(
    variants: tuple[Variant, ...],
    entries: Sequence[Entry],
    items: ItemScores,
    duels: Duels,
    groups: Sequence[Benchmark],
    weighting: Weighting,
) -> Coverage:
    weights = _weights(variants, entries[0], groups, weighting)
    scores = np.array([[normalised(entry.cells[variant]) for entry in entries] for variant in variants])
    blocks = [_block(block, weights, entries, items) for block in _families(variants, entries[0])]
    means = [
        mean_score(
            [entry.cells[variant] for variant in variants],
            [weights[variant] for variant in variants],
            _correlation(variants, blocks, place),
        )
        for place, entry in enumerate(entries)
    ]
    ranks, ranked_by = _ranks(blocks, weights, entries, [mean.value for mean in means])
    rates = mean_win_rate(scores) if len(entries) > 1 else None
    wins = _duel_wins(variants, entries, duels)
    standings = [
        Standing(
            entry=entry,
            mean=means[i].value,
            stderr=means[i].stderr,
            interval=means[i].interval,
            rank=None if ranks is None else (int(ranks.low[i]), int(ranks.high[i])),
            win_rate=None if rates is None else float(rates[i]),
            duel_wins=None if wins is None else float(wins[i]),
            normalised={variant: float(scores[place, i]) for place, variant in enumerate(variants)},
        )
        for i, entry in enumerate(entries)
    ]
    ordered = sorted(standings, key=lambda one: (-one.mean, one.entry.name))
    return Coverage(variants, weights, tuple(ordered), ranked_by)


def _weights(
    variants: Sequence[Variant], entry: Entry, groups: Sequence[Benchmark], weighting: Weighting
) -> dict[Variant, float]:
    docs = {variant.task: float(entry.cells[variant].row.n or 1) for variant in variants}
    found = weights_of(docs, groups, weighting)
    return {variant: found[variant.task] for variant in variants}


@dataclass(frozen=True, slots=True)
class _Block:
    """A task, or tasks that ask the same questions in several languages."""

    variants: tuple[Variant, ...]
    covariance: Covariance | None
    """Of the models' weighted means over these tasks, doc by doc; None where there are no items."""
    correlations: tuple[Floats, ...]
    """Of the tasks' errors, for each model; empty where the tasks are independent or have no items."""


def _families(variants: Sequence[Variant], entry: Entry) -> list[tuple[Variant, ...]]:
    """Tasks of one family together, all others alone."""
    found: dict[str, list[Variant]] = {}
    for variant in variants:
        family = entry.cells[variant].family
        found.setdefault(f"task {variant.task}" if family is None else f"file {family}", []).append(variant)
    return [tuple(members) for members in found.values()]


def _block(
    variants: tuple[Variant, ...], weights: Mapping[Variant, float], entries: Sequence[Entry], items: ItemScores
) -> _Block:
    if len(entries) < 2 and len(variants) < 2:
        return _Block(variants, None, ())
    pulls: list[Floats] = []
    names: list[Sequence[Hashable | None] | None] = []
    scales: list[float] = []
    try:
        for variant in variants:
            floor, ceiling = bounds(entries[0].cells[variant])
            paired = items.paired([entry.cells[variant] for entry in entries])
            pulls.append(paired.influences / (ceiling - floor))
            names.append(paired.units)
            scales.append((entries[0].cells[variant].metric.scale or 1.0) / (ceiling - floor))
        together = len(variants) > 1
        known = mean_covariance(pulls, names, [weights[v] for v in variants], scales=scales, parallel=together)
    except (StoreError, ValueError):  # without items, or fewer than two independent docs
        return _Block(variants, None, ())
    each = [[psi[place] for psi in pulls] for place in range(len(entries) if together else 0)]
    return _Block(variants, known, tuple(error_correlation(psi, names) for psi in each))


def _correlation(variants: Sequence[Variant], blocks: Sequence[_Block], model: int) -> Floats | None:
    """Correlation of the errors of one model's tasks; None where they are independent."""
    if not any(block.correlations for block in blocks):
        return None
    place = {variant: i for i, variant in enumerate(variants)}
    whole = np.eye(len(variants))
    for block in blocks:
        if block.correlations:
            where = [place[variant] for variant in block.variants]
            whole[np.ix_(where, where)] = block.correlations[model]
    return whole


def _ranks(
    blocks: Sequence[_Block], weights: Mapping[Variant, float], entries: Sequence[Entry], means: Sequence[float]
) -> tuple[Ranks | None, str]:
    if len(entries) < 2:
        return None, "No other model was asked the same docs in the same way, so there are no ranks."
    parts: list[Floats] = []
    shares: list[float] = []
    alone = [variant for block in blocks if block.covariance is None for variant in block.variants]
    for variant in alone:
        errors = [scaled_error(entry.cells[variant]) for entry in entries]
        if any(error is None for error in errors):
            return None, f"No ranks: {variant.task} has no standard error for some model."
        parts.append(np.diag(np.array(errors, dtype=np.float64) ** 2))
        shares.append(weights[variant])
    for block in blocks:
        if block.covariance is not None:
            parts.append(block.covariance)
            shares.append(sum(weights[variant] for variant in block.variants))
    draws = DRAWS if len(entries) <= MANY else FEWER_DRAWS
    how = "doc by doc" if not alone else "from standard errors alone, without items, which widens them"
    if 0 < len(alone) < len(weights):
        how = f"doc by doc; {len(alone)} of {len(weights)} tasks have no items and count by their standard errors"
    sentence = f"Rank intervals: simultaneous, 95 %, {how}."
    return rank_intervals(means, covariance_of_mean(parts, shares), seed=SEED, draws=draws), sentence


def _duel_wins(variants: Sequence[Variant], entries: Sequence[Entry], duels: Duels) -> Floats | None:
    if len(entries) < 2:
        return None
    tables = [duels.wins(variant, entries) for variant in variants]
    known = [table for table in tables if table is not None]
    return duel_win_score(np.stack(known)) if len(known) == len(tables) else None

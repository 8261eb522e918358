"""The board: chance-normalised macro means with rank intervals, for models that were asked the same tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.leaderboard.site.duels import Duels
from benchbench.leaderboard.site.items import ItemScores
from benchbench.leaderboard.site.records import Entry, Variant
from benchbench.stats.board import chance_normalised, duel_win_score, mean_win_rate
from benchbench.stats.groups import group_mean
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval
from benchbench.stats.ranks import DRAWS, Ranks, mean_covariance, rank_intervals

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
    """Tasks without a best possible score (perplexities), which are in no mean."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Tasks that count as one, such as the subjects of MMLU."""

    name: str
    tasks: tuple[str, ...]
    weight_by_size: bool


def benchmarks(entries: Iterable[Entry]) -> tuple[Benchmark, ...]:
    """The groups that the runs' records name, largest first."""
    found: dict[str, Benchmark] = {}
    for entry in entries:
        for source in entry.sources:
            for group in source.record["groups"]:
                made = Benchmark(str(group["name"]), tuple(map(str, group["tasks"])), bool(group["weight_by_size"]))
                known = found.get(made.name)
                if known is None or len(made.tasks) > len(known.tasks):
                    found[made.name] = made
    return tuple(sorted(found.values(), key=lambda group: (-len(group.tasks), group.name)))


def make_board(
    entries: Sequence[Entry],
    items: ItemScores,
    duels: Duels,
    groups: Sequence[Benchmark] = (),
    tasks: Iterable[str] | None = None,
) -> Board:
    """Means and ranks of these entries over these tasks (None: all). Entries that have none of them are left out."""
    wanted = None if tasks is None else set(tasks)
    popular = Counter(variant for entry in entries for variant in entry.cells)
    covered: dict[tuple[Variant, ...], list[Entry]] = {}
    left_out: set[str] = set()
    for entry in entries:
        chosen: dict[str, Variant] = {}
        for variant in sorted(entry.cells, key=lambda one: (-popular[one], one)):
            if wanted is None or variant.task in wanted:
                cell = entry.cells[variant]
                if cell.range is None or cell.value is None:
                    left_out.add(variant.task)
                else:
                    chosen.setdefault(variant.task, variant)
        if chosen:
            covered.setdefault(tuple(sorted(chosen.values())), []).append(entry)
    found = tuple(_coverage(variants, members, items, duels, groups) for variants, members in _grouped(covered))
    return Board(found, tuple(sorted(left_out - {v.task for group in found for v in group.variants})))


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
) -> Coverage:
    weights = weights_of(variants, entries[0], groups)
    scores = np.array([[_normalised(entry, variant) for entry in entries] for variant in variants])
    means = [
        group_mean(
            scores[:, place].tolist(),
            [_scaled_error(entry, variant) for variant in variants],
            [max(1, (entry.cells[variant].row["n"] or 2) - 1) for variant in variants],
            [weights[variant] for variant in variants],
        )
        for place, entry in enumerate(entries)
    ]
    ranks, ranked_by = _ranks(variants, weights, entries, [mean.value for mean in means], items)
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


def weights_of(variants: Sequence[Variant], entry: Entry, groups: Sequence[Benchmark]) -> dict[Variant, float]:
    """Benchmarks count alike; within one its tasks count alike, or by their number of docs where it says so."""
    units: dict[str, dict[Variant, float]] = {}
    for variant in variants:
        group = next((g for g in groups if variant.task in g.tasks), None)
        docs = float(entry.cells[variant].row["n"] or 1)
        share = docs if group is not None and group.weight_by_size else 1.0
        units.setdefault(f"task {variant.task}" if group is None else f"group {group.name}", {})[variant] = share
    return {
        variant: share / sum(members.values()) / len(units)
        for members in units.values()
        for variant, share in members.items()
    }


def _bounds(entry: Entry, variant: Variant) -> tuple[float, float]:
    return entry.cells[variant].range or (0.0, 1.0)


def _normalised(entry: Entry, variant: Variant) -> float:
    floor, ceiling = _bounds(entry, variant)
    value = entry.cells[variant].value
    return chance_normalised(floor if value is None else value, floor, ceiling)


def _scaled_error(entry: Entry, variant: Variant) -> float | None:
    floor, ceiling = _bounds(entry, variant)
    stderr = entry.cells[variant].stderr
    return None if stderr is None else stderr / (ceiling - floor)


def _ranks(
    variants: Sequence[Variant],
    weights: Mapping[Variant, float],
    entries: Sequence[Entry],
    means: Sequence[float],
    items: ItemScores,
) -> tuple[Ranks | None, str]:
    if len(entries) < 2:
        return None, "No other model was asked the same tasks, so there are no ranks."
    sigma = np.zeros((len(entries), len(entries)))
    alone = 0
    for variant in variants:
        part = _paired_covariance(variant, entries, items)
        if part is None:
            errors = [_scaled_error(entry, variant) for entry in entries]
            if any(error is None for error in errors):
                return None, f"No ranks: {variant.task} has no standard error for some model."
            part = np.diag(np.array(errors, dtype=np.float64) ** 2)
            alone += 1
        sigma += weights[variant] ** 2 * part
    draws = DRAWS if len(entries) <= MANY else FEWER_DRAWS
    how = "doc by doc" if alone == 0 else "from standard errors alone, without items, which widens them"
    if 0 < alone < len(variants):
        how = f"doc by doc; {alone} of {len(variants)} tasks have no items and count by their standard errors"
    sentence = f"Rank intervals: simultaneous, 95 %, {how}."
    return rank_intervals(means, sigma, seed=SEED, draws=draws), sentence


def _paired_covariance(variant: Variant, entries: Sequence[Entry], items: ItemScores) -> Floats | None:
    paired = items.paired(variant, entries)
    if paired is None:
        return None
    floor, ceiling = _bounds(entries[0], variant)
    try:
        return mean_covariance([paired.influences / (ceiling - floor)], [paired.clusters])
    except ValueError:  # fewer than two independent docs
        return None


def _duel_wins(variants: Sequence[Variant], entries: Sequence[Entry], duels: Duels) -> Floats | None:
    if len(entries) < 2:
        return None
    tables = [duels.wins(variant, entries) for variant in variants]
    known = [table for table in tables if table is not None]
    return duel_win_score(np.stack(known)) if len(known) == len(tables) else None

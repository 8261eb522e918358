"""Corpus metrics as estimates: a value over items that is no mean of item scores, and each item's influence on it.

Also their standard errors and intervals, and how the errors of tasks with the same questions go together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from benchbench.core.errors import StoreError
from benchbench.core.item_table import ItemTable, answered, table_of
from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.registry import influence_column
from benchbench.core.task_scoring import ScoreColumn, ScoredTask, columns, unit_names
from benchbench.core.types import Item, ScoringSpec
from benchbench.scoring.agreement import agreement
from benchbench.scoring.choice import per_unit, softmax, units
from benchbench.scoring.filters import FilterContext, apply_filter
from benchbench.scoring.generation import CorpusScore, corpus_score
from benchbench.stats.auroc import macro_auroc
from benchbench.stats.groups import error_correlation
from benchbench.stats.influence import Estimate, Floats, mean, ratio
from benchbench.stats.intervals import SHARES, Uncertainty, uncertainty
from benchbench.stats.scores import Shape, bounded, counted, positive, score_uncertainty, symmetric

Places = Sequence[int]
"""Positions among the items that an estimate was made of."""


class NoValueError(Exception):
    """A value over items is not defined; the message says why."""


@dataclass(frozen=True, slots=True)
class ColumnItems:
    """The items of a task that were not failures, and what aggregations need beside them."""

    column: ScoreColumn
    items: ItemTable
    """At least one."""
    is_first_filter: bool
    seed: int = 0
    """Of the bootstrap of medians."""

    @classmethod
    def of(
        cls, spec: ScoringSpec, column: ScoreColumn, items: Sequence[Item] | ItemTable, seed: int = 0
    ) -> ColumnItems:
        """The items under a column of the task that `spec` is of."""
        table = items if isinstance(items, ItemTable) else table_of(items)
        return cls(column, table, column.filter == (spec.filters[0] if spec.filters else None), seed)

    @property
    def clusters(self) -> list[str | None]:
        """Cluster name of each item, None for an item of its own."""
        return self.items.clusters()


def with_influence(spec: ScoringSpec, items: Sequence[Item]) -> list[Item]:
    """The items with an influence value beside the scores of every corpus metric: how far a doc pulls the value.

    Two runs are compared by these where the metric is not a mean of item scores (BLEU, F1, bits per byte); for
    perplexities they are those of the logarithm. None for items that do not count.
    """
    found = influence(spec, items)
    if not found:
        return list(items)
    return [
        replace(item, scores={**item.scores, **{name: values[place] for name, values in found.items()}})
        for place, item in enumerate(items)
    ]


def influence(spec: ScoringSpec, items: Sequence[Item]) -> dict[str, list[float | None]]:
    """Influence column → its value for each item, as `with_influence` puts them beside the scores."""
    names = [column for column in columns(spec) if column.metric.aggregation in ESTIMATORS]
    if not names:
        return {}
    counts = [outcome != "failed" for outcome in table_of(items).outcomes()]
    if not any(counts):
        return {}
    usable, places = answered(items), [place for place, one in enumerate(counts) if one]
    return {
        influence_column(column.name): _influence(ColumnItems.of(spec, column, usable), places, len(counts))
        for column in names
    }


def _influence(usable: ColumnItems, places: Sequence[int], size: int) -> list[float | None]:
    """Influence values of `size` items, of which `usable` stand at `places`; all None where the metric has no value."""
    found: list[float | None] = [None] * size
    try:
        estimate, scored = ESTIMATORS[usable.column.metric.aggregation](usable)
    except NoValueError:
        return found
    for place, value in zip(scored, estimate.influence.tolist(), strict=True):
        found[places[place]] = value
    return found


def unit_counts(usable: ColumnItems) -> list[int]:
    """Words or bytes of each item's target, counted again on what is stored."""
    counts = [units(usable.column.metric.name, item.targets[0]) for item in usable.items.reading("targets")]
    if sum(counts) == 0:
        raise NoValueError("the texts have no bytes")
    return counts


def nats_per_unit(usable: ColumnItems) -> tuple[Estimate, Places]:
    """Total nats over total words or bytes."""
    nats = [-math.fsum(item.loglikelihoods) for item in usable.items.reading("loglikelihoods")]
    return ratio(nats, unit_counts(usable)), range(len(nats))


def bits_per_unit(usable: ColumnItems) -> tuple[Estimate, Places]:
    """Total bits over total bytes."""
    nats, items = nats_per_unit(usable)
    return Estimate(nats.value / math.log(2), nats.influence / math.log(2)), items


@dataclass(frozen=True, slots=True)
class PredictedChoices:
    """The docs with a right and a chosen answer."""

    places: list[int]
    """Where they stand among the items."""
    gold: list[int]
    predicted: list[int]
    choices: int
    """How many choices there are: of a doc the most, and at least two."""


def predicted_choices(usable: ColumnItems) -> PredictedChoices:
    """What `agreement` is taken of; a doc with several right choices counts as the one that it got right."""
    read = usable.items.reading("gold", "prediction", "scores")
    scored = [
        (place, int(item.prediction), int(item.gold), item.scores.get("acc") == 1.0)
        for place, item in enumerate(read)
        if item.gold is not None and item.prediction is not None
    ]
    if not scored:
        raise NoValueError("no item has a right choice")
    places, predicted = [place for place, *_ in scored], [guess for _, guess, *_ in scored]
    gold = [guess if is_right else first for _, guess, first, is_right in scored]
    if AGREEMENTS[usable.column.metric.aggregation] == "f1" and max(*gold, *predicted) > 1:
        raise NoValueError("f1 is defined for two choices")
    sizes = usable.items.sizes("targets")
    return PredictedChoices(places, gold, predicted, max(2, *(sizes[place] for place in places)))


def agreement_estimate(usable: ColumnItems) -> tuple[Estimate, Places]:
    """F1, macro F1 or Matthews correlation of the docs with a right and a chosen answer."""
    found = predicted_choices(usable)
    return agreement(AGREEMENTS[usable.column.metric.aggregation], found.gold, found.predicted), found.places


def choice_scores(usable: ColumnItems) -> tuple[list[int], list[list[float]], Places]:
    """Right choice and scores of all choices of the docs that have one; all docs have the same choices.

    A choice's score is the softmax of the choices' mean token log-probabilities (BenCzechMark, arXiv 2412.17933).
    """
    sizes, right, table, places = usable.items.sizes("targets"), [], [], []
    for place, item in enumerate(usable.items.reading("gold", "loglikelihoods", "num_tokens")):
        if item.gold is not None and item.loglikelihoods:
            count = sizes[place]
            places.append(place)
            right.append(int(item.gold))
            table.append(softmax(per_unit(item.loglikelihoods[:count], item.num_tokens[:count])))
    if len({sizes[place] for place in places}) != 1:
        raise NoValueError("auroc needs docs with a right choice, all with equally many choices")
    return right, table, places


def auroc_estimate(usable: ColumnItems) -> tuple[Estimate, Places]:
    """Macro one-vs-rest AUROC of the docs with a right choice."""
    gold, table, scored = choice_scores(usable)
    try:
        return macro_auroc(gold, table), scored
    except ValueError as error:
        raise NoValueError(str(error)) from error


def scored_corpus(usable: ColumnItems) -> CorpusScore:
    """sacrebleu's corpus score of what the column's filter leaves of the texts."""
    texts = [_prediction(usable, item) for item in usable.items.reading("prediction", "texts")]
    targets = [item.targets for item in usable.items.reading("targets")]
    metric = usable.column.metric
    try:
        return corpus_score(metric.aggregation, texts, targets, metric.kwargs)
    except (ImportError, LookupError, OSError, RuntimeError) as error:  # a tokenizer that is not on this machine
        raise NoValueError(f"sacrebleu raised {type(error).__name__}: {error}") from error


def _corpus_estimate(usable: ColumnItems) -> tuple[Estimate, Places]:
    return scored_corpus(usable).estimate, range(len(usable.items))


def _prediction(usable: ColumnItems, item: Item) -> str:
    """The text that this column's filter leaves; the stored prediction is the first filter's."""
    if usable.is_first_filter:
        return item.prediction or ""
    try:
        filtered = apply_filter(usable.column.filter, item.texts, FilterContext())
    except TooMuchWorkError as error:
        raise NoValueError(f"the task {error}") from error
    return filtered.texts[0] if filtered.texts else ""


AGREEMENTS = {"f1": "f1", "macro_f1": "macro_f1", "matthews_corrcoef": "matthews_corrcoef", "mcc": "matthews_corrcoef"}
CORPUS = ("bleu", "chrf", "chrf++", "ter")
ESTIMATORS: dict[str, Callable[[ColumnItems], tuple[Estimate, Places]]] = {
    "weighted_perplexity": nats_per_unit,
    "bits_per_byte": bits_per_unit,
    "macro_auroc": auroc_estimate,
    **dict.fromkeys(AGREEMENTS, agreement_estimate),
    **dict.fromkeys(CORPUS, _corpus_estimate),
}
"""Aggregations that are not means of item scores: the estimate and where the items that it rests on stand."""


Clusters = Sequence[Hashable | None]
FEWEST_MATCHES = 10
"""Four-grams below which BLEU hangs on so few that its logarithm has no interval: measured, 3 matches hold 78 %."""
CORPUS_RANGE = 100.0


def mean_uncertainty(
    values: Sequence[float], clusters: Clusters, bounds: tuple[float, float] | None, share: str = "wilson"
) -> tuple[Uncertainty, str]:
    """Of a mean of item scores, and how it was made: `share`, `clt` or `cluster`.

    Args:
        values: item scores.
        clusters: of each item.
        bounds: smallest and largest possible score, which may be infinite; None where nothing is known.
        share: the interval in `SHARES` that a share of right answers has.
    """
    estimate, right_or_wrong = mean(values), set(values) <= {0.0, 1.0}
    known = score_uncertainty(estimate, clusters, shape_of((0.0, 1.0) if right_or_wrong else bounds))
    if known.n_clusters is not None or not right_or_wrong:
        return known, "clt" if known.n_clusters is None else "cluster"
    return known._replace(interval=SHARES[share](int(sum(values)), len(values))), share


def shape_of(bounds: tuple[float, float] | None) -> Shape:
    """How the scatter of a score with these bounds moves with its value."""
    if bounds is None or bounds[0] == -float("inf"):
        return symmetric
    low, high = bounds
    if high < float("inf"):
        return partial(bounded, low=low, high=high)
    return positive if low == 0 else symmetric


def ratio_uncertainty(estimate: Estimate, clusters: Clusters, units: ArrayLike) -> Uncertainty:
    """Of nats or bits per word or byte, each doc weighing as many as it has."""
    return score_uncertainty(estimate, clusters, positive, shares=units, what="text")


def corpus_uncertainty(metric: str, found: CorpusScore, clusters: Clusters) -> Uncertainty:
    """Of BLEU, chrF or TER, a segment weighing as much as its target is long."""
    if found.matches is not None and found.matches < FEWEST_MATCHES:
        plain = uncertainty(found.estimate, clusters)
        return plain._replace(interval=None, reason=f"no interval: only {found.matches} matching four-grams")
    shape: Shape = (
        partial(counted, scale=CORPUS_RANGE) if metric == "ter" else partial(bounded, low=0.0, high=CORPUS_RANGE)
    )
    return score_uncertainty(found.estimate, clusters, shape, shares=found.lengths, what="text")


def corpus_estimate(spec: ScoringSpec, name: str, items: Sequence[Item]) -> dict[int, float]:
    """doc id → value of a corpus metric on these items, plus how far the doc pulls it; the mean is the value.

    Raises:
        StoreError: the metric is none of ours, or has no value on these docs.
    """
    column = next((column for column in columns(spec) if column.name == name), None)
    if column is None or column.metric.aggregation not in ESTIMATORS:
        raise StoreError(f"{name} cannot be worked out anew on the docs that both sides have: it is not benchbench's.")
    try:
        estimate, scored = ESTIMATORS[column.metric.aggregation](ColumnItems.of(spec, column, items))
    except NoValueError as error:
        raise StoreError(f"{name} has no value on the docs that all sides have: {error}.") from error
    pulls = (estimate.value + estimate.influence).tolist()
    return {items[place].doc_id: pull for place, pull in zip(scored, pulls, strict=True)}


NO_INFLUENCE = ("median",)


def correlations(members: Sequence[ScoredTask]) -> dict[str, NDArray[np.float64]]:
    """Metric → correlation of the errors of the members' values, shape (members, members).

    Empty where no two members are of one family, whose values then are independent.
    """
    families = [member.family for member in members if member.family is not None]
    if len(set(families)) == len(families):
        return {}
    tables = [_unit_influence(member) for member in members]
    shared = [metric for metric in tables[0] if all(metric in table for table in tables)]
    return {metric: error_correlation(*zip(*(table[metric] for table in tables), strict=True)) for metric in shared}


UnitInfluence = tuple[Floats, tuple[Hashable | None, ...] | None]
"""The influence of each doc, and its unit (`unit_names`)."""


def _unit_influence(member: ScoredTask) -> dict[str, UnitInfluence]:
    """Of each metric that has them: how each doc pulls its value, and the docs' units."""
    found: dict[str, UnitInfluence] = {}
    for column in columns(member.spec):
        aggregation = column.metric.aggregation
        name = influence_column(column.name) if aggregation in ESTIMATORS else column.name
        table = table_of(member.items)
        known = [
            (score, of) for score, of in zip(table.scores(name), table.clusters(), strict=True) if score is not None
        ]
        scores = np.array([score for score, _ in known], dtype=np.float64)
        is_finite = np.isfinite(scores)
        if aggregation not in NO_INFLUENCE and is_finite.any():
            clusters = [cluster for (_, cluster), counts in zip(known, is_finite, strict=True) if counts]
            influence = np.asarray(scores[is_finite] - scores[is_finite].mean())
            found[column.name] = influence, unit_names(member.family, clusters)
    return found

"""A task's metrics as its run record names them: what they are, and how two models are compared by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchbench.core.json_record import as_json
from benchbench.core.post_metrics import is_post_metric
from benchbench.core.record import RunRecord, ScoringRecord
from benchbench.core.registry import ITEM_MEANS, finite_range, influence_column, metric_range, metric_spec
from benchbench.core.types import Json, MetricSpec
from benchbench.stats.testing import DELTA, margin

GUESSED_AT_HALF = ("auroc",)
"""Metrics of which a guesser gets one half, however many choices there are."""
Kind = Literal["mean", "log mean", "influence", "log influence"]
"""Mean of item scores; the logarithm of a perplexity; a corpus metric; the logarithm of one."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One column of a task's scores."""

    name: str
    kind: Kind | None
    """None: two models cannot be compared by it (the median)."""
    higher_is_better: bool
    floor: float | None
    """Score of a guesser: the task's chance, or 0 where there is nothing to choose from; None for metrics without
    bounds, and where the chance of a choice is not known."""
    ceiling: float | None
    bounds: tuple[float, float] | None
    """Smallest and largest possible score; None where there is no largest."""
    identity: Json
    """Everything that shapes the score; must be equal for a comparison."""

    @property
    def lacks_chance(self) -> bool:
        """A choice of which nobody said what a guesser gets."""
        return self.floor is None and self.ceiling is not None

    @property
    def column(self) -> str:
        """Where the item table holds what the comparison needs."""
        return influence_column(self.name) if self.kind in ("influence", "log influence") else self.name

    @property
    def is_mean(self) -> bool:
        """It is the mean of item scores, or of their logarithms; else it has influence values."""
        return self.kind in ("mean", "log mean")

    @property
    def is_log(self) -> bool:
        """Differences are differences of logarithms: ratios of perplexities."""
        return self.kind in ("log mean", "log influence")

    @property
    def scale(self) -> float | None:
        """How much one doc can differ at most: the metric's range, 1 for logarithms; None where it has none."""
        return 1.0 if self.is_log else None if self.bounds is None else self.bounds[1] - self.bounds[0]

    @property
    def delta(self) -> float | None:
        """Margin of equivalence in the metric's own unit: half a percent of its range; None for metrics without one."""
        return margin(self.bounds) if self.ceiling is not None else None

    def margin(self, *scores: float) -> float | None:
        """`delta`, or for metrics without a range half a percent of these scores; of a ratio where `is_log`."""
        return DELTA if self.is_log else margin(self.bounds, *scores)


def metric_names(record: RunRecord, task: str) -> list[str]:
    """Metrics of a task in the order of its rows: the first is the one it is known by."""
    return [row.metric for row in record.rows_of(task)]


def metric_of(record: RunRecord, task: str, name: str) -> Metric:
    """What the record says of a task's metric."""
    scoring = record.tasks[task].scoring
    base, _, pipeline = name.partition(",")
    spec = _spec(scoring, base)
    filters = [one for one in scoring.filters if not pipeline or one.name == pipeline]
    bounds = metric_range(name) if spec.bounds is None else finite_range(spec.bounds)
    return Metric(
        name=name,
        kind=_kind(spec.aggregation),
        higher_is_better=spec.higher_is_better,
        floor=_floor(base, scoring, bounds) if spec.higher_is_better else None if bounds is None else bounds[0],
        ceiling=None if bounds is None else bounds[1],
        bounds=bounds,
        identity=as_json([base, spec.aggregation, spec.kwargs, filters]),
    )


def _spec(scoring: ScoringRecord, name: str) -> MetricSpec:
    """The metric as it was configured; one that is always computed, or not computed yet, is configured nowhere."""
    listed = next((metric for metric in scoring.metrics if metric.name == name), None)
    if listed is not None:
        return listed
    return MetricSpec(name) if is_post_metric(name) else metric_spec(name, scoring.spec(name).output_type)


def _floor(metric: str, scoring: ScoringRecord, bounds: tuple[float, float] | None) -> float | None:
    """Score of a guesser: for choices what the task states, and unknown where it states nothing."""
    if bounds is None:
        return None
    if metric in GUESSED_AT_HALF:
        return 0.5
    if bounds == (0.0, 1.0) and scoring.chance is not None:
        return float(scoring.chance)
    is_choice = bounds == (0.0, 1.0) and scoring.output_type == "multiple_choice"
    return None if is_choice else max(0.0, bounds[0])


def _kind(aggregation: str) -> Kind | None:
    if aggregation in ITEM_MEANS:
        return "mean"
    known: dict[str, Kind | None] = {"perplexity": "log mean", "weighted_perplexity": "log influence", "median": None}
    return known.get(aggregation, "influence")

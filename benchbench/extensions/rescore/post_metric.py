"""Metrics that need a model or a program of their own, computed after a run from what it stored.

A post-metric is one class with the methods of `PostMetric`, called with the settings and where events go, and one line:
in POST_METRICS (`core/post_metrics.py`), or, in a package of one's own, an entry point in the group
`benchbench.post_metrics` whose name is what `--metric` and a task's `metric_list` take. `--option name=value`, and the
entry's further keys, bring it its settings. It is imported only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, cast, runtime_checkable

from benchbench.core import post_metrics
from benchbench.core.plugins import load
from benchbench.core.post_metrics import POST_METRIC_GROUP
from benchbench.core.types import Item, Json, MetricSpec, OutputType, ScoringSpec
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import OnEvent, Scoring, SegmentsScored
from benchbench.store.files import make_folder
from benchbench.store.lines import LineLog, read_lines


@dataclass(frozen=True, slots=True)
class PostMetricInfo:
    """What a metric is on one task, before any doc is scored."""

    metric: MetricSpec
    """Name of the column, which holds no comma; `kwargs` hold all that must be equal for the scores of two runs to be
    compared. `bounds` and `higher_is_better` say how boards and verdicts read it."""
    signature: str
    """The same in one line, for people."""
    facts: Mapping[str, Json]
    """All that a score rests on: where the same facts were recorded, the scores that are there are kept."""
    recorded: Mapping[str, Json] = field(default_factory=dict)
    """What else is worth recording, e.g. the device."""
    parts: tuple[str, ...] = ()
    """Further columns, `metric,part`: of one turn, one category, one k. With parts there are none for each filter."""
    every_filter: bool = True
    """It scores what each of the task's filters leaves, a column each; False: it reads the answers as they are."""
    remarks: Sequence[str] = ()
    """What a reader of its rows should know. It and `recorded` are read when all is scored, and may grow until then."""


class PostMetric(Protocol):
    """A metric computed after a run. Nothing is opened before `info` is asked for."""

    def fits(self, output_type: OutputType) -> bool:
        """Whether it scores answers of such tasks."""
        ...

    def missing(self, task: StoredTask) -> str | None:
        """What keeps it from scoring the task, as the end of a sentence (`has no …`); None if nothing does."""
        ...

    def info(self, task: StoredTask) -> PostMetricInfo:
        """Opens what it scores with, if it is not open, and says what that is."""
        ...

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> Sequence[Item]:
        """The task's items in their order, each with a score for every column of `spec` and for every part
        (`metric,part`); None where it has none.

        `live` is a file for scores so far, which is removed when all are there.
        """
        ...

    def close(self) -> None:
        """Closes what `info` opened."""
        ...


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What scoring a task would ask of a model."""

    requests: int
    prompt_tokens: int
    """About so many, to be read."""
    most_tokens: int
    """To be written at most."""


@runtime_checkable
class EstimatesCost(Protocol):
    """A post-metric that can say beforehand what it would cost (`benchbench score --dry-run`)."""

    def estimate(self, task: StoredTask) -> CostEstimate:
        """Opens no model."""
        ...


def make_post_metric(name: str, settings: ScoreSettings, on_event: OnEvent) -> PostMetric | None:
    """The metric of that name; None if no post-metric has it."""
    made = cast(
        "Callable[[ScoreSettings, OnEvent], PostMetric] | None",
        load(name, post_metrics.POST_METRICS, POST_METRIC_GROUP),
    )
    return None if made is None else made(settings, on_event)


Asked = TypeVar("Asked")


def score_in_blocks(
    asked: Mapping[str, Asked],
    score: Callable[[Sequence[Asked]], Sequence[float]],
    *,
    spec: ScoringSpec,
    live: Path,
    size: int,
    on_event: OnEvent,
) -> dict[str, float]:
    """The score of everything asked, by its key.

    Args:
        asked: what is to be scored, in the order of asking; its key names all that its score rests on.
        score: one score for each of at most `size` of them, in their order.
        live: where scores so far are kept; those that are there are not asked again.
    """
    known = {key: value for key, value in _earlier(live) if key in asked}
    missing = [key for key in asked if key not in known]
    on_event(Scoring(spec.task, spec.metrics[0].name, len(asked), len(known)))
    make_folder(live.parent)
    with LineLog(live) as log:
        for start in range(0, len(missing), size):
            block = missing[start : start + size]
            for key, value in zip(block, score([asked[key] for key in block]), strict=True):
                known[key] = value
                log.append({"key": key, "score": value})
            on_event(SegmentsScored(len(block)))
    return known


def _earlier(live: Path) -> Iterator[tuple[str, float]]:
    for line in read_lines(live):
        with suppress(KeyError, TypeError, ValueError):
            yield str(line["key"]), float(str(line["score"]))

"""COMET scores of a task's items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchbench.core.patterns import TooMuchWorkError
from benchbench.core.task_scoring import columns
from benchbench.core.types import Item, MetricSpec, OutputType, ScoringSpec
from benchbench.extensions.comet import Segment
from benchbench.extensions.comet.process import CometProcess, item_score, segment_key, segments_of
from benchbench.extensions.rescore.post_metric import PostMetricInfo, score_in_blocks
from benchbench.extensions.rescore.settings import ScoreSettings
from benchbench.extensions.rescore.stored import StoredTask
from benchbench.runner.events import OnEvent, OpeningModel

BLOCK = 256
"""Segments in one question to the process, which makes batches of them."""


class CometMetric:
    """COMET as a post-metric: `sources` come from the task's `doc_to_source`, or from the template of `--source`."""

    def __init__(self, settings: ScoreSettings, on_event: OnEvent) -> None:
        self._settings, self._on_event = settings, on_event
        self._process: CometProcess | None = None

    def fits(self, output_type: OutputType) -> bool:
        """See PostMetric."""
        return output_type == "generate_until"

    def missing(self, task: StoredTask) -> str | None:
        """See PostMetric."""
        if (reason := task.lacks_documents()) is not None:
            return reason
        if self._template(task) is None:
            return "has no `doc_to_source`, which says what was to be translated; --source gives one, as '{{ text }}'"
        return None

    def info(self, task: StoredTask) -> PostMetricInfo:
        """See PostMetric: starts COMET's process."""
        model = self._opened().model
        return PostMetricInfo(
            metric=MetricSpec(model.metric, "mean", higher_is_better=True, kwargs=model.identity),
            signature=model.signature,
            facts={"comet": model.facts, "source": self._template(task) or ""},
            recorded={"device": model.device},
        )

    def items(self, spec: ScoringSpec, task: StoredTask, live: Path) -> list[Item]:
        """See PostMetric."""
        sources = task.definition.sources(task.documents.values(), self._settings.source)
        return comet_items(spec, task.items, sources, self._opened(), live, self._on_event)

    def close(self) -> None:
        """See PostMetric."""
        if self._process is not None:
            self._process.close()

    def _opened(self) -> CometProcess:
        if self._process is None:
            self._on_event(OpeningModel(self._settings.comet.model))
            self._process = CometProcess(self._settings.comet)
        return self._process

    def _template(self, task: StoredTask) -> str | None:
        given = self._settings.source
        return given if given is not None else task.definition.source_template()


def comet_items(
    spec: ScoringSpec,
    items: Sequence[Item],
    sources: Mapping[int, str],
    process: CometProcess,
    live: Path,
    on_event: OnEvent,
) -> list[Item]:
    """The items with their COMET scores; failed ones have none, nor those whose filters take too long.

    `sources` maps doc ids to what was to be translated; `live` is where scores so far are kept.
    """
    reads = process.model.reads_reference
    asked = {}
    for item in items:
        if item.outcome != "failed":
            with suppress(TooMuchWorkError):
                asked[item.doc_id] = segments_of(spec, item, sources[item.doc_id], reads_reference=reads)
    wanted = dict.fromkeys(
        segment for found in asked.values() for texts in found.values() for text in texts for segment in text
    )
    known = _scores(list(wanted), spec, process, live, on_event)
    filtered = {column.name: None if column.filter is None else column.filter.name for column in columns(spec)}
    return [
        replace(
            item,
            scores={
                **item.scores,
                **{
                    name: item_score(asked[item.doc_id][pipeline], known) if item.doc_id in asked else None
                    for name, pipeline in filtered.items()
                },
            },
        )
        for item in items
    ]


def _scores(
    segments: Sequence[Segment], spec: ScoringSpec, process: CometProcess, live: Path, on_event: OnEvent
) -> dict[Segment, float]:
    keys = {segment: segment_key(process.model, segment) for segment in segments}
    asked = {keys[one]: one for one in sorted(segments, key=lambda one: len(one.source))}  # little padding
    known = score_in_blocks(asked, process.score, spec=spec, live=live, size=BLOCK, on_event=on_event)
    return {segment: known[key] for segment, key in keys.items()}

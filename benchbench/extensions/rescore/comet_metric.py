"""COMET scores of a task's items, block by block: a kill loses the block that was being scored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchbench.core.types import Item, MetricSpec, ScoringSpec
from benchbench.extensions.comet.model import CometModel, Segment
from benchbench.extensions.comet.process import CometProcess, item_score, segment_key, segments_of
from benchbench.runner.events import OnEvent, Scoring, SegmentsScored
from benchbench.scoring.columns import columns
from benchbench.store.files import make_folder
from benchbench.store.lines import LineLog, read_lines

BLOCK = 256
"""Segments in one question to the process, which makes batches of them."""


def comet_spec(recorded: ScoringSpec, model: CometModel) -> ScoringSpec:
    """The task scored by this model, and nothing else."""
    metric = MetricSpec(model.metric, "mean", higher_is_better=True, kwargs=model.identity)
    return replace(recorded, metrics=(metric,))


def comet_items(
    spec: ScoringSpec,
    items: Sequence[Item],
    sources: Mapping[int, str],
    process: CometProcess,
    live: Path,
    on_event: OnEvent,
) -> list[Item]:
    """The items with their COMET scores; failed ones have none.

    `sources` maps doc ids to what was to be translated; `live` is where scores so far are kept.
    """
    reads = process.model.reads_reference
    asked = {
        item.doc_id: segments_of(spec, item, sources[item.doc_id], reads_reference=reads)
        for item in items
        if item.outcome != "failed"
    }
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
    earlier = dict(_earlier(live))
    known = {segment: earlier[key] for segment, key in keys.items() if key in earlier}
    missing = sorted((one for one in segments if one not in known), key=lambda one: len(one.source))  # little padding
    on_event(Scoring(spec.task, spec.metrics[0].name, len(segments), len(known)))
    make_folder(live.parent)
    with LineLog(live) as log:
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            for segment, score in zip(block, process.score(block), strict=True):
                known[segment] = score
                log.append({"key": keys[segment], "score": score})
            on_event(SegmentsScored(len(block)))
    return known


def _earlier(live: Path) -> Iterator[tuple[str, float]]:
    for line in read_lines(live):
        with suppress(KeyError, TypeError, ValueError):
            yield str(line["key"]), float(str(line["score"]))

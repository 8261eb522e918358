"""From a task's items to segments for COMET, and from their scores back to item scores."""

from __future__ import annotations

import math
from collections.abc import Mapping

from benchbench.core.ids import content_hash
from benchbench.core.types import FilterSpec, Item, ScoringSpec
from benchbench.scoring.comet.model import CometModel, Segment
from benchbench.scoring.filters import apply_filter
from benchbench.scoring.plugins import FilterContext

Texts = tuple[tuple[Segment, ...], ...]
"""The texts that a filter leaves of an item, each against all of the item's references."""


def segments_of(spec: ScoringSpec, item: Item, source: str, *, reads_reference: bool) -> dict[str | None, Texts]:
    """Filter name → segments of a scored item. An answer in which a filter finds nothing is judged as empty text."""
    pipelines: tuple[FilterSpec | None, ...] = spec.filters or (None,)
    references: tuple[str | None, ...] = item.targets if reads_reference else (None,)
    return {
        None if pipeline is None else pipeline.name: tuple(
            tuple(Segment(source, text, reference) for reference in references)
            for text in apply_filter(pipeline, item.texts, FilterContext()).texts or ("",)
        )
        for pipeline in pipelines
    }


def segment_key(model: CometModel, segment: Segment) -> str:
    """16 hex digits: equal keys mean that a score may be taken over."""
    return content_hash([model.facts, segment.source, segment.translation, segment.reference])


def item_score(texts: Texts, known: Mapping[Segment, float]) -> float | None:
    """Mean over the texts, each by its best reference; None if a score is not a number."""
    best = [max(known[segment] for segment in references) for references in texts]
    mean = math.fsum(best) / len(best)
    return mean if math.isfinite(mean) else None

"""Scores that take long, block by block: a kill loses the block that was being scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from benchbench.core.types import ScoringSpec
from benchbench.runner.events import OnEvent, Scoring, SegmentsScored
from benchbench.store.files import make_folder
from benchbench.store.lines import LineLog, read_lines

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

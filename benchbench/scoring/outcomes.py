"""Right, wrong, unanswered, truncated and failed are different outcomes: count each."""

from __future__ import annotations

from collections.abc import Sequence

from benchbench.core.types import Item, ScoringSpec
from benchbench.scoring.columns import columns


def count_outcomes(spec: ScoringSpec, items: Sequence[Item]) -> dict[str, int]:
    """Counts `answered`, `unanswered`, `truncated`, `failed` (they sum to the number of items), and apart
    from them `ties` and, where the task's first metric is 0 or 1 for every item, `wrong`: answered items
    that score 0. Truncated and unanswered items are scored too, so accuracy counts theirs as well.
    """
    counts = dict.fromkeys(("answered", "unanswered", "truncated", "failed"), 0)
    for item in items:
        counts[item.outcome] += 1
    counts["ties"] = sum(item.tie for item in items)
    first = next((column.name for column in columns(spec)), "")  # none: a judge has not told its metrics yet
    answered = [item.scores.get(first) for item in items if item.outcome == "answered"]
    if all(score in (0.0, 1.0) for score in answered):
        counts["wrong"] = sum(score == 0.0 for score in answered)
    return counts

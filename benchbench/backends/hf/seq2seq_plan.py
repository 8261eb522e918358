"""What an encoder-decoder computes side by side, and which pairs of it are held against one pair alone.

padded    contexts of like length in one batch, padded on the right; a context that many choices share is encoded once
equal     the same, but only contexts of one length, and targets of one length: nothing is padded
single    each pair alone, through the whole model: the reference
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.halving import halves

Way = Literal["padded", "equal", "single"]
WAYS: tuple[Way, ...] = ("padded", "equal", "single")
"""In the order in which they are tried."""


@dataclass(frozen=True, slots=True)
class Row:
    """A continuation to score."""

    request: int
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """One context and the continuations that are scored after it."""

    context: tuple[int, ...]
    rows: tuple[Row, ...]


Batch = list[Group]


def alone(pairs: Sequence[EncodedPair]) -> list[Group]:
    """Each pair by itself, longest context first."""
    groups = [Group(pair.context, (Row(i, pair.continuation),)) for i, pair in enumerate(pairs)]
    return sorted(groups, key=lambda group: -len(group.context))


def by_context(pairs: Sequence[EncodedPair]) -> list[Group]:
    """The pairs that share a context together, longest context first."""
    found: dict[tuple[int, ...], list[Row]] = {}
    for i, pair in enumerate(pairs):
        found.setdefault(pair.context, []).append(Row(i, pair.continuation))
    groups = [Group(context, tuple(rows)) for context, rows in found.items()]
    return sorted(groups, key=lambda group: -len(group.context))


def batches_of(groups: Sequence[Group], way: Way, fits: Callable[[Batch], bool]) -> Iterator[Batch]:
    """What is computed at once, in the order of the groups; one with too many choices is split."""
    batch: Batch = []
    for group in groups:
        for piece in _pieces(group, fits):
            differs = way == "equal" and bool(batch) and len(batch[0].context) != len(piece.context)
            if batch and (way == "single" or differs or not fits([*batch, piece])):
                yield batch
                batch = []
            batch.append(piece)
    if batch:
        yield batch


def _pieces(group: Group, fits: Callable[[Batch], bool]) -> list[Group]:
    if len(group.rows) == 1 or fits([group]):
        return [group]
    return [piece for half in _halved(group) for piece in _pieces(half, fits)]


def _halved(group: Group) -> list[Group]:
    return [Group(group.context, tuple(rows)) for rows in halves(group.rows)]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How far batches go, in tokens: whatever depends on lengths shows at the largest."""

    longest: int
    """The longest context."""
    context_padding: int
    """By how much the contexts of one batch differ."""
    target: int
    """The longest target."""
    target_padding: int
    """By how much the targets of one batch differ."""
    choices: int
    """The most targets of one context."""

    def within(self, other: Lengths) -> bool:
        """Whether `other` goes as far in everything, with longest contexts of the same number of bits: long ones say
        nothing of short ones. Of several choices one counts as another.
        """
        return (
            self.longest.bit_length() == other.longest.bit_length()
            and self.longest <= other.longest
            and self.context_padding <= other.context_padding
            and self.target <= other.target
            and self.target_padding <= other.target_padding
            and min(self.choices, 2) <= other.choices
        )


def lengths(batches: Sequence[Batch]) -> Lengths:
    """Of at least one batch."""
    targets = [[_size(row) for group in batch for row in group.rows] for batch in batches]
    return Lengths(
        longest=len(batches[0][0].context),
        context_padding=max(map(_padding, batches)),
        target=max(map(max, targets)),
        target_padding=max(max(sizes) - min(sizes) for sizes in targets),
        choices=max(len(group.rows) for batch in batches for group in batch),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A pair in its batch."""

    batch: int
    group: Group
    row: Row


def sampled(batches: Sequence[Batch]) -> list[Place]:
    """Pairs in which a fault of the batches would show: the longest target of the longest context; the context in the
    middle of the longest batch with padding, which sees more of itself than the shortest; the shortest context of that
    batch and of the most padded one; the most padded target, of the shortest context that has one.
    """
    longest = batches[0][0]
    found = [Place(0, longest, max(longest.rows, key=_size))]
    padded = [b for b, batch in enumerate(batches) if _padding(batch)]
    if padded:
        first, most_padded = padded[0], max(padded, key=lambda b: _padding(batches[b]))
        found.append(_shortest(first, batches[first][len(batches[first]) // 2]))
        found += [_shortest(b, batches[b][-1]) for b in (first, most_padded)]
    widths = [max(_size(row) for group in batch for row in group.rows) for batch in batches]
    places = [Place(b, group, row) for b, batch in enumerate(batches) for group in batch for row in group.rows]
    most = max(places, key=lambda place: (widths[place.batch] - _size(place.row), -len(place.group.context)))
    return list({place.row.request: place for place in (*found, most)}.values())


def side_by_side(batches: Sequence[Batch]) -> list[tuple[int, ...]]:
    """Contexts of one batch with several, if possible of one with padding: the longest, a middle one, the shortest."""
    crowded = [batch for batch in batches if len(batch) > 1]
    batch = next(filter(_padding, crowded), crowded[0])
    return [batch[place].context for place in sorted({0, len(batch) // 2, len(batch) - 1})]


def _shortest(batch: int, group: Group) -> Place:
    """The shortest target of the group."""
    return Place(batch, group, min(group.rows, key=_size))


def _size(row: Row) -> int:
    return len(row.target)


def _padding(batch: Batch) -> int:
    """Tokens by which the contexts of a batch, longest first, differ."""
    return len(batch[0].context) - len(batch[-1].context)


def group_requests(groups: Sequence[Group]) -> list[int]:
    """The pairs that the groups hold."""
    return [row.request for group in groups for row in group.rows]


def smaller_groups(groups: Sequence[Group]) -> list[Sequence[Group]]:
    """The batch in two, by contexts, or by the continuations of its only context; nothing where neither is possible."""
    return halves(groups) or [[half] for half in _halved(groups[0])]

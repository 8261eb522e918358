"""A task's requests in chunks: what one worker computes at a time.

What a chunk holds is a function of the requests alone, never of how many workers there are or which of them is fast:
one worker, eight, and a resumed run compute the same batches and give the same numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from benchbench.backends.plan import common_prefix
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Request, RollingRequest

Doc = Sequence[Request]
"""The requests of one doc."""

FEW = 64
"""Up to so many chunks are equal, and their number is a power of 2, as that of workers mostly is: all end together."""
ROUNDED = 0.7
"""What is left of the smallest size where their number is rounded."""
LARGEST = 128
"""Of more chunks each is this fraction of what is left: many workers begin with much, and end together with little."""
STRETCH = 1.5
"""A chunk may grow to so many times its size, in order to end where a shared passage ends."""
WRITTEN = 128
"""Tokens that a request for text is taken to write, at most: how many it will is not known before."""
TOKEN_COST = 8
"""Characters that cost as much as a written token: those of a prompt go through the model together."""
PILOTS = 4
"""Docs of each extreme."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Docs that are asked together."""

    docs: tuple[int, ...]
    """Their places in what was cut."""
    cost: int
    """Characters that the model reads for them; what they share with each other counts once."""


def docs_of(requests: Sequence[Request]) -> list[Doc]:
    """The requests, those of one doc together; they stand side by side already."""
    return [tuple(doc) for _, doc in groupby(requests, key=lambda request: request.key[:2])]


def cut(docs: Sequence[Doc], smallest: int) -> list[Chunk]:
    """All docs, each of one request or more, in chunks of about `smallest` characters or more.

    Docs that share much stand together, docs of like lengths in one chunk: batches have little padding. The longest are
    first: they take longest, and need most memory.
    """
    asked_with = Counter(map(_shots, docs))

    def rank(unit: Sequence[int]) -> tuple[tuple[str, ...], int]:
        shots, longest = _shots(docs[unit[0]]), max(_whole(docs[place]) for place in unit)
        return (shots, -longest) if asked_with[shots] > 1 else ((), -longest - sum(map(len, shots)))

    units = sorted(_units(docs), key=rank)
    order = [place for unit in units for place in unit]
    seams = {unit[0] for unit in units}
    costs = [
        max(1, _cost(docs[place]) - (0 if place in seams else _shared(docs[before], docs[place])))
        for before, place in pairwise([0, *order])
    ]
    return list(_along(order, costs, seams, smallest))


def _units(docs: Sequence[Doc]) -> Iterator[list[int]]:
    """The places of docs of which each shares half of its question or more with the one before it."""
    unit: list[int] = []
    for place in sorted(range(len(docs)), key=lambda place: (_begins(docs[place]), _name(docs[place]))):
        if unit and 2 * _shared(docs[unit[-1]], docs[place]) < _length(docs[place]):
            yield unit
            unit = []
        unit.append(place)
    if unit:
        yield unit


def _along(order: Sequence[int], costs: Sequence[int], seams: Collection[int], smallest: int) -> Iterator[Chunk]:
    """`order` in pieces, each ending at a seam if one is near."""
    left, begin, cost = sum(costs), 0, 0
    few = _few(left, smallest)
    for end, (place, one) in enumerate(zip(order, costs, strict=True)):
        size = max(smallest, left // LARGEST) if few is None else left // few
        if end > begin and cost + one // 2 >= size and (place in seams or cost >= STRETCH * size):
            yield Chunk(tuple(order[begin:end]), cost)
            left, begin, cost = left - cost, end, 0
            few = None if few is None else max(1, few - 1)
        cost += one
    if cost:
        yield Chunk(tuple(order[begin:]), cost)


def _few(total: int, smallest: int) -> int | None:
    """Into how many equal chunks so much is cut; None where they become smaller instead."""
    count = 1
    while count <= FEW and total >= 2 * count * ROUNDED * smallest:
        count *= 2
    return count if count <= FEW else None


def extremes(docs: Sequence[Doc]) -> list[int]:
    """The places of the docs with the longest text, the shortest, and most in all: what an engine finds out on them
    holds for all others.
    """
    lengths = list(map(_whole, docs))
    by_length = sorted(range(len(docs)), key=lambda place: (lengths[place], _name(docs[place])))
    by_cost = sorted(range(len(docs)), key=lambda place: (-_cost(docs[place]), _name(docs[place])))
    return sorted({*by_length[:PILOTS], *by_length[-PILOTS:], *by_cost[:PILOTS]})


def _name(doc: Doc) -> tuple[str, int, int]:
    return doc[0].key


def _begins(doc: Doc) -> tuple[tuple[str, ...], str]:
    """What the doc's prompt begins with, so that docs that share it stand together."""
    return _shots(doc), _question(doc)


def _shots(doc: Doc) -> tuple[str, ...]:
    first = doc[0]
    return () if isinstance(first, RollingRequest) else first.prompt.shared


def _question(doc: Doc) -> str:
    first = doc[0]
    return first.text if isinstance(first, RollingRequest) else first.prompt.question


def _shared(one: Doc, other: Doc) -> int:
    """Characters with which the questions of both begin, where what comes before them is the same."""
    if _shots(one) != _shots(other):
        return 0
    return common_prefix(_question(one), _question(other))


def _length(doc: Doc) -> int:
    return len(_question(doc))


def _whole(doc: Doc) -> int:
    """Characters of the doc's longest text."""
    return _length(doc) + max(map(_after, doc))


def _cost(doc: Doc) -> int:
    """Shots are left out: nearly always all docs share them."""
    return _length(doc) + sum(map(_after, doc))


def _after(request: Request) -> int:
    if isinstance(request, LoglikelihoodRequest):
        return len(request.continuation)
    if isinstance(request, GenerateRequest):
        return TOKEN_COST * min(WRITTEN, request.params.max_gen_toks)
    return 0

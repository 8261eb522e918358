"""A task's requests in chunks: what one worker computes at a time.

What a chunk holds is a function of the requests alone, never of how many workers there are or which of them is fast:
one worker, eight, and a resumed run compute the same batches and give the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from benchbench.backends.plan import common_prefix
from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, Request, RollingRequest

Doc = Sequence[Request]
"""The requests of one doc."""

LARGEST = 128
"""A chunk is at most this fraction of what is left: many workers begin with much, and end together with little."""
STRETCH = 1.5
"""A chunk may grow to so many times its size, in order to end where a shared passage ends."""
WRITTEN = 128
"""Tokens that a request for text is taken to write, at most: how many it will is not known before."""
TOKEN_COST = 8
"""Characters that cost as much as a written token: those of a prompt go through the model together."""
PILOTS = 4
"""Docs of each extreme in the first chunk: the longest, the shortest, those of most requests."""


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
    """All docs, each of one request or more, in chunks along what they share, of `smallest` characters or more.

    The first chunk holds the extremes: what an engine finds out on it holds for all others.
    """
    costs = {place: _cost(doc) for place, doc in enumerate(docs)}
    if sum(costs.values()) < 2 * smallest:
        return [Chunk(tuple(costs), sum(costs.values()))] if costs else []
    pilot = _pilot(docs)
    order = sorted(costs.keys() - set(pilot), key=lambda place: (_begins(docs[place]), _name(docs[place])))
    first = Chunk(pilot, sum(costs[place] for place in pilot))
    return [first, *_along(order, docs, smallest)] if order else [first]


def _along(order: Sequence[int], docs: Sequence[Doc], smallest: int) -> Iterator[Chunk]:
    """`order` in pieces that become smaller, each ending where little is shared with what follows."""
    shared = [0, *(_shared(docs[one], docs[other]) for one, other in pairwise(order))]
    costs = [max(1, _cost(docs[place]) - common) for place, common in zip(order, shared, strict=True)]
    left, begin, cost = sum(costs), 0, 0
    for end, one in enumerate(costs):
        size = max(smallest, left // LARGEST)
        is_seam = 2 * shared[end] < _length(docs[order[end]])
        if cost >= size and (is_seam or cost >= STRETCH * size):
            yield Chunk(tuple(order[begin:end]), cost)
            left, begin, cost = left - cost, end, 0
        cost += one
    if cost:
        yield Chunk(tuple(order[begin:]), cost)


def _pilot(docs: Sequence[Doc]) -> tuple[int, ...]:
    lengths = [_length(doc) + max(map(_after, doc)) for doc in docs]
    by_length = sorted(range(len(docs)), key=lambda place: (lengths[place], _name(docs[place])))
    by_count = sorted(range(len(docs)), key=lambda place: (-len(docs[place]), _name(docs[place])))
    return tuple(sorted({*by_length[:PILOTS], *by_length[-PILOTS:], *by_count[:PILOTS]}))


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


def _cost(doc: Doc) -> int:
    """Shots are left out: nearly always all docs share them."""
    return _length(doc) + sum(map(_after, doc))


def _after(request: Request) -> int:
    if isinstance(request, LoglikelihoodRequest):
        return len(request.continuation)
    if isinstance(request, GenerateRequest):
        return TOKEN_COST * min(WRITTEN, request.params.max_gen_toks)
    return 0

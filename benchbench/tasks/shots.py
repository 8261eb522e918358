"""Which documents of the pool are worked examples for which evaluated document."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import overload

from benchbench.core.errors import DataError
from benchbench.core.types import Doc


@dataclass(frozen=True)
class Pool:
    """Documents to draw from, by their content hashes."""

    task: str
    name: str
    """What to call it in sentences: a split, or `fewshot_config.samples`."""
    hashes: Sequence[str]
    in_order: bool
    """The task wants the first ones, not a draw (`first_n`, or its own samples)."""

    def too_small(self, wanted: int, left: int) -> DataError:
        """The error when `wanted` shots cannot be had."""
        return DataError(
            f"{self.task}: {wanted} shots were asked for, but its few-shot pool ({self.name}) has only {left} "
            "documents to offer besides the evaluated one. Ask for fewer with --num-fewshot."
        )


Picker = Callable[[Doc], tuple[int, ...]]
"""Evaluated document → positions in the pool. To be called once per document, in order."""


def fixed(pool: Pool, count: int, seed: int) -> Picker:
    """One block per task and seed. A document that is in the block gets the next candidate in its place."""
    order = _order(pool, f"{seed}/{pool.task}")
    drawn: list[int] = []
    blocks: dict[str, tuple[int, ...]] = {}

    def candidates() -> Iterator[int]:
        position = 0
        while True:
            if position == len(drawn):
                following = next(order, None)
                if following is None:
                    return
                drawn.append(following)
            yield drawn[position]
            position += 1

    block = tuple(islice(candidates(), count))
    if len(block) < count:
        raise pool.too_small(count, len(block))
    in_block = {pool.hashes[index] for index in block}

    def pick(doc: Doc) -> tuple[int, ...]:
        if doc.hash not in in_block:
            return block
        if doc.hash not in blocks:
            blocks[doc.hash] = _without(pool, candidates(), doc, count)
        return blocks[doc.hash]

    return pick


def per_doc(pool: Pool, count: int, seed: int) -> Picker:
    """Drawn anew from (seed, task, doc id): the same whatever the order, the limit or the sharding."""

    def pick(doc: Doc) -> tuple[int, ...]:
        return _without(pool, _order(pool, f"{seed}/{pool.task}/{doc.id}"), doc, count)

    return pick


def lm_eval(pool: Pool, count: int, seed: int, *, drop_doc: bool) -> Picker:
    """lm-eval 0.4.13's samplers: one generator for all documents, in order.

    With `drop_doc` (its few-shot split and its test split are the same, or both unset) it draws one
    document more and drops the evaluated one.
    """
    rng = Random(seed)  # noqa: S311
    size = len(pool.hashes)

    def first(doc: Doc) -> tuple[int, ...]:
        kept = (index for index in range(size) if not (drop_doc and pool.hashes[index] == doc.hash))
        return tuple(islice(kept, count))

    def draw(doc: Doc) -> tuple[int, ...]:
        wanted = count + 1 if drop_doc else count
        if wanted > size:
            raise pool.too_small(count, size - drop_doc)
        found = rng.sample(range(size), wanted)
        if drop_doc:
            found = [index for index in found if pool.hashes[index] != doc.hash][:count]
        if len(found) < count:
            others = [index for index in range(size) if pool.hashes[index] != doc.hash]
            found = rng.sample(others, count) if len(others) >= count else []
        return tuple(found)

    def pick(doc: Doc) -> tuple[int, ...]:
        chosen = first(doc) if pool.in_order else draw(doc)
        if len(chosen) < count:
            raise pool.too_small(count, len(chosen))
        return chosen

    return pick


def _order(pool: Pool, seed: str) -> Iterator[int]:
    """Every position of the pool once: in order, or shuffled as far as it is asked for."""
    size = len(pool.hashes)
    if pool.in_order:
        yield from range(size)
        return
    rng = Random(seed)  # noqa: S311
    moved: dict[int, int] = {}
    for position in range(size):
        chosen = rng.randrange(position, size)
        yield moved.get(chosen, chosen)
        moved[chosen] = moved.get(position, position)


def _without(pool: Pool, order: Iterator[int], doc: Doc, count: int) -> tuple[int, ...]:
    found = tuple(islice((index for index in order if pool.hashes[index] != doc.hash), count))
    if len(found) < count:
        raise pool.too_small(count, len(found))
    return found


class Hashes(Sequence[str]):
    """Content hashes of 16 hex digits, held as 8 bytes each."""

    def __init__(self, hashes: Iterable[str]) -> None:
        self._numbers = array("Q", (int(one, 16) for one in hashes))

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[str]: ...
    def __getitem__(self, place: int | slice) -> str | Sequence[str]:
        if isinstance(place, slice):
            return [f"{one:016x}" for one in self._numbers[place]]
        return f"{self._numbers[place]:016x}"

"""From encoded pairs to what vLLM is asked: the fewest prompts that read the prefix cache and still see every token.

The token after a prompt is read from the step that follows it (`logprob_token_ids`), so one prompt answers all pairs
with the same inputs. The tokens before it are read from prompt log-probabilities, and those exist only for positions
that were computed, not read from the cache. Two things keep wanted positions out of the cache's way:

- A pair with more than one token has its context put into the cache first, by a warm-up prompt that ends where the
  whole blocks of the context end: the pair's own tokens are then computed anew.
- Where continuations begin with the same whole blocks, these become a prompt of their own, asked once for all of them:
  its tokens and the one that follows are scored there, and each pair's own prompt answers only for the rest.

Prompts are sorted by their tokens, so that a prefix stands before everything that begins with it, and cut into chunks
that fit the cache as a whole: nothing is evicted or preempted while a chunk runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchbench.backends.encode import EncodedPair

MOST_LASTS = 128
"""Tokens that vLLM scores at most after one prompt."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one prompt answers of a pair: the tokens after the inputs from `first_row` to the prompt's end."""

    pair: int
    first_row: int
    last: int
    """The token after the prompt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt for the engine."""

    inputs: tuple[int, ...]
    parts: tuple[Part, ...] = ()
    """What it answers, by the token after the prompt; empty for a warm-up."""

    @property
    def lasts(self) -> tuple[int, ...]:
        """Tokens to score after the prompt, in ascending order."""
        return tuple(sorted({part.last for part in self.parts}))

    @property
    def first_row(self) -> int:
        """Index of the first input whose prediction is wanted. The last input's always is."""
        return min((part.first_row for part in self.parts), default=len(self.inputs) - 1)

    @property
    def needs_rows(self) -> bool:
        """Whether prompt log-probabilities are wanted."""
        return self.first_row < len(self.inputs) - 1

    def may_read(self, block_size: int) -> bool:
        """Whether some block may come from the cache without hiding a wanted row."""
        return not self.needs_rows or self.first_row >= block_size

    def trusts(self, cached: int) -> bool:
        """Whether all wanted rows were computed, given how many inputs came from the cache."""
        return not self.needs_rows or cached <= self.first_row


def make_asks(pairs: Sequence[EncodedPair], block_size: int, *, warm: bool = True) -> list[Ask]:
    """Prompts that together answer all `pairs`, each with a continuation, in the order they should run."""
    shared = shared_lengths({pair.inputs for pair in pairs}) if warm else {}
    by_inputs: dict[tuple[int, ...], list[Part]] = {}
    for i, pair in enumerate(pairs):
        for inputs, part in _parts(i, pair, shared.get(pair.inputs, 0), block_size):
            by_inputs.setdefault(inputs, []).append(part)
    asks = [ask for inputs, parts in by_inputs.items() for ask in _asks(inputs, parts)]
    if warm:
        asks += [Ask(inputs) for inputs in _warm_ups(asks, block_size) if inputs not in by_inputs]
    return sorted(asks, key=lambda ask: (ask.inputs, ask.lasts))


def shared_lengths(inputs: set[tuple[int, ...]]) -> dict[tuple[int, ...], int]:
    """How many first tokens each has in common with the one that is most like it."""
    found = dict.fromkeys(inputs, 0)
    ordered = sorted(inputs)
    for one, two in pairwise(ordered):
        same = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
        found[one], found[two] = max(found[one], same), max(found[two], same)
    return found


def _parts(i: int, pair: EncodedPair, shared: int, block_size: int) -> Iterator[tuple[tuple[int, ...], Part]]:
    """The pair's prompts: one to the end of each whole block that others share behind the first row, then its own."""
    begin = pair.first_row
    for end in range(begin // block_size * block_size + block_size, min(shared, len(pair.inputs) - 1) + 1, block_size):
        yield pair.inputs[:end], Part(i, begin, pair.inputs[end])
        begin = end
    yield pair.inputs, Part(i, begin, pair.continuation[-1])


def _asks(inputs: tuple[int, ...], parts: Sequence[Part]) -> Iterator[Ask]:
    by_last: dict[int, list[Part]] = {}
    for part in parts:
        by_last.setdefault(part.last, []).append(part)
    lasts = sorted(by_last)
    for begin in range(0, len(lasts), MOST_LASTS):
        yield Ask(inputs, tuple(part for last in lasts[begin : begin + MOST_LASTS] for part in by_last[last]))


def _warm_ups(asks: Sequence[Ask], block_size: int) -> set[tuple[int, ...]]:
    """The whole blocks before the first wanted row of each prompt that wants more than its last."""
    wanted = ((ask.inputs, ask.first_row // block_size * block_size) for ask in asks if ask.needs_rows)
    return {inputs[:end] for inputs, end in wanted if end}


def make_chunks(
    prompts: Sequence[tuple[int, ...]], block_size: int, *, most_blocks: int, most_prompts: int
) -> Iterator[range]:
    """Runs of consecutive prompts that fit `most_blocks` blocks of cache when equal prefixes are held once.

    A prompt that alone needs more has a chunk of its own.
    """
    begin, held, seen = 0, 0, set[int]()
    for i, tokens in enumerate(prompts):
        blocks = _block_keys(tokens, block_size)
        new = len(blocks - seen) + 1
        if i > begin and (held + new > most_blocks or i - begin >= most_prompts):
            yield range(begin, i)
            begin, held, seen = i, 0, set()
            new = len(blocks) + 1
        seen |= blocks
        held += new
    if begin < len(prompts):
        yield range(begin, len(prompts))


def _block_keys(tokens: tuple[int, ...], block_size: int) -> set[int]:
    """One number per whole block, which depends on all tokens up to its end."""
    keys, key = set(), 0
    for end in range(block_size, len(tokens) + 1, block_size):
        key = hash((key, tokens[end - block_size : end]))
        keys.add(key)
    return keys

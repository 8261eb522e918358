"""From encoded pairs to what vLLM is asked: the fewest prompts that read the prefix cache and still see every token.

One prompt answers all pairs with the same inputs. The last token of a continuation is read from the step after the
prompt (`logprob_token_ids`), the tokens before it from prompt log-probabilities. Those exist only for positions that
were computed, not read from the cache, so a pair with more than one token has its context put into the cache first, by
a warm-up prompt that ends where the whole blocks of the context end: the pair's own tokens are then computed anew.

Prompts are sorted by their tokens, so that a prefix stands before everything that begins with it, and cut into chunks
that fit the cache as a whole: nothing is evicted or preempted while a chunk runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchbench.backends.encode import EncodedPair

MOST_LASTS = 128
"""Tokens that vLLM scores at most after one prompt."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt for the engine."""

    inputs: tuple[int, ...]
    lasts: tuple[int, ...] = ()
    """Tokens to score after the prompt; empty for a warm-up."""
    first_row: int = 0
    """Index of the first input whose prediction is wanted. The last input's always is."""
    pairs: tuple[int, ...] = ()
    """Indices of the pairs that this prompt answers."""

    @property
    def needs_rows(self) -> bool:
        """Whether prompt log-probabilities are wanted."""
        return bool(self.lasts) and self.first_row < len(self.inputs) - 1

    def may_read(self, block_size: int) -> bool:
        """Whether some block may come from the cache without hiding a wanted row."""
        return not self.needs_rows or self.first_row >= block_size

    def trusts(self, cached: int) -> bool:
        """Whether all wanted rows were computed, given how many inputs came from the cache."""
        return not self.needs_rows or cached <= self.first_row


def make_asks(pairs: Sequence[EncodedPair], block_size: int, *, warm: bool = True) -> list[Ask]:
    """Prompts that together answer all `pairs`, each with a continuation, in the order they should run."""
    by_inputs: dict[tuple[int, ...], list[int]] = {}
    for i, pair in enumerate(pairs):
        by_inputs.setdefault(pair.inputs, []).append(i)
    asks = [ask for inputs, indices in by_inputs.items() for ask in _asks(inputs, indices, pairs)]
    if warm:
        asks += [Ask(inputs) for inputs in _warm_ups(asks, block_size) if inputs not in by_inputs]
    return sorted(asks, key=lambda ask: (ask.inputs, ask.lasts))


def _asks(inputs: tuple[int, ...], indices: Sequence[int], pairs: Sequence[EncodedPair]) -> Iterator[Ask]:
    by_last: dict[int, list[int]] = {}
    for i in indices:
        by_last.setdefault(pairs[i].continuation[-1], []).append(i)
    lasts = sorted(by_last)
    for begin in range(0, len(lasts), MOST_LASTS):
        some = tuple(lasts[begin : begin + MOST_LASTS])
        answered = tuple(i for last in some for i in by_last[last])
        yield Ask(inputs, some, min(pairs[i].first_row for i in answered), answered)


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

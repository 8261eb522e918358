"""Scores pairs with vLLM: reads the prefix cache, and never believes a position that was read instead of computed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from benchbench.backends.encode import EncodedPair
from benchbench.backends.tokens import Scored
from benchbench.backends.vllm.engine import Engine
from benchbench.backends.vllm.plan import Ask, make_asks, make_chunks

MOST_PROMPTS = 1024
"""Prompts in one chunk: bounds what a killed run computes again."""
SHARE_OF_CACHE = 0.9
"""Of the cache's blocks, those that a chunk may plan with; the rest is for blocks that are not shared after all."""


class PairScorer:
    """Scores encoded pairs with one engine. With `cached` off, every prompt is computed from its first token."""

    def __init__(self, engine: Engine, *, cached: bool) -> None:
        self.engine = engine
        self.cached = cached
        self.redone = 0
        """Prompts that had to be computed again because the cache held tokens that were asked about."""

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored]:
        """Score each pair; `skip` names those that need no answer but keep their place in the layout.

        Each chunk begins with an empty cache, so that its numbers depend on nothing before it.
        """
        asks = make_asks(pairs, self.engine.block_size, warm=self.cached)
        most_blocks = int(SHARE_OF_CACHE * self.engine.cache_blocks)
        prompts = [ask.inputs for ask in asks]
        for places in make_chunks(prompts, self.engine.block_size, most_blocks=most_blocks, most_prompts=MOST_PROMPTS):
            chunk = asks[places.start : places.stop]
            if any(i not in skip for ask in chunk for i in ask.pairs):
                self.engine.forget()
                yield from (scored for scored in self._chunk(chunk, pairs) if scored.request not in skip)

    def _chunk(self, asks: Sequence[Ask], pairs: Sequence[EncodedPair]) -> Iterator[Scored]:
        again: list[Ask] = []
        prompts = [(ask.inputs, self._params(ask, read=self._reads(ask))) for ask in asks]
        for place, output in self.engine.run(prompts):
            ask, cached = asks[place], output.num_cached_tokens or 0
            self.engine.computed_tokens += len(ask.inputs) - cached
            if ask.trusts(cached):
                yield from _answers(ask, output, pairs)
            else:
                again.append(ask)
        self.redone += len(again)
        for place, output in self.engine.run([(ask.inputs, self._params(ask, read=False)) for ask in again]):
            self.engine.computed_tokens += len(again[place].inputs)
            yield from _answers(again[place], output, pairs)

    def _reads(self, ask: Ask) -> bool:
        return self.cached and ask.may_read(self.engine.block_size)

    def _params(self, ask: Ask, *, read: bool) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=1,
            temperature=0.0,
            ignore_eos=True,
            detokenize=False,
            flat_logprobs=True,
            prompt_logprobs=1 if ask.needs_rows else None,
            logprob_token_ids=list(ask.lasts) or None,
            skip_reading_prefix_cache=not read,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )


def _answers(ask: Ask, output: Any, pairs: Sequence[EncodedPair]) -> Iterator[Scored]:
    """Log-likelihoods of the pairs of one prompt, all of whose wanted rows were computed."""
    if not ask.lasts:
        return
    written = output.outputs[0]
    finals = dict(zip(ask.lasts, written.logprobs.logprobs[1:], strict=False))  # the sampled token stands first
    values, greedy = _prompt_rows(ask, output.prompt_logprobs) if ask.needs_rows else ([], [])
    for i in ask.pairs:
        pair = pairs[i]
        skipped = pair.first_row - ask.first_row
        total = sum(values[skipped:]) + finals[pair.continuation[-1]]
        is_greedy = all(greedy[skipped:]) and written.token_ids[0] == pair.continuation[-1]
        yield Scored(i, total, is_greedy, len(pair.continuation), total == total and abs(total) != float("inf"))


def _prompt_rows(ask: Ask, rows: Any) -> tuple[list[float], list[bool]]:
    """Log-probability of each prompt token after `first_row`, and whether it was the most likely one.

    At each position vLLM gives the prompt's own token, then the most likely one.
    """
    starts = [rows.start_indices[row + 1] for row in range(ask.first_row, len(ask.inputs) - 1)]
    return [rows.logprobs[at] for at in starts], [rows.token_ids[at] == rows.token_ids[at + 1] for at in starts]

"""Scores pairs and writes texts with vLLM.

Scoring reads the prefix cache, and never believes a position that was read instead of computed. Where a text ends is
decided here, by the rules that all backends share.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchbench.backends.encode import EncodedPair
from benchbench.backends.tokens import Exhausted, Scored, not_finite
from benchbench.backends.vllm.engine import RunningEngine
from benchbench.backends.vllm.plan import Ask, make_asks, make_chunks
from benchbench.backends.writing import Ending, Job, Written, seed

PAIRS_AT_ONCE, TEXTS_AT_ONCE = 1024, 512
"""Prompts in one chunk, to score and to continue: bounds what a killed run computes again."""
SHARE_OF_CACHE = 0.9
"""Of the cache's blocks, those that a chunk may plan with; the rest is for blocks that are not shared after all."""


class VLLMScorer:
    """Scores encoded pairs with one engine. With `cached` off, every prompt is computed from its first token."""

    def __init__(self, engine: RunningEngine, *, cached: bool) -> None:
        self.engine = engine
        self.cached = cached
        self.redone = 0
        """Prompts that had to be computed again because the cache held tokens that were asked about."""

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored]:
        """Score each pair; `skip` names those that need no answer but keep their place in the layout.

        Each chunk begins with an empty cache, so that its numbers depend on nothing before it.
        """
        asks = make_asks(pairs, self.engine.block_size, warm=self.cached)
        gathered = _Gathered(pairs, asks)
        most_blocks = int(SHARE_OF_CACHE * self.engine.cache_blocks)
        prompts = [ask.inputs for ask in asks]
        for places in make_chunks(prompts, self.engine.block_size, most_blocks=most_blocks, most_prompts=PAIRS_AT_ONCE):
            chunk = asks[places.start : places.stop]
            if any(part.pair not in skip for ask in chunk for part in ask.parts):
                self.engine.forget()
                for answer in self._chunk(chunk):
                    scored = gathered.add(answer)
                    if scored is not None and scored.request not in skip:
                        yield scored

    def _chunk(self, asks: Sequence[Ask]) -> Iterator[_Answer]:
        again: list[Ask] = []
        prompts = [(ask.inputs, self._params(ask, read=self._reads(ask))) for ask in asks]
        for place, output in self.engine.run(prompts):
            ask, cached = asks[place], output.num_cached_tokens or 0
            self.engine.computed_tokens += len(ask.inputs) - cached
            if ask.trusts(cached):
                yield from _answers(ask, output)
            else:
                again.append(ask)
        self.redone += len(again)
        for place, output in self.engine.run([(ask.inputs, self._params(ask, read=False)) for ask in again]):
            self.engine.computed_tokens += len(again[place].inputs)
            yield from _answers(again[place], output)

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


@dataclass(frozen=True, slots=True)
class _Answer:
    """Log-likelihood of one part of a pair."""

    pair: int
    total: float
    is_greedy: bool


class _Gathered:
    """Puts the parts of each pair together."""

    def __init__(self, pairs: Sequence[EncodedPair], asks: Sequence[Ask]) -> None:
        self._pairs = pairs
        self._missing = Counter(part.pair for ask in asks for part in ask.parts)
        self._so_far: dict[int, tuple[float, bool]] = {}

    def add(self, answer: _Answer) -> Scored | None:
        """The pair's score if this was the last of its parts."""
        i = answer.pair
        total, is_greedy = self._so_far.pop(i, (0.0, True))
        total, is_greedy = total + answer.total, is_greedy and answer.is_greedy
        self._missing[i] -= 1
        if self._missing[i]:
            self._so_far[i] = (total, is_greedy)
            return None
        return Scored(i, total, is_greedy, len(self._pairs[i].continuation), math.isfinite(total))


def _answers(ask: Ask, output: Any) -> Iterator[_Answer]:
    """Log-likelihoods of the parts of one prompt, all of whose wanted rows were computed."""
    if not ask.parts:
        return
    written = output.outputs[0]
    finals = dict(zip(ask.lasts, written.logprobs.logprobs[1:], strict=False))  # the sampled token stands first
    first_row = ask.first_row
    values, greedy = _prompt_rows(ask, output.prompt_logprobs) if ask.needs_rows else ([], [])
    for part in ask.parts:
        skipped = part.first_row - first_row
        total = sum(values[skipped:]) + finals[part.last]
        yield _Answer(part.pair, total, all(greedy[skipped:]) and written.token_ids[0] == part.last)


def _prompt_rows(ask: Ask, rows: Any) -> tuple[list[float], list[bool]]:
    """Log-probability of each prompt token after `first_row`, and whether it was the most likely one.

    At each position vLLM gives the prompt's own token, then the most likely one.
    """
    starts = [rows.start_indices[row + 1] for row in range(ask.first_row, len(ask.inputs) - 1)]
    return [rows.logprobs[at] for at in starts], [rows.token_ids[at] == rows.token_ids[at + 1] for at in starts]


class VLLMWriter:
    """Greedy and sampled text. Beam search and n-gram bans, which vLLM has not, do not reach it."""

    def __init__(self, engine: RunningEngine, ending: Ending) -> None:
        self.engine = engine
        self.ending = ending

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written | Exhausted]:
        """Continue every context; `skip` names jobs that keep their place in the layout but need no answer."""
        order = sorted(range(len(jobs)), key=lambda i: (jobs[i].context, jobs[i].seed_text))
        contexts = [jobs[i].context for i in order]
        for places in make_chunks(
            contexts, self.engine.block_size, most_blocks=self.engine.cache_blocks, most_prompts=TEXTS_AT_ONCE
        ):
            chunk = order[places.start : places.stop]
            if any(i not in skip for i in chunk):
                self.engine.forget()
                yield from (written for written in self._chunk(chunk, jobs) if written.request not in skip)

    def _chunk(self, chunk: Sequence[int], jobs: Sequence[Job]) -> Iterator[Written | Exhausted]:
        tokens: list[list[int]] = [[] for _ in chunk]
        prompts = [(jobs[i].context, self._params(jobs[i])) for i in chunk]
        for place, output in self.engine.run(prompts):
            job = jobs[chunk[place]]
            if not tokens[place]:
                self.engine.computed_tokens += len(job.context) - (output.num_cached_tokens or 0)
            # A step may bring more than one token; the text ends at the first that ends it.
            news = output.outputs[0]
            for token, logprob in zip(news.token_ids, news.logprobs.logprobs, strict=True):
                tokens[place].append(token)
                self.engine.computed_tokens += 1
                ended = self._ended(chunk[place], job, tokens[place], logprob)
                if ended is not None:
                    self.engine.end(place)
                    yield ended
                    break

    def _ended(self, request: int, job: Job, tokens: Sequence[int], logprob: float) -> Written | Exhausted | None:
        """The text, where it ends with the last of `tokens`, whose log-probability is `logprob`."""
        if not math.isfinite(logprob):
            return not_finite(request)
        reason = self.ending.reason(tokens, job.params)
        return None if reason is None else self.ending.written(request, tokens, job.params, reason)

    def _params(self, job: Job) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = job.params
        return SamplingParams(
            max_tokens=params.max_gen_toks,
            temperature=params.temperature if params.do_sample else 0.0,
            top_k=(params.top_k or 0) if params.do_sample else 0,
            top_p=(1.0 if params.top_p is None else params.top_p) if params.do_sample else 1.0,
            repetition_penalty=params.repetition_penalty,
            seed=seed(job) if params.do_sample else None,
            stop_token_ids=sorted(self.ending.eos),
            ignore_eos=True,  # the ids above are all there are
            detokenize=False,
            logprobs=0,  # that of the token itself, which tells whether the scores were numbers
            flat_logprobs=True,
            output_kind=RequestOutputKind.DELTA,
        )

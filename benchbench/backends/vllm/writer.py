"""Writes text with vLLM. Where a text ends is decided here, by the rules that all backends share."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from benchbench.backends.tokens import Ending, Job, Written, seed
from benchbench.backends.vllm.engine import RunningEngine
from benchbench.backends.vllm.plan import make_chunks

MOST_PROMPTS = 512
"""Contexts in one chunk: bounds what a killed run writes again."""


class Writer:
    """Greedy and sampled text. Beam search and n-gram bans, which vLLM has not, do not reach it."""

    def __init__(self, engine: RunningEngine, ending: Ending) -> None:
        self.engine = engine
        self.ending = ending

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written]:
        """Continue every context; `skip` names jobs that keep their place in the layout but need no answer."""
        order = sorted(range(len(jobs)), key=lambda i: (jobs[i].context, jobs[i].seed_text))
        contexts = [jobs[i].context for i in order]
        for places in make_chunks(
            contexts, self.engine.block_size, most_blocks=self.engine.cache_blocks, most_prompts=MOST_PROMPTS
        ):
            chunk = order[places.start : places.stop]
            if any(i not in skip for i in chunk):
                self.engine.forget()
                yield from (written for written in self._chunk(chunk, jobs) if written.request not in skip)

    def _chunk(self, chunk: Sequence[int], jobs: Sequence[Job]) -> Iterator[Written]:
        tokens: list[list[int]] = [[] for _ in chunk]
        prompts = [(jobs[i].context, self._params(jobs[i])) for i in chunk]
        for place, output in self.engine.run(prompts):
            job = jobs[chunk[place]]
            if not tokens[place]:
                self.engine.computed_tokens += len(job.context) - (output.num_cached_tokens or 0)
            # A step may bring more than one token; the text ends at the first that ends it.
            for token in output.outputs[0].token_ids:
                tokens[place].append(token)
                self.engine.computed_tokens += 1
                reason = self.ending.reason(tokens[place], job.params)
                if reason is not None:
                    self.engine.end(place)
                    yield self.ending.written(chunk[place], tokens[place], job.params, reason)
                    break

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
            output_kind=RequestOutputKind.DELTA,
        )

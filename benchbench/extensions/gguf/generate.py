"""Writing text with llama.cpp: contexts of a batch are read over their shared prefix, then grow side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchbench.backends.plan import Block, PrefixPlan, make_plan, unmerged
from benchbench.backends.sampling import Chooser
from benchbench.backends.tokens import Ending, Exhausted, Job, Written
from benchbench.core.types import GenerationParams
from benchbench.extensions.gguf.llama import GGUFTokenizer, OutOfCellsError, Step
from benchbench.extensions.gguf.scorer import LlamaScorer, Logits, batches_of, cells_needed, widened


@dataclass(slots=True)
class _Row:
    """A text that is being written in sequence `sequence`."""

    request: int
    job: Job
    sequence: int
    chooser: Chooser
    tokens: list[int] = field(default_factory=list)


class LlamaGenerator:
    """Greedy and sampled text. Beam search is not offered."""

    def __init__(self, scorer: LlamaScorer, tokenizer: GGUFTokenizer) -> None:
        self.scorer, self.cache = scorer, scorer.cache
        self.ending = Ending(tokenizer, tokenizer.eos)

    def write(self, jobs: Sequence[Job], skip: Collection[int]) -> Iterator[Written | Exhausted]:
        """Continue every context; `skip` names jobs that keep their place in the layout but need no answer."""
        by_params: dict[GenerationParams, list[int]] = {}
        for i, job in enumerate(jobs):
            by_params.setdefault(job.params, []).append(i)
        for params, indices in by_params.items():
            yield from self._alike(jobs, indices, params, set(indices) - set(skip))

    def _alike(
        self, jobs: Sequence[Job], indices: Sequence[int], params: GenerationParams, wanted: Collection[int]
    ) -> Iterator[Written | Exhausted]:
        """Jobs with the same settings."""
        inputs = [(unmerged(jobs[i].context, i), len(jobs[i].context) - 1, ()) for i in indices]
        limits = widened(self.scorer.limits, params.max_gen_toks)
        plan = make_plan(inputs, limits, sharing=self.scorer.sharing)
        try:
            self.cache.reserve(cells_needed(plan, params.max_gen_toks))
        except OutOfCellsError as error:
            yield from (Exhausted(request, str(error)) for request in sorted(wanted))
            return
        yield from self._walk(plan, jobs, indices, wanted)

    def _walk(
        self, plan: PrefixPlan, jobs: Sequence[Job], indices: Sequence[int], wanted: Collection[int]
    ) -> Iterator[Written]:
        places = {place for place, i in enumerate(indices) if i in wanted}
        for block, batch in batches_of(plan, places):
            self.cache.hold(plan, block)
            self.scorer.batches += 1
            rows = [
                _Row(indices[request], jobs[indices[request]], sequence, Chooser(jobs[indices[request]]))
                for sequence, request in enumerate((r for row in batch for r in row.requests), start=1)
            ]
            yield from (written for written in self._batch(plan.blocks[block], rows) if written.request in wanted)

    def _batch(self, block: Block, rows: list[_Row]) -> Iterator[Written]:
        start = len(block.tokens)
        steps: list[Step] = []
        for row in rows:
            self.cache.context.copy(0, row.sequence)
            rest = row.job.context[start:]
            steps += [Step(t, start + i, row.sequence, i == len(rest) - 1) for i, t in enumerate(rest)]
        alive = {row.sequence: row for row in rows}
        while alive:
            chosen = []
            for i, logits in self.cache.read(steps):
                row = alive[steps[i].sequence]
                row.tokens.append(self._next(row, logits))
                chosen.append(row)
            for row in chosen:
                reason = self.ending.reason(row.tokens, row.job.params)
                if reason is not None:
                    del alive[row.sequence]
                    self.cache.context.cut(row.sequence, 0)
                    yield self.ending.written(row.request, row.tokens, row.job.params, reason)
            steps = [
                Step(row.tokens[-1], len(row.job.context) + len(row.tokens) - 1, row.sequence, True)
                for row in alive.values()
            ]

    @staticmethod
    def _next(row: _Row, logits: Logits) -> int:
        if row.chooser.plain:
            return int(np.argmax(logits))
        return row.chooser.choose(logits, row.tokens)

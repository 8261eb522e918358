"""Scores pairs and writes texts with llama.cpp, over the prefix plan: a shared prefix is read once, rows and branches
run side by side as sequences.

Sequence 0 holds the block's tokens. A row starts as a copy of it, a branch as a copy of its row; copies share the
cached keys and values. Every batch computes the same tokens whoever is skipped, so that a resumed run gets the same
numbers to the last bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from benchbench.backends.encode import EncodedPair
from benchbench.backends.plan import Block, Limits, PlanRow, PrefixPlan, make_plan, unmerged
from benchbench.backends.tokens import Exhausted, Scored, not_finite
from benchbench.backends.writing import Chooser, Ending, Job, Written, by_params
from benchbench.core.types import GenerationParams
from benchbench.extensions.gguf.llama import SEQUENCES, GGUFTokenizer, LlamaContext, LlamaModel, OutOfCellsError, Step

LOGIT_BYTES = 128 * 2**20
"""How much memory the logits of one batch may take."""
BLOCK_OVERHEAD = 32
"""What a block of its own costs, in tokens: one more call."""
ROWS = 32
"""Most rows side by side: every token attends over the cells of all of them."""

Logits = npt.NDArray[np.float32]


@dataclass(slots=True)
class _Reading:
    """What one request has been given so far."""

    logprobs: list[float] = field(default_factory=list)
    greedy: bool = True


class Cache:
    """The sequences of one model: which block sequence 0 holds, and a context that grows with what is asked."""

    def __init__(self, model: LlamaModel) -> None:
        self.model = model
        self.tokens_read = 0
        self._context: LlamaContext | None = None
        self._stack: list[int] = []
        self._held = 0

    def reserve(self, cells: int) -> None:
        """Make room for `cells` tokens, and forget everything. OutOfCellsError where the memory is too small."""
        if self._context is None or self._context.cells < cells:
            self.close()
            self._context = LlamaContext(self.model, cells)
        self._context.clear()
        self._stack, self._held = [], 0

    @property
    def context(self) -> LlamaContext:
        """The context; `reserve` first."""
        if self._context is None:
            raise RuntimeError("reserve was not called")
        return self._context

    def read(self, steps: Sequence[Step]) -> Iterator[tuple[int, Logits]]:
        """As `LlamaContext.read`, counting."""
        before = self.context.tokens_read
        try:
            yield from self.context.read(steps)
        finally:
            self.tokens_read += self.context.tokens_read - before

    def hold(self, plan: PrefixPlan, index: int) -> None:
        """Let sequence 0 hold the tokens of block `index`; what its ancestors share with the last block stays."""
        chain = [index]
        while plan.blocks[chain[0]].parent >= 0:
            chain.insert(0, plan.blocks[chain[0]].parent)
        kept = 0
        while kept < min(len(chain), len(self._stack)) and chain[kept] == self._stack[kept]:
            kept += 1
        start = len(plan.blocks[chain[kept - 1]].tokens) if kept else 0
        if start < self._held:
            self.context.cut(0, start)
        for block in chain[kept:]:
            tokens = plan.blocks[block].tokens
            for _ in self.read([Step(t, start + i, 0, False) for i, t in enumerate(tokens[start:])]):
                pass
            start = len(tokens)
        self._stack, self._held = chain, start

    def forget(self) -> None:
        """Nothing computed so far may be read again."""
        if self._context is not None:
            self._context.clear()
        self._stack, self._held = [], 0

    def close(self) -> None:
        """Give memory back."""
        if self._context is not None:
            self._context.close()
        self._context, self._stack, self._held = None, [], 0


class LlamaScorer:
    """Scores encoded pairs with one model."""

    def __init__(self, model: LlamaModel, cache: Cache, max_length: int, *, plain: bool) -> None:
        self.model, self.cache = model, cache
        self.sharing = model.shares_prefixes and not plain
        self.limits = limits_of(model, max_length)
        self.batches = 0

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int]) -> Iterator[Scored | Exhausted]:
        """Score each pair, naming it by its index; `skip` names those that need no answer."""
        inputs = [(pair.inputs, pair.first_row, pair.continuation) for pair in pairs]
        plan = make_plan(inputs, self.limits, sharing=self.sharing)
        wanted = set(range(len(pairs))) - set(skip)
        try:
            self.cache.reserve(cells_needed(plan))
        except OutOfCellsError as error:
            yield from (Exhausted(request, str(error)) for request in sorted(wanted))
            return
        for block, batch in batches_of(plan, wanted):
            yield from (scored for scored in self._settled(plan, block, batch) if scored.request in wanted)

    def _settled(self, plan: PrefixPlan, block: int, batch: Sequence[PlanRow]) -> Iterator[Scored]:
        """The answers of a batch. Rows with a NaN are asked again alone: llama.cpp hands it on to what lies in the same
        cache, also to what comes after.
        """
        self.cache.hold(plan, block)
        self.batches += 1
        answers = {scored.request: scored for scored in self._batch(plan.blocks[block], batch)}
        if all(scored.finite for scored in answers.values()):
            yield from answers.values()
            return
        self.cache.forget()
        for row in batch:
            own = [answers[request] for request in row.requests]
            is_settled = len(batch) == 1 or all(scored.finite for scored in own)
            yield from own if is_settled else self._settled(plan, block, [row])

    def _batch(self, block: Block, batch: Sequence[PlanRow]) -> Iterator[Scored]:
        readings = {request: _Reading() for row in batch for request in row.requests}
        context, start = self.cache.context, len(block.tokens)
        trunks: list[Step] = []
        for sequence, row in enumerate(batch, start=1):
            context.copy(0, sequence)
            first = min(leaf.first_row for leaf in row.leaves)
            trunks += [Step(t, start + i, sequence, start + i >= first) for i, t in enumerate(row.trunk)]
        for i, logits in self.cache.read(trunks):
            row = batch[trunks[i].sequence - 1]
            _take(logits, trunks[i].position, row, range(len(row.leaves)), readings)
        free = range(len(batch) + 1, SEQUENCES)
        branching = _branching(batch)
        for done in range(0, len(branching), len(free)):
            part = branching[done : done + len(free)]
            self._read_branches(batch, dict(zip(free, part, strict=False)), readings)
        for used in range(1, len(batch) + 1):
            context.cut(used, 0)
        for request, reading in readings.items():
            total = float(sum(reading.logprobs))
            yield Scored(request, total, reading.greedy, len(reading.logprobs), bool(np.isfinite(total)))

    def _read_branches(
        self, batch: Sequence[PlanRow], owners: Mapping[int, tuple[int, int]], readings: dict[int, _Reading]
    ) -> None:
        """Branches side by side: `owners` maps each one's sequence to (place of its row, place of its leaf)."""
        steps: list[Step] = []
        for sequence, (place, k) in owners.items():
            row, leaf = batch[place], batch[place].leaves[k]
            self.cache.context.copy(place + 1, sequence)
            steps += [
                Step(token, row.depth + i, sequence, row.depth + i >= leaf.first_row)
                for i, token in enumerate(leaf.tokens[row.depth :])
            ]
        for i, logits in self.cache.read(steps):
            place, k = owners[steps[i].sequence]
            _take(logits, steps[i].position, batch[place], (k,), readings)
        for sequence in owners:
            self.cache.context.cut(sequence, 0)


def _branching(batch: Sequence[PlanRow]) -> list[tuple[int, int]]:
    """(place of the row, place of the leaf) of every leaf that goes on beyond its row's trunk."""
    return [
        (place, k)
        for place, row in enumerate(batch)
        for k, leaf in enumerate(row.leaves)
        if len(leaf.tokens) > row.depth
    ]


def _take(logits: Logits, position: int, row: PlanRow, leaves: Collection[int], readings: dict[int, _Reading]) -> None:
    """Give every reader whose target is predicted at `position` its log-probability."""
    normaliser: float | None = None
    best = -1
    for k in leaves:
        for reader in row.leaves[k].readers:
            place = position - reader.first_row
            if not 0 <= place < len(reader.targets):
                continue
            if normaliser is None:
                normaliser, best = log_sum_exp(logits), int(np.argmax(logits))
            reading = readings[reader.request]
            reading.logprobs.append(float(logits[reader.targets[place]]) - normaliser)
            reading.greedy = reading.greedy and best == reader.targets[place]


def log_sum_exp(logits: Logits) -> float:
    """log Σ exp of one row, in float64."""
    top = float(logits.max())
    return top + float(np.log(np.exp(logits - np.float32(top)).sum(dtype=np.float64)))


def limits_of(model: LlamaModel, max_length: int) -> Limits:
    """Sizes of batches for one model."""
    tokens = model.options.batch_tokens
    return Limits(
        batch_tokens=tokens,
        logit_rows=max(16, LOGIT_BYTES // (4 * model.vocab_size)),
        cached_tokens=max(8 * tokens, 2 * max_length),
        width=max_length,
        block_overhead=BLOCK_OVERHEAD,
        row_branch_tokens=tokens,
    )


def batches_of(plan: PrefixPlan, wanted: Collection[int]) -> Iterator[tuple[int, Sequence[PlanRow]]]:
    """(block, rows) of every batch that holds a wanted request, in pieces of at most `ROWS` rows."""
    for index, block in enumerate(plan.blocks):
        for batch in block.batches:
            for piece in _pieces(batch):
                if any(request in wanted for row in piece for request in row.requests):
                    yield index, piece


def _pieces(batch: Sequence[PlanRow]) -> Iterator[Sequence[PlanRow]]:
    piece: list[PlanRow] = []
    for row in batch:
        if len(piece) >= ROWS:
            yield piece
            piece = []
        piece.append(row)
    if piece:
        yield piece


def cells_needed(plan: PrefixPlan, growth: int = 0) -> int:
    """Most tokens that lie in the cache at once while `plan` is walked; rows grow by `growth`."""
    return max(
        (
            len(block.tokens) + sum(row.packed_width + growth for row in piece)
            for block in plan.blocks
            for batch in block.batches
            for piece in _pieces(batch)
        ),
        default=0,
    )


def widened(limits: Limits, growth: int) -> Limits:
    """`limits` for contexts to continue by `growth` tokens: no branches, one more place for a mark at the end."""
    return replace(limits, width=limits.width + 1, row_branch_tokens=0, growth=growth)


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
        for params, indices in by_params(jobs).items():
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
    ) -> Iterator[Written | Exhausted]:
        places = {place for place, i in enumerate(indices) if i in wanted}
        for block, batch in batches_of(plan, places):
            requests = [indices[request] for row in batch for request in row.requests]
            yield from (answer for answer in self._settled(plan, block, requests, jobs) if answer.request in wanted)

    def _settled(
        self, plan: PrefixPlan, block: int, requests: Sequence[int], jobs: Sequence[Job]
    ) -> Iterator[Written | Exhausted]:
        """The texts of a batch, as they end. Those with a NaN are asked again alone, for the scorer's reason."""
        self.cache.hold(plan, block)
        self.scorer.batches += 1
        failed = []
        rows = [_Row(i, jobs[i], sequence, Chooser(jobs[i])) for sequence, i in enumerate(requests, start=1)]
        for answer in self._batch(plan.blocks[block], rows):
            if isinstance(answer, Written):
                yield answer
            else:
                failed.append(answer)
        if failed:
            self.cache.forget()
        for answer in failed:
            yield from [answer] if len(requests) == 1 else self._settled(plan, block, [answer.request], jobs)

    def _batch(self, block: Block, rows: list[_Row]) -> Iterator[Written | Exhausted]:
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
                chosen.append((row, self._next(row, logits)))
            for row, token in chosen:
                ended = self._add(row, token)
                if ended is not None:
                    del alive[row.sequence]
                    self.cache.context.cut(row.sequence, 0)
                    yield ended
            steps = [
                Step(row.tokens[-1], len(row.job.context) + len(row.tokens) - 1, row.sequence, True)
                for row in alive.values()
            ]

    def _add(self, row: _Row, token: int | None) -> Written | Exhausted | None:
        """The row goes on with `token`, or ends and is returned."""
        if token is None:
            return not_finite(row.request)
        row.tokens.append(token)
        reason = self.ending.reason(row.tokens, row.job.params)
        return None if reason is None else self.ending.written(row.request, row.tokens, row.job.params, reason)

    @staticmethod
    def _next(row: _Row, logits: Logits) -> int | None:
        """The next token; None where the scores are not finite."""
        best = int(np.argmax(logits))  # NaN counts as the largest
        if not np.isfinite(logits[best]):
            return None
        return best if row.chooser.plain else row.chooser.choose(logits, row.tokens)

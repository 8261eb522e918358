"""Writing text with a causal transformers model: shared prefix, left-padded rows, rows that finish leave the batch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.cache import Past, narrowed
from benchbench.backends.hf.habits import likeness
from benchbench.backends.hf.halving import Halving, computing, halves
from benchbench.backends.hf.model import PASS_TOKENS, CausalModel, TokensGiven
from benchbench.backends.hf.scorer import CausalScorer, prefilled
from benchbench.backends.hf.trunks import by_length, read_trunks
from benchbench.backends.models.tokenizer import end_tokens
from benchbench.backends.plan import Block, Limits, make_plan, unmerged
from benchbench.backends.tokens import Exhausted, not_finite
from benchbench.backends.writing import Ending, Job, Written, by_params, logits_processors, seed
from benchbench.core.types import GenerationParams

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteriaList

SHRINK_BELOW = 0.75
"""When fewer than this share of a batch's rows still write, the others are taken out of the cache."""
NO_TOKEN = -1
"""In place of the next token of a row whose scores are not finite."""


@dataclass(slots=True)
class _Row:
    """A row that is being written."""

    request: int
    job: Job
    tokens: list[int] = field(default_factory=list)
    generator: torch.Generator | None = None


class DiffersError(Exception):
    """Texts that were written together are not those that are written alone."""


class CausalGenerator(Halving):
    """Greedy and sampled text in our own loop; beam search through transformers' `generate`."""

    def __init__(
        self, model: CausalModel, tokenizer: PreTrainedTokenizerBase, scorer: CausalScorer, limits: Limits
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.scorer = scorer
        self.limits = limits
        self.ending = Ending(tokenizer, model_end_tokens(model.model, tokenizer))
        self.was_right: bool | None = None
        """Whether the first texts written from states that the model kept were those of one text read whole."""

    def forget(self) -> None:
        """New weights were loaded: what was seen of the old ones does not speak for them."""
        self.was_right = None

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written | Exhausted]:
        """Continue every context; `skip` names jobs that keep their place in the layout but need no answer."""
        self.scorer.held.look_at((job.context for job in jobs), self.limits)
        # Whether texts go on rightly from states shows in what is written.
        known = () if self.model.keeps_states and self.scorer.held.is_sought else skip
        for params, indices in by_params(jobs).items():
            left = [i for i in indices if i not in skip]
            is_planned = self._plans([jobs[i] for i in indices])
            if is_planned and params.num_beams == 1:
                try:
                    for written in self._planned(jobs, indices, params, known):
                        if written.request not in skip:
                            left.remove(written.request)
                            yield written
                except DiffersError as error:
                    is_planned = self.was_right = False
                    self._tell(
                        f"Texts are written one at a time and read anew for every token, which is slow: {error}."
                    )
            yield from self._with_transformers(jobs, left, params, is_planned and self.model.reorders)

    def _plans(self, jobs: Sequence[Job]) -> bool:
        """Whether the jobs may be written together, each going on from what the model keeps."""
        if self.model.goes_on == "never" or self.was_right is False:
            return False
        return self.scorer.trusts("branched", [pair for job in jobs for pair in _probes(job.context)])

    def _tell(self, note: str) -> None:
        if note not in self.scorer.notes:
            self.scorer.notes.append(note)

    def _planned(
        self, jobs: Sequence[Job], indices: Sequence[int], params: GenerationParams, skip: Collection[int]
    ) -> Iterator[Written | Exhausted]:
        inputs = [(unmerged(jobs[i].context, i), len(jobs[i].context) - 1, ()) for i in indices]
        overhead, together = self.limits.block_overhead, self.limits.batch_tokens
        if self.model.keeps_states:  # trunks are read in passes of their own, one for each length behind a block
            together = max(together, self.limits.cached_tokens)
            overhead += PASS_TOKENS.get(self.model.device.type, 0) * len({len(jobs[i].context) for i in indices})
        limits = replace(
            self.limits,
            block_overhead=overhead,
            batch_tokens=together,
            width=self.limits.width + 1,
            row_branch_tokens=0,
            growth=params.max_gen_toks,
            # Every row more is a row more in each step that writes; padding is read only with keys and values.
            batch_overhead=together,
        )
        held = self.scorer.held
        plan = make_plan(inputs, limits, known=held.tokens)
        wanted = {place for place, i in enumerate(indices) if i not in skip}
        for block, states in prefilled(self.model, plan, wanted, held=held):
            for batch in block.batches:
                requests = [indices[row.requests[0]] for row in batch]
                if all(request in skip for request in requests):
                    continue
                pairs = [(request, jobs[request]) for request in requests]
                yield from (w for w in self._batch(block, states, pairs) if w.request not in skip)

    def _batch(
        self, block: Block, states: Past | None, jobs: Sequence[tuple[int, Job]]
    ) -> Iterator[Written | Exhausted]:
        def run(piece: Sequence[tuple[int, Job]]) -> list[Written | Exhausted]:
            groups = [piece] if self.model.joins else by_length(piece, lambda pair: len(pair[1].context))
            return [answer for group in groups for answer in self._continue(block, states, group)]

        return self.in_pieces(jobs, run, smaller=halves, requests=lambda piece: [request for request, _ in piece])

    @torch.inference_mode()
    def _continue(
        self, block: Block, states: Past | None, jobs: Sequence[tuple[int, Job]]
    ) -> list[Written | Exhausted]:
        start = len(block.tokens)
        params = jobs[0][1].params
        device = self.model.device
        contexts = [job.context[start:] for _, job in jobs]
        last = torch.arange(1, len(jobs) + 1) * max(len(context) for context in contexts) - 1
        trunks = read_trunks(
            self.model, block.tokens, states, contexts, last, reserve=params.max_gen_toks, most=self.limits.batch_tokens
        )
        logits, cache, width = trunks.logits, trunks.past, trunks.mask.shape[1]
        mask = torch.ones(len(jobs), width + params.max_gen_toks, dtype=torch.long, device=device)
        mask[:, :width] = trunks.mask
        rows = [_Row(request, job, generator=_seeded(job)) for request, job in jobs]
        lengths = torch.tensor([len(job.context) for _, job in jobs], device=device)
        finished: list[Written | Exhausted] = []
        last_scores: list[tuple[_Row, torch.Tensor]] = []
        is_checked = self.model.keeps_states and not self.was_right
        step = 0
        while True:
            tokens = self._choose(logits, rows, params)
            alive = []
            for place, (row, token) in enumerate(zip(rows, tokens, strict=True)):
                if row.request < 0:
                    continue
                ended = self._add(row, token, params)
                if ended is None:
                    alive.append(place)
                else:
                    finished.append(ended)
                    if is_checked:  # a view would hold the scores of every row
                        last_scores.append((row, logits[place].clone()))
                    row.request = -1
            if not alive:
                self._check(last_scores)
                return finished
            step += 1
            if len(alive) < SHRINK_BELOW * len(rows):
                keep = torch.tensor(alive, device=device)
                cache = narrowed(cache, keep, len(rows))
                rows, tokens = [rows[p] for p in alive], [tokens[p] for p in alive]
                mask, lengths = mask[keep], lengths[keep]
            logits, cache = self.model.logits(
                torch.tensor([max(token, 0) for token in tokens], device=device)[:, None],
                torch.arange(len(rows), device=device),
                mask=mask[:, : width + step],
                positions=(lengths + step - 1)[:, None],
                past=cache,
                keep_past=True,
            )

    def _check(self, written: Sequence[tuple[_Row, torch.Tensor]]) -> None:
        """The first time that states were kept: whether the scores from which the shortest and the longest text got
        their last token are those of the text read whole and alone. Raises DiffersError.
        """
        written = [one for one in written if one[1].isfinite().all()]
        if not written:
            return
        by_length = sorted(written, key=lambda one: len(one[0].job.context) + len(one[0].tokens))
        for row, scores in (by_length[0], by_length[-1]):
            text = [*row.job.context, *row.tokens[:-1]]
            last = torch.tensor([len(text) - 1], device=self.model.device)
            (whole,), _ = self.model.logits(torch.tensor([text], device=self.model.device), last)
            difference, spread = (whole - scores).abs().max(), whole.max() - whole.min()
            if spread.isfinite() and not difference <= likeness(self.model.model) * spread:
                raise DiffersError(
                    f"the scores of a token differ by {float(difference):.3g} from those of its text alone"
                )
        self.was_right = True

    def _add(self, row: _Row, token: int, params: GenerationParams) -> Written | Exhausted | None:
        """The row goes on with `token`, or ends and is returned."""
        if token == NO_TOKEN:
            return not_finite(row.request)
        row.tokens.append(token)
        reason = self.ending.reason(row.tokens, params)
        return None if reason is None else self.ending.written(row.request, row.tokens, params, reason)

    def _choose(self, logits: torch.Tensor, rows: Sequence[_Row], params: GenerationParams) -> list[int]:
        """The next token of each row, NO_TOKEN where the scores of one that still writes are not finite."""
        best = logits.argmax(dim=-1)  # NaN counts as the largest
        is_finite = logits.gather(-1, best[:, None])[:, 0].isfinite()
        processors = logits_processors(params)
        if processors:
            read = [torch.tensor([[*row.job.context, *row.tokens]], device=logits.device) for row in rows]
            logits = torch.stack(
                [
                    processors(cast("torch.LongTensor", ids), one[None])[0]
                    for ids, one in zip(read, logits.float(), strict=True)
                ]
            )
            best = logits.argmax(dim=-1)
        if not params.do_sample:
            greedy: list[int] = best.masked_fill(~is_finite, NO_TOKEN).tolist()
            return greedy
        probabilities = torch.softmax(logits.float(), dim=-1)
        probabilities[:, 0].masked_fill_(~is_finite, torch.nan)  # so that one transfer brings both
        return [_draw(one, row.generator) for one, row in zip(probabilities.cpu(), rows, strict=True)]

    @torch.inference_mode()
    def _with_transformers(
        self, jobs: Sequence[Job], indices: Sequence[int], params: GenerationParams, keeps_past: bool
    ) -> Iterator[Written | Exhausted]:
        """Beam search; and models whose past or padding cannot be trusted, which read everything anew each step."""
        for index in indices:
            context = torch.tensor([jobs[index].context], device=self.model.device)
            torch.manual_seed(seed(jobs[index]))
            watch = Watch(self.model.device)
            with computing(self.model.model), TokensGiven(self.model.model) as given:
                output = self.model.model.generate(
                    input_ids=context,
                    attention_mask=torch.ones_like(context),
                    max_new_tokens=params.max_gen_toks,
                    logits_processor=[watch],
                    return_dict_in_generate=False,
                    stopping_criteria=stop_at(params.until, self.ending, context.shape[1], watch),
                    pad_token_id=self.tokenizer.pad_token_id,
                    use_cache=keeps_past,
                    **generate_arguments(params),
                )
            self.model.computed_tokens += given.tokens
            tokens = output[0, context.shape[1] :].tolist()
            yield not_finite(index) if watch.saw_nan else self.ending.finished(index, tokens, params)


def _draw(probabilities: torch.Tensor, generator: torch.Generator | None) -> int:
    """A token by its probability; NO_TOKEN where they are NaN: [vocabulary], on the CPU."""
    return NO_TOKEN if probabilities[0].isnan() else int(torch.multinomial(probabilities, 1, generator=generator))


class Watch:
    """A logits processor of transformers' `generate` that notes where a row's scores are not finite.

    Such rows are given equal scores, which beam search and sampling survive.
    """

    def __init__(self, device: torch.device) -> None:
        self.seen = torch.zeros((), dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """`scores` [rows, vocabulary] of the next tokens."""
        bad = ~scores.amax(dim=-1).isfinite()
        self.seen |= bad.any()
        return scores.masked_fill_(bad[:, None], 0.0)

    @property
    def saw_nan(self) -> bool:
        """Whether a row's scores were not finite at any step so far."""
        return bool(self.seen)


def stop_at(until: Sequence[str], ending: Ending, start: int, watch: Watch) -> StoppingCriteriaList:
    """What tells transformers' `generate` to stop: a stop string in what a row holds from token `start` on, or scores
    that are not finite, in any row.
    """
    from transformers import StoppingCriteriaList

    stops = [stop for stop in until if stop]

    def stopped(ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        texts = [ending.decode(row[start:]) for row in ids.tolist()] if stops else [""] * len(ids)
        return torch.tensor([any(stop in text for stop in stops) for text in texts], device=ids.device) | watch.seen

    return StoppingCriteriaList([stopped])


def generate_arguments(params: GenerationParams) -> dict[str, object]:
    """The arguments of transformers' `generate` that say the same as `params`."""
    arguments: dict[str, object] = {
        "do_sample": params.do_sample,
        "num_beams": params.num_beams,
        "repetition_penalty": params.repetition_penalty,
        "no_repeat_ngram_size": params.no_repeat_ngram_size,
    }
    if params.num_beams > 1:
        arguments["length_penalty"] = params.length_penalty
    if params.do_sample:
        arguments |= {"temperature": params.temperature, "top_k": params.top_k or 0, "top_p": params.top_p or 1.0}
    return arguments


def _probes(context: tuple[int, ...]) -> tuple[EncodedPair, EncodedPair]:
    """The context's own last tokens after the rest of it, forwards and backwards: two branches, so that scoring
    them reads a past that was kept, and exercises padding and block.
    """
    last = min(4, max(1, len(context) - 1))
    end = context[-last:]
    return EncodedPair(context[:-last] or context, end), EncodedPair(context[:-last] or context, end[::-1])


def _seeded(job: Job) -> torch.Generator | None:
    return torch.Generator().manual_seed(seed(job)) if job.params.do_sample else None


def model_end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Every token that ends a text of a transformers model: the generation config's and the tokenizer's."""
    config = getattr(model, "generation_config", None)
    return end_tokens(getattr(config, "eos_token_id", None), tokenizer, str(tokenizer.name_or_path))

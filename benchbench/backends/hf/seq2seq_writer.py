"""Writing text with an encoder-decoder, by transformers' own `generate`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.agreement import cannot, tolerance_of
from benchbench.backends.hf.encoder_decoder import EncoderDecoder
from benchbench.backends.hf.generate import Watch, generate_arguments, model_end_tokens, stop_at
from benchbench.backends.hf.halving import Halving, halves, is_out_of_memory
from benchbench.backends.hf.seq2seq_check import Decisions
from benchbench.backends.hf.seq2seq_plan import (
    WAYS,
    Batch,
    Way,
    alone,
    batches_of,
    group_requests,
    lengths,
    side_by_side,
)
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.models.tokenizer import Languages
from benchbench.backends.tokens import Exhausted, not_finite
from benchbench.backends.writing import Ending, Job, Written, by_params, seed
from benchbench.core.errors import BackendError
from benchbench.core.types import GenerationParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KEPT_FACTOR = 12
"""Tokens whose states may be held at once, as a multiple of the batch's tokens."""
CHECK_STEPS = 4
"""New tokens of the contexts that are checked."""
TOLD: dict[Way, str] = {
    "padded": "Texts are not written side by side after contexts of unlike lengths: {}.",
    "equal": "Texts are written one at a time, which takes longer: {}.",
}
"""What a user reads where a way of writing is not used, by that way."""

Contexts = Sequence[tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Begun:
    """The first tokens that were written after some contexts."""

    tokens: list[list[int]]
    """Of each context."""
    scores: list[torch.Tensor]
    """Log-probabilities [contexts, vocabulary] at each step."""


class Seq2SeqWriter(Halving):
    """Continues contexts. A few of every run are begun alone too, and the scores of their first tokens compared."""

    def __init__(self, model: EncoderDecoder, loaded: LoadedModel, batch_tokens: int) -> None:
        self.model = model
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.device = loaded.device
        self.prefix_token_id = loaded.prefix_token_id
        self.batch_tokens = batch_tokens
        self.ending = Ending(loaded.tokenizer, model_end_tokens(loaded.model, loaded.tokenizer))
        self.languages = Languages(loaded.tokenizer)
        self.decisions = Decisions(TOLD)
        self._odd: list[str] = []

    @property
    def notes(self) -> list[str]:
        """What the self-check decided, and what is odd about the languages asked for."""
        return [*self.decisions.notes, *self._odd]

    def forget(self) -> None:
        """New weights were loaded: what the old ones were trusted or distrusted with must be checked again."""
        self.decisions.forget()

    def refuses(self, params: GenerationParams) -> str | None:
        """Why the model does not translate between these languages; None if it does, or has a language of its own."""
        asked = (params.src_lang, params.tgt_lang)
        if not self.languages or asked == (None, None):
            return None
        return next((why for language in asked if (why := self.languages.cannot(language)) is not None), None)

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written | Exhausted]:
        """Text after each context; `skip` names jobs that need no answer."""
        for params, indices in by_params(jobs).items():
            forced = self._first_token(params)
            for batch in self._settled([jobs[i] for i in indices], params, forced):
                requests = [indices[place] for place in group_requests(batch)]
                if all(request in skip for request in requests):
                    continue

                def run(piece: Sequence[int], forced: dict[str, int] = forced) -> list[Written | Exhausted]:
                    return self._write_batch(piece, jobs, forced)

                for written in self.in_pieces(requests, run, smaller=halves, requests=list):
                    if written.request not in skip:
                        yield written

    def _settled(self, jobs: Sequence[Job], params: GenerationParams, forced: dict[str, int]) -> list[Batch]:
        """Batches of like contexts, the longest first, made in the first way that writes what one alone writes."""
        groups = alone([EncodedPair(job.context or (self.prefix_token_id,), ()) for job in jobs])

        @cache
        def batches(way: Way) -> list[Batch]:
            return list(batches_of(groups, way, lambda batch: self._fits(batch, params)))

        def check(way: Way) -> str | None:
            return self._fault(way, batches(way), forced)

        if params.do_sample:  # each alone, so that order is no matter
            return batches("single")
        return batches(self.decisions.first_right(WAYS, lambda way: lengths(batches(way)), check))

    def _fits(self, batch: Batch, params: GenerationParams) -> bool:
        rows, widest = len(batch), len(batch[0].context)
        states = rows * params.num_beams * (widest + params.max_gen_toks)
        return rows * widest <= self.batch_tokens and states <= KEPT_FACTOR * self.batch_tokens

    def _fault(self, way: Way, batches: list[Batch], forced: dict[str, int]) -> str | None:
        """What is wrong with the batches, as the end of a sentence."""
        known = self.model.known_fault(way, len(batches[0][0].context))
        if known is not None:
            return known
        if all(len(batch) == 1 for batch in batches):
            if way != "padded":
                self._check_repeats(batches[-1][0].context, forced)
            return None
        rows = side_by_side(batches)
        alone = [self._begun([row], forced) for row in rows[1:]]
        try:
            beside = self._begun(rows, forced)
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return cannot(error, "them so")
        found = [nats for row, one in enumerate(alone, 1) if (nats := self._difference(one, beside, row)) is not None]
        return (
            f"this model then gives the next token up to {max(found):.2g} nats more or less than alone"
            if found
            else None
        )

    def _check_repeats(self, context: tuple[int, ...], forced: dict[str, int]) -> None:
        """BackendError where something else is written after the same text when it is read again."""
        if self._difference(self._begun([context], forced), self._begun([context], forced), 0) is not None:
            raise BackendError(
                f"{type(self.model.model).__name__} writes something else after the same text each time: something in "
                "it is drawn at random, so its texts cannot be compared."
            )

    def _difference(self, alone: Begun, beside: Begun, row: int) -> float | None:
        """By how many nats a token differs that was written alone, from what `row` of several gives it; None where
        rounding explains it. After an end, and after tokens that rounding has made others, nothing is compared.
        """
        tolerance = tolerance_of(self.model.model).token
        for token, other, one, several in zip(
            alone.tokens[0], beside.tokens[row], alone.scores, beside.scores, strict=False
        ):
            nats = abs(float(one[0, token] - several[row, token]))
            if not nats <= tolerance and bool(one[0, token].isfinite()):
                return nats
            if token != other or token in self.ending.eos:
                break
        return None

    @torch.inference_mode()
    def _begun(self, contexts: Contexts, forced: dict[str, int]) -> Begun:
        output = self._generate(
            contexts,
            CHECK_STEPS,
            forced,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        tokens = output.sequences[:, -len(output.logits) :].tolist()
        return Begun(tokens, [logits.float().log_softmax(-1) for logits in output.logits])

    def _generate(self, contexts: Contexts, steps: int, forced: dict[str, int], **arguments: Any) -> Any:
        ids, mask = self.model.padded(contexts)
        with self.model.reading(ids.shape[1]):
            output = self.model.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=steps,
                pad_token_id=self.tokenizer.pad_token_id,
                **arguments,
                **forced,
            )
        rows = output if isinstance(output, torch.Tensor) else output.sequences
        self.model.computed_tokens += ids.numel() + rows[:, 1:].numel() * int(arguments.get("num_beams", 1))
        return output

    @torch.inference_mode()
    def _write_batch(
        self, requests: Sequence[int], jobs: Sequence[Job], forced: dict[str, int]
    ) -> list[Written | Exhausted]:
        params = jobs[requests[0]].params
        watch = Watch(self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed(jobs[requests[0]]))
            output = self._generate(
                [jobs[i].context or (self.prefix_token_id,) for i in requests],
                params.max_gen_toks,
                forced,
                logits_processor=[watch],
                return_dict_in_generate=False,
                stopping_criteria=stop_at(params.until, self.ending, 1, watch),
                **generate_arguments(params),
            )
        if watch.saw_nan:
            # Alone, because a row that had ended by then may be fed on with the others, and its scores no longer count.
            each = [] if len(requests) == 1 else [w for i in requests for w in self._write_batch([i], jobs, forced)]
            return each or [not_finite(requests[0])]
        pad = int(self.model.pad)
        rows = zip(requests, output.tolist(), strict=True)
        return [self.ending.finished(i, row[1:], params, pad=pad) for i, row in rows]

    def _first_token(self, params: GenerationParams) -> dict[str, int]:
        """The argument of `generate` for the language to write in; what is odd about it is noted."""
        if self.languages and params.tgt_lang is not None:
            return {"forced_bos_token_id": self.languages.token_id(params.tgt_lang)}
        if self.languages:
            self._note("this translation model was not told which language to write; --prompt source tells it")
        elif params.tgt_lang is not None:
            self._note("this model has no language tokens: it translates into the language that it was made for")
        return {}

    def _note(self, text: str) -> None:
        if text not in self._odd:
            self._odd.append(text)

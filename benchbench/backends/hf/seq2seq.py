"""Scoring and writing with encoder-decoder models (T5, BART, NLLB): the context goes to the encoder, once.

Contexts are padded on the right and masked; continuations are decoder inputs, padded on the right. A context that many
choices share is encoded once, and its states are handed to each choice's decoder row. Numbers are those of lm-eval's
seq2seq backend at batch size 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.generate import Watch, generate_arguments, model_end_tokens, stop_at
from benchbench.backends.hf.halving import Halving, computing, halves
from benchbench.backends.hf.head import HeadOn
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.models.tokenizer import Languages
from benchbench.backends.tokens import Exhausted, Scored, not_finite
from benchbench.backends.writing import Ending, Job, Written, by_params, seed
from benchbench.core.types import GenerationParams

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


LOGIT_BYTES = 256 * 2**20
"""Memory that one batch's logits may take, as fp32."""
KEPT_FACTOR = 12
"""Tokens whose states may be held at once, as a multiple of the batch's tokens."""


@dataclass(frozen=True, slots=True)
class _Group:
    """One context and all continuations that are scored after it."""

    context: tuple[int, ...]
    rows: tuple[tuple[int, tuple[int, ...]], ...]
    """(request, continuation tokens)."""


class Seq2SeqEngine(Halving):
    """Scores pairs and continues contexts with one encoder-decoder model.

    `computed_tokens` counts encoder and decoder inputs, padding included; `batches` and `retries` count passes and
    passes that ran out of memory.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self.model: Any = loaded.model
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.device = loaded.device
        self.prefix_token_id = loaded.prefix_token_id
        self.batch_tokens = batch_tokens
        self.logit_rows = max(64, LOGIT_BYTES // (4 * int(self.model.config.get_text_config().vocab_size)))
        self.ending = Ending(loaded.tokenizer, model_end_tokens(loaded.model, loaded.tokenizer))
        self.languages = Languages(loaded.tokenizer)
        self.notes: list[str] = []
        self.computed_tokens = 0

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored | Exhausted]:
        """Log-likelihood of each continuation after its context; `skip` names pairs that need no answer."""
        for batch in self._score_batches(pairs):
            requests = [request for group in batch for request, _ in group.rows]
            if all(request in skip for request in requests):
                continue
            for scored in self.in_pieces(batch, self._score_batch, smaller=_smaller_groups, requests=_group_requests):
                if scored.request not in skip:
                    yield scored

    def refuses(self, params: GenerationParams) -> str | None:
        """Why the model does not translate between these languages; None if it does, or has a language of its own."""
        asked = (params.src_lang, params.tgt_lang)
        if not self.languages or asked == (None, None):
            return None
        return next((why for language in asked if (why := self.languages.cannot(language)) is not None), None)

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written | Exhausted]:
        """Text after each context, by transformers' `generate`; `skip` names jobs that need no answer."""
        for batch in self._write_batches(jobs):
            wanted = [request for request in batch if request not in skip]
            if wanted:

                def run(requests: Sequence[int]) -> list[Written | Exhausted]:
                    return self._write_batch(requests, jobs)

                for written in self.in_pieces(batch, run, smaller=halves, requests=list):
                    if written.request not in skip:
                        yield written

    def _score_batches(self, pairs: Sequence[EncodedPair]) -> Iterator[list[_Group]]:
        """Batches of contexts of like length, longest first; a context with too many choices is split."""
        by_context: dict[tuple[int, ...], list[tuple[int, tuple[int, ...]]]] = {}
        for i, pair in enumerate(pairs):
            by_context.setdefault(pair.context, []).append((i, pair.continuation))
        groups = [
            piece for context, rows in by_context.items() for piece in self._split_group(_Group(context, tuple(rows)))
        ]
        batch: list[_Group] = []
        for group in sorted(groups, key=lambda g: -len(g.context)):
            if batch and not self._fits([*batch, group]):
                yield batch
                batch = []
            batch.append(group)
        if batch:
            yield batch

    def _split_group(self, group: _Group) -> list[_Group]:
        if len(group.rows) == 1 or self._fits([group]):
            return [group]
        middle = len(group.rows) // 2
        halves = (_Group(group.context, rows) for rows in (group.rows[:middle], group.rows[middle:]))
        return [piece for half in halves for piece in self._split_group(half)]

    def _fits(self, groups: Sequence[_Group]) -> bool:
        source = max(len(group.context) for group in groups)
        rows = sum(len(group.rows) for group in groups)
        target = max(len(tokens) for group in groups for _, tokens in group.rows)
        return (
            len(groups) * source + rows * target <= self.batch_tokens
            and rows * (source + target) <= KEPT_FACTOR * self.batch_tokens
            and sum(len(tokens) for group in groups for _, tokens in group.rows) <= self.logit_rows
        )

    @torch.inference_mode()
    def _score_batch(self, groups: Sequence[_Group]) -> list[Scored]:
        from transformers.modeling_outputs import BaseModelOutput

        ids, mask = self._padded([group.context for group in groups])
        with computing(self.model):
            states = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        rows = [row for group in groups for row in group.rows]
        owner = torch.tensor([g for g, group in enumerate(groups) for _ in group.rows], device=self.device)
        inputs, target_mask = self._padded([self._decoder_inputs(tokens) for _, tokens in rows])
        self.computed_tokens += ids.numel() + inputs.numel()
        logits = self._logits(
            target_mask.bool(),
            encoder_outputs=BaseModelOutput(last_hidden_state=states[owner]),
            attention_mask=mask[owner],
            decoder_input_ids=inputs,
        )
        targets = torch.tensor([token for _, tokens in rows for token in tokens], device=self.device)
        logits = logits.float()
        logprobs = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=-1)
        sizes = [len(tokens) for _, tokens in rows]
        greedy = torch.split(logits.argmax(dim=-1) == targets, sizes)
        totals = [part.double().sum().item() for part in torch.split(logprobs, sizes)]
        return [
            Scored(request, total, bool(hits.all()), len(tokens), abs(total) < float("inf"))
            for (request, tokens), total, hits in zip(rows, totals, greedy, strict=True)
        ]

    def _logits(self, wanted: torch.Tensor, **inputs: Any) -> torch.Tensor:
        """Logits [wanted.sum(), vocabulary]; the head runs on the wanted decoder positions alone."""
        pick = HeadOn(self.model.get_output_embeddings(), wanted.shape, lambda states: states[wanted])
        with computing(self.model), pick as head:
            return head.logits(self.model(**inputs, use_cache=False).logits)

    def _decoder_inputs(self, tokens: tuple[int, ...]) -> tuple[int, ...]:
        """What the decoder reads to predict `tokens`: as the model's own training shifts them, one row at a time,
        because models that move the last token to the front (mBART) would take padding for it.
        """
        shift = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        if shift is None:
            return (int(self.model.config.decoder_start_token_id), *tokens[:-1])
        shifted: list[int] = shift(torch.tensor([tokens])).reshape(-1).tolist()
        return tuple(shifted)

    def _padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, mask), both [rows, longest], padded on the right."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), int(self.tokenizer.pad_token_id), dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for r, row in enumerate(rows):
            ids[r, : len(row)] = torch.tensor(row)
            mask[r, : len(row)] = 1
        return ids.to(self.device), mask.to(self.device)

    def _write_batches(self, jobs: Sequence[Job]) -> Iterator[list[int]]:
        """Requests with the same parameters, longest context first; sampled ones alone, so that order is no matter."""
        for params, indices in by_params(jobs).items():
            indices.sort(key=lambda i: -len(jobs[i].context))
            batch: list[int] = []
            for i in indices:
                widest = len(jobs[batch[0]].context) if batch else len(jobs[i].context)
                rows = len(batch) + 1
                full = rows * widest > self.batch_tokens or (
                    rows * params.num_beams * (widest + params.max_gen_toks) > KEPT_FACTOR * self.batch_tokens
                )
                if batch and (full or params.do_sample):
                    yield batch
                    batch = []
                batch.append(i)
            if batch:
                yield batch

    @torch.inference_mode()
    def _write_batch(self, requests: Sequence[int], jobs: Sequence[Job]) -> list[Written | Exhausted]:
        params = jobs[requests[0]].params
        forced = self._first_token(params)
        ids, mask = self._padded([jobs[i].context or (self.prefix_token_id,) for i in requests])
        watch = Watch(self.device)
        devices = [self.device] if self.device.type == "cuda" else []
        with computing(self.model), torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed(jobs[requests[0]]))
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=params.max_gen_toks,
                logits_processor=[watch],
                return_dict_in_generate=False,
                stopping_criteria=stop_at(params.until, self.ending, 1, watch),
                pad_token_id=self.tokenizer.pad_token_id,
                **generate_arguments(params),
                **forced,
            )
        self.computed_tokens += ids.numel() + output[:, 1:].numel() * params.num_beams
        if watch.saw_nan:
            # Alone, because a row that had ended by then may be fed on with the others, and its scores no longer count.
            alone = [] if len(requests) == 1 else [w for i in requests for w in self._write_batch([i], jobs)]
            return alone or [not_finite(requests[0])]
        pad = int(self.tokenizer.pad_token_id)
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
        if text not in self.notes:
            self.notes.append(text)


def _group_requests(groups: Sequence[_Group]) -> list[int]:
    return [request for group in groups for request, _ in group.rows]


def _smaller_groups(groups: Sequence[_Group]) -> list[Sequence[_Group]]:
    """The batch in two, by contexts, or by the continuations of its only context; nothing where neither is possible."""
    if len(groups) > 1:
        return halves(groups)
    group = groups[0]
    return [[_Group(group.context, tuple(rows))] for rows in halves(group.rows)]

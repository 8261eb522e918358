"""Scoring and writing with encoder-decoder models (T5, BART, NLLB): the context goes to the encoder, once.

Contexts are padded on the right and masked; continuations are decoder inputs, padded on the right. A context that many
choices share is encoded once, and its states are handed to each choice's decoder row. A few pairs of every run are held
against the whole model reading one pair alone; a model whose batches give something else is given smaller ones.
Numbers are those of lm-eval's seq2seq backend at batch size 1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from typing import cast

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.agreement import cannot
from benchbench.backends.hf.encoder_decoder import Encoded, EncoderDecoder
from benchbench.backends.hf.halving import Halving, is_out_of_memory
from benchbench.backends.hf.seq2seq_check import Decisions, check_repeats, differs
from benchbench.backends.hf.seq2seq_plan import (
    WAYS,
    Batch,
    Group,
    Place,
    Row,
    Way,
    alone,
    batches_of,
    by_context,
    group_requests,
    lengths,
    sampled,
    smaller_groups,
)
from benchbench.backends.hf.seq2seq_writer import Seq2SeqWriter
from benchbench.backends.models.loaded import LoadedModel
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.backends.writing import Job, Written
from benchbench.core.types import GenerationParams

LOGIT_BYTES = 256 * 2**20
"""Memory that one batch's logits may take, as fp32."""
KEPT_FACTOR = 12
"""Tokens whose states may be held at once, as a multiple of the batch's tokens."""

Answers = dict[int, list[Scored | Exhausted]]
"""Of batches, by their numbers."""

TOLD: dict[Way, str] = {
    "padded": "Pairs of unlike lengths are not scored side by side: {}.",
    "equal": "Pairs of one length are not scored side by side but each alone, which takes longer: {}.",
}
"""What a user reads where a way of scoring is not used, by that way."""


class Seq2SeqEngine(Halving):
    """Scores pairs and continues contexts with one encoder-decoder model.

    `batches` and `retries` count passes and passes that ran out of memory; `notes` tells, in sentences, what the
    self-check decided.
    """

    def __init__(self, loaded: LoadedModel, batch_tokens: int) -> None:
        self.model = EncoderDecoder(loaded.model, loaded.device, int(loaded.tokenizer.pad_token_id))
        self.batch_tokens = batch_tokens
        self.logit_rows = max(64, LOGIT_BYTES // (4 * int(loaded.model.config.get_text_config().vocab_size)))
        self.writer = Seq2SeqWriter(self.model, loaded, batch_tokens)
        self.languages = self.writer.languages
        self._decisions = Decisions(TOLD)

    @property
    def notes(self) -> list[str]:
        """What the self-checks decided, and what is odd about the languages asked for."""
        return [*self._decisions.notes, *self.writer.notes]

    @property
    def computed_tokens(self) -> int:
        """Encoder and decoder inputs that the model was given, padding and the self-check included."""
        return self.model.computed_tokens

    def forget(self) -> None:
        """New weights were loaded: what the old ones were trusted or distrusted with must be checked again."""
        self._decisions.forget()
        self.writer.forget()

    def lessons(self) -> object:
        """What was decided until now."""
        return (self._decisions.lessons(), self.writer.decisions.lessons())

    def take_lessons(self, lessons: object) -> None:
        """These decisions, and no others."""
        pairs, texts = cast("tuple[object, object]", lessons or (None, None))
        self._decisions.take_lessons(pairs)
        self.writer.decisions.take_lessons(texts)

    def refuses(self, params: GenerationParams) -> str | None:
        """See `Seq2SeqWriter`."""
        return self.writer.refuses(params)

    def write(self, jobs: Sequence[Job], skip: Collection[int] = ()) -> Iterator[Written | Exhausted]:
        """See `Seq2SeqWriter`."""
        return self.writer.write(jobs, skip)

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored | Exhausted]:
        """Log-likelihood of each continuation after its context; `skip` names pairs that need no answer."""
        if not pairs:
            return
        way, batches, known = self._settled(pairs)
        for number, batch in enumerate(batches):
            if all(request in skip for request in group_requests(batch)):
                continue
            answers = known.get(number) or self._scored(batch, way)
            for scored in answers:
                if scored.request not in skip:
                    yield scored

    def _settled(self, pairs: Sequence[EncodedPair]) -> tuple[Way, list[Batch], Answers]:
        """The first way that gives what one pair alone gives, its batches, and answers of those that were checked."""
        reference: dict[int, Scored | Exhausted] = {}
        answers: dict[Way, Answers] = {}

        @cache
        def batches(way: Way) -> list[Batch]:
            return list(batches_of(alone(pairs) if way == "single" else by_context(pairs), way, self._fits))

        def check(way: Way) -> str | None:
            fault, answers[way] = self._checked(way, batches(way), reference)
            return fault

        way = self._decisions.first_right(WAYS, lambda way: lengths(batches(way)), check)
        return way, batches(way), answers.get(way, {})

    def _checked(
        self, way: Way, batches: list[Batch], reference: dict[int, Scored | Exhausted]
    ) -> tuple[str | None, Answers]:
        """What is wrong with the batches, as the end of a sentence, and answers of those that were computed for it."""
        known = self.model.known_fault(way, len(batches[0][0].context))
        if known is not None:
            return known, {}
        places = sampled(batches)
        if way == "single":
            check_repeats(lambda: self._alone(places[0]), self.model.model)
            return None, {}
        for place in places:
            if place.row.request not in reference:
                reference[place.row.request] = self._alone(place)
        try:
            answers = {b: list(self._scored(batches[b], way)) for b in dict.fromkeys(place.batch for place in places)}
        except Exception as error:
            if is_out_of_memory(error):
                raise
            return cannot(error, "them so"), {}
        got = {one.request: one for some in answers.values() for one in some}
        expected = [reference[place.row.request] for place in places]
        return differs(expected, [got[one.request] for one in expected], self.model.model), answers

    def _alone(self, place: Place) -> Scored | Exhausted:
        (scored,) = self._scored([Group(place.group.context, (place.row,))], "single")
        return scored

    def _fits(self, groups: Batch) -> bool:
        source = max(len(group.context) for group in groups)
        rows = sum(len(group.rows) for group in groups)
        target = max(len(row.target) for group in groups for row in group.rows)
        return (
            len(groups) * source + rows * target <= self.batch_tokens
            and rows * (source + target) <= KEPT_FACTOR * self.batch_tokens
            and sum(len(row.target) for group in groups for row in group.rows) <= self.logit_rows
        )

    def _scored(self, batch: Batch, way: Way) -> Iterator[Scored | Exhausted]:
        def run(groups: Sequence[Group]) -> list[Scored]:
            return self._score_batch(groups, way)

        return self.in_pieces(batch, run, smaller=smaller_groups, requests=group_requests)

    @torch.inference_mode()
    def _score_batch(self, groups: Sequence[Group], way: Way) -> list[Scored]:
        rows = [(owner, row) for owner, group in enumerate(groups) for row in group.rows]
        if way == "single":
            return [
                scored
                for owner, row in rows
                for scored in scored_rows(self.model.whole(groups[owner].context, row.target), [row])
            ]
        encoded = self.model.encoded([group.context for group in groups])
        parts: dict[int, list[tuple[int, Row]]] = {}
        for owner, row in rows:
            parts.setdefault(len(row.target) if way == "equal" else 0, []).append((owner, row))
        return [scored for part in parts.values() for scored in self._decoded(encoded, part)]

    def _decoded(self, encoded: Encoded, rows: Sequence[tuple[int, Row]]) -> list[Scored]:
        logits = self.model.logits(encoded.rows([owner for owner, _ in rows]), [row.target for _, row in rows])
        return scored_rows(logits, [row for _, row in rows])


def scored_rows(logits: torch.Tensor, rows: Sequence[Row]) -> list[Scored]:
    """Log-likelihoods of rows whose targets, one after the other, `logits` [all targets, vocabulary] predict."""
    targets = torch.tensor([token for row in rows for token in row.target], device=logits.device)
    logits = logits.float()
    logprobs = logits.gather(1, targets[:, None])[:, 0] - logits.logsumexp(dim=-1)
    sizes = [len(row.target) for row in rows]
    greedy = torch.split(logits.argmax(dim=-1) == targets, sizes)
    parts = torch.split(logprobs.double(), sizes)
    totals = [part.sum().item() for part in parts]
    return [
        Scored(
            row.request,
            total,
            bool(hits.all()),
            len(row.target),
            abs(total) < float("inf"),
            tuple(part.tolist()),
        )
        for row, total, hits, part in zip(rows, totals, greedy, parts, strict=True)
    ]

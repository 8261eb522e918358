"""Writing a text, whatever the engine: the job, the next token by transformers' own rules, and where the text ends."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchbench.backends.encode import Tokenizer
from benchbench.core.types import FinishReason, GenerateRequest, GenerationParams

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import LogitsProcessorList


@dataclass(frozen=True, slots=True)
class Job:
    """One context to continue. `seed_text` names the request, so that sampling does not depend on order."""

    context: tuple[int, ...]
    params: GenerationParams
    seed_text: str


@dataclass(frozen=True, slots=True)
class Written:
    """The text of one job, cut before its first stop string."""

    request: int
    text: str
    finish_reason: FinishReason
    num_tokens: int


def by_params(jobs: Sequence[Job]) -> dict[GenerationParams, list[int]]:
    """The places of the jobs that are to be written with the same settings."""
    found: dict[GenerationParams, list[int]] = {}
    for i, job in enumerate(jobs):
        found.setdefault(job.params, []).append(i)
    return found


def seed(job: Job) -> int:
    """A seed of the request's own, so that neither order nor batch moves what is sampled."""
    digest = hashlib.sha256(f"{job.params.seed}:{job.seed_text}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def seed_text(request: GenerateRequest) -> str:
    """Names a request for `seed`."""
    return f"{request.task}/{request.doc_id}/{request.index}"


def logits_processors(params: GenerationParams) -> LogitsProcessorList:
    """transformers' own logits processors for the arguments given, in the order `generate` applies them."""
    from transformers import (
        LogitsProcessorList,
        NoRepeatNGramLogitsProcessor,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    processors = LogitsProcessorList()
    if params.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(params.repetition_penalty))
    if params.no_repeat_ngram_size > 0:
        processors.append(NoRepeatNGramLogitsProcessor(params.no_repeat_ngram_size))
    if params.do_sample:
        if params.temperature != 1.0:
            processors.append(TemperatureLogitsWarper(params.temperature))
        if params.top_k:
            processors.append(TopKLogitsWarper(params.top_k))
        if params.top_p is not None and params.top_p < 1.0:
            processors.append(TopPLogitsWarper(params.top_p))
    return processors


class Chooser:
    """Chooses the tokens of one text. What it draws depends on the request's own seed, never on its neighbours."""

    def __init__(self, job: Job) -> None:
        params = job.params
        self.plain = not (params.do_sample or params.repetition_penalty != 1.0 or params.no_repeat_ngram_size)
        """Nothing but the most likely token is asked for, which needs no torch."""
        self._job = job
        if not self.plain:
            import torch

            self._torch = torch
            self._processors = logits_processors(params)
            self._generator = torch.Generator().manual_seed(seed(job))

    def choose(self, logits: npt.NDArray[np.float32], written: Sequence[int]) -> int:
        """The token after context and `written`; `logits` is one row, a float32 array."""
        torch = self._torch
        row = torch.from_numpy(logits.copy())[None]
        if self._processors:
            row = self._processors(torch.tensor([[*self._job.context, *written]]), row)
        if not self._job.params.do_sample:
            return int(row[0].argmax())
        return int(torch.multinomial(torch.softmax(row[0], dim=-1), 1, generator=self._generator))


class Ending:
    """Where a text ends: at an end-of-sequence token, where a stop string appears, or at the length asked for."""

    def __init__(self, tokenizer: Tokenizer, eos: frozenset[int]) -> None:
        self.tokenizer = tokenizer
        self.eos = eos
        self.think_end: str | int | None = None
        """Text or token: the answer is what stands behind the last one of it."""
        self.still_thinking = False
        """An answer ended before it."""

    def cut_thinking(self, end: str | int | None) -> None:
        """Answers begin behind the text or token that ends the model's thinking.

        A text that is a special token would be gone from what is decoded, so that its number is looked for.
        """
        added: Mapping[int, Any] = getattr(self.tokenizer, "added_tokens_decoder", {})
        special = {token.content: number for number, token in added.items() if token.special}
        self.think_end = special.get(end, end) if isinstance(end, str) else end

    def reason(self, tokens: Sequence[int], params: GenerationParams) -> FinishReason | None:
        """Why the text ends with the last of `tokens`, or None if it goes on."""
        if tokens[-1] in self.eos:
            return "eos"
        # A stop string spans at most as many tokens as it has bytes; a few more give the decoder footing.
        reach = max((len(stop.encode()) for stop in params.until), default=0) + 8
        if params.until and _has_stop(self.decode(tokens[-reach:]), params) and _has_stop(self.decode(tokens), params):
            return "stop"
        return "length" if len(tokens) >= params.max_gen_toks else None

    def written(self, request: int, tokens: Sequence[int], params: GenerationParams, reason: FinishReason) -> Written:
        """The text of `tokens`, the last of which ended it."""
        text = self.answer(tokens[:-1] if reason == "eos" else tokens)
        return Written(request, cut_at_stop(text, params.until), reason, len(tokens))

    def finished(
        self, request: int, tokens: Sequence[int], params: GenerationParams, *, pad: int | None = None
    ) -> Written:
        """The text of `tokens` that an engine ended by itself, perhaps a little late; `pad` fills a row that ended
        before its neighbours.
        """
        ended = next((k for k, token in enumerate(tokens) if token in self.eos), None)
        kept = list(tokens if ended is None else tokens[:ended])
        while ended is None and kept and kept[-1] == pad:
            kept.pop()
        raw = self.answer(kept)
        text = cut_at_stop(raw, params.until)
        reason: FinishReason = "stop" if text != raw else "length" if ended is None else "eos"
        return Written(request, text, reason, len(kept) if ended is None else ended + 1)

    def answer(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, without what was thought before it: as lm-eval cuts it."""
        if self.think_end is None:
            return self.decode(tokens)
        if isinstance(self.think_end, int):
            behind = max((place for place, token in enumerate(tokens) if token == self.think_end), default=-1) + 1
            self.still_thinking |= behind == 0
            return self.decode(tokens[behind:]).lstrip()
        parts = self.decode(tokens).split(self.think_end)
        self.still_thinking |= len(parts) == 1
        return parts[-1].lstrip()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the results should see."""
        if not self.still_thinking:
            return ()
        return (
            f"Some texts end before {self.think_end!r}, the end of thinking, at the length or at a stop string; they "
            "are scored as they are. --gen-kwargs max_gen_toks=N gives more room, until=… other stop strings.",
        )

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of the tokens, without special ones."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))


def _has_stop(text: str, params: GenerationParams) -> bool:
    return any(stop and stop in text for stop in params.until)


def cut_at_stop(text: str, until: Sequence[str]) -> str:
    """The text before the first of the stop strings."""
    for stop in until:
        if stop:
            text = text.split(stop, maxsplit=1)[0]
    return text

"""Choosing the next token with transformers' own rules, for engines that hand out logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchbench.backends.tokens import Job, seed
from benchbench.core.types import GenerationParams

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from transformers import LogitsProcessorList


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

"""The truth: transformers' own model on one text at a time, with no batch, no padding and no cache.

Nothing here is the engine's: the model is opened by transformers, texts are split and cut by rules of its own.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchbench.core.types import GenerateRequest, LoglikelihoodRequest, RollingRequest
from tests.zoo.families import Kind, opener

TIE = 1e-3
"""Two tokens whose logits are nearer than this are as likely as each other: rounding decides."""


@dataclass(frozen=True, slots=True)
class Part:
    """A context, what is scored after it, and the log-probability of each of its tokens."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Truth:
    """What one text's log-likelihood is."""

    total: float
    is_greedy: bool
    margin: float
    """The smallest lead of a best token over the second, or of the best over the scored one: below `TIE` rounding
    decides `is_greedy`."""
    parts: tuple[Part, ...] = ()
    """The texts that the model read for it, each alone."""


@dataclass(frozen=True, slots=True)
class Text:
    """What `generate` writes, alone."""

    text: str
    tokens: tuple[int, ...]
    margins: tuple[float, ...]
    """Lead of each chosen token over the second."""


class Oracle:
    """The model in `folder`, asked one text at a time."""

    def __init__(self, folder: Path, family: str, kind: Kind, max_length: int, dtype: str = "float32") -> None:
        import transformers

        self.model: Any = opener(family).from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
        self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        self.kind = kind
        self.max_length = max_length
        takes = inspect.signature(self.model.forward).parameters
        self._no_cache = {"use_cache": False} if "use_cache" in takes else {}
        self._rows: dict[tuple[int, ...], torch.Tensor] = {}

    def pair(self, request: LoglikelihoodRequest) -> Truth:
        """Log-likelihood of the continuation."""
        context = self.tokenizer(request.prompt.text)["input_ids"]
        if self.kind == "seq2seq":
            ending = self.tokenizer(request.continuation, add_special_tokens=False)["input_ids"]
            return self._encoded(context, ending)
        whole = self.tokenizer(request.prompt.text + request.continuation)["input_ids"]
        return self._scored(whole, len(context))

    def rolling(self, request: RollingRequest) -> Truth:
        """Log-likelihood of the text, window by window; each token is predicted once, from all that fits before it."""
        tokens = self.tokenizer(request.text)["input_ids"]
        found = []
        for begin in range(0, len(tokens), self.max_length):
            window = tokens[begin : begin + self.max_length]
            if self.kind == "seq2seq":
                before = tokens[begin - 1 : begin] or [self.tokenizer.bos_token_id]
                before = tokens[max(0, begin + len(window) - self.max_length - 1) : begin] or before
                found.append(self._encoded(before, window))
            elif begin == 0:
                found.append(self._scored([self.tokenizer.bos_token_id, *window], 1))
            else:
                end = begin + len(window)
                first = max(0, end - self.max_length - 1)
                found.append(self._scored(tokens[first:end], begin - first))
        return Truth(
            sum(one.total for one in found),
            all(one.is_greedy for one in found),
            min(one.margin for one in found),
            tuple(part for one in found for part in one.parts),
        )

    def _scored(self, tokens: Sequence[int], start: int) -> Truth:
        inputs = tuple(tokens[:-1])
        if inputs not in self._rows:
            self._rows[inputs] = self._logits(input_ids=torch.tensor([inputs]))
        return _truth(self._rows[inputs][start - 1 :], tokens[:start], tokens[start:])

    def _encoded(self, context: Sequence[int], ending: Sequence[int]) -> Truth:
        labels = torch.tensor([list(ending)])
        prepare = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        start = self.model.config.decoder_start_token_id
        read = prepare(labels) if prepare is not None else torch.tensor([[start, *ending[:-1]]])
        return _truth(self._logits(input_ids=torch.tensor([list(context)]), decoder_input_ids=read), context, ending)

    def _fresh(self) -> Any:
        """The model as it was opened: some change themselves for good at the first short text."""
        changes = any(hasattr(module, "set_attention_type") for module in self.model.modules())
        return copy.deepcopy(self.model) if changes else self.model

    @torch.inference_mode()
    def _logits(self, **inputs: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self._fresh()(**inputs, **self._no_cache).logits[0].float()
        return rows

    @torch.inference_mode()
    def write(self, request: GenerateRequest, *, use_cache: bool = False) -> Text:
        """The likeliest text by transformers' `generate`."""
        ids = torch.tensor([self.tokenizer(request.prompt.text)["input_ids"]])
        made = self._fresh().generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=request.params.max_gen_toks,
            do_sample=False,
            num_beams=1,
            use_cache=use_cache,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=self.tokenizer.pad_token_id,
        )
        tokens = made.sequences[0, -len(made.logits) :].tolist()
        leads = [torch.topk(row[0].float(), 2).values for row in made.logits]
        text = self.tokenizer.decode([t for t in tokens if t != self.tokenizer.eos_token_id], skip_special_tokens=True)
        for stop in request.params.until:
            text = text.split(stop)[0]
        return Text(text, tuple(tokens), tuple(float(two[0] - two[1]) for two in leads))


def _truth(logits: torch.Tensor, context: Sequence[int], targets: Sequence[int]) -> Truth:
    """Log-likelihood of `targets` after `context` from `logits` [at least as many rows, vocabulary]."""
    rows = torch.log_softmax(logits[: len(targets)].double(), -1)
    scored = rows.gather(1, torch.tensor(list(targets))[:, None])[:, 0]
    best, second = torch.topk(rows, 2).values.unbind(-1)
    is_best = rows.argmax(-1) == torch.tensor(list(targets))
    margin = float((best - second).min()) if bool(is_best.all()) else float((best - scored).max())
    part = Part(tuple(context), tuple(targets), tuple(scored.tolist()))
    return Truth(float(scored.sum()), bool(is_best.all()), margin, (part,))

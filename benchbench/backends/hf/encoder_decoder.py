"""One encoder-decoder of transformers behind the calls that scoring needs: encode, decode, and the whole at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from benchbench.backends.hf.halving import computing
from benchbench.backends.hf.head import HeadOn
from benchbench.backends.hf.seq2seq_plan import Way

SWITCH = "attention_type"
"""What BigBird's modules call the attention that they use: one short text makes them use another for ever after."""


class EncoderDecoder:
    """The model; `computed_tokens` counts encoder and decoder inputs, padding included."""

    def __init__(self, model: Any, device: torch.device, pad: int) -> None:
        self.model = model
        self.device = device
        self.pad = pad
        self.computed_tokens = 0
        self._head = _head(model)
        self._switches = _Switches(model)

    def known_fault(self, way: Way, longest: int) -> str | None:
        """Why the architecture is known to give something else for contexts of up to `longest` tokens that are computed
        that way, as the end of a sentence; None where nothing is known.
        """
        if way != "single" and self._experts_share_room():
            return "this model's experts leave tokens out when a batch brings them too many, whosever they are"
        if way == "padded" and longest > self._dense_below():
            return "this model's sparse attention looks elsewhere when a text is padded"
        return None

    def _experts_share_room(self) -> bool:
        """NLLB-MoE unless as many tokens as a batch has may go to one expert."""
        share = getattr(self.model.config, "moe_eval_capacity_token_fraction", None)
        return share is not None and not share >= 1

    def _dense_below(self) -> float:
        """Tokens up to which BigBird sees everything; which blocks of longer texts it sees depends on their number."""
        config: Any = getattr(self.model.get_encoder(), "config", None)
        if getattr(config, SWITCH, None) != "block_sparse":
            return float("inf")
        return (5 + 2 * int(config.num_random_blocks)) * int(config.block_size)

    def encoded(self, contexts: Sequence[Sequence[int]]) -> Encoded:
        """What the encoder makes of each context, padded on the right."""
        ids, mask = self.padded(contexts)
        self.computed_tokens += ids.numel()
        with self.reading(ids.shape[1]):
            output = self.model.get_encoder()(input_ids=ids, attention_mask=mask)
        return Encoded(ids, mask, output)

    def logits(self, encoded: Encoded, targets: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [all targets, vocabulary] of each target after the context in the same row of `encoded`.

        The head runs on the wanted decoder positions alone.
        """
        inputs, mask = self.padded([self.decoder_inputs(tokens) for tokens in targets])
        wanted = mask.bool()
        self.computed_tokens += inputs.numel()
        pick = HeadOn(self._head, wanted.shape, lambda states: states[wanted])
        with computing(self.model), pick as head:
            output = self.model(
                # Not encoded again; but without them FSMT leaves out the decoder's causal mask.
                input_ids=encoded.ids,
                attention_mask=encoded.mask,
                encoder_outputs=encoded.output,
                decoder_input_ids=inputs,
                use_cache=False,
            )
            return head.logits(output.logits)

    def whole(self, context: Sequence[int], target: Sequence[int]) -> torch.Tensor:
        """Logits [target, vocabulary] of one pair alone, through the whole model: no padding, no mask."""
        ids = torch.tensor([list(context)], device=self.device)
        inputs = torch.tensor([self.decoder_inputs(target)], device=self.device)
        self.computed_tokens += ids.numel() + inputs.numel()
        with self.reading(ids.shape[1]):
            logits: torch.Tensor = self.model(input_ids=ids, decoder_input_ids=inputs, use_cache=False).logits[0]
        return logits

    @contextmanager
    def reading(self, width: int) -> Iterator[None]:
        """For calls that encode texts of `width` tokens, padding included: as if the model had read none before."""
        self._switches.before(width)
        with computing(self.model):
            yield
        self._switches.after(width)

    def decoder_inputs(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """What the decoder reads to predict `tokens`: as the model's own training shifts them, one row at a time,
        because models that move the last token to the front (mBART) would take padding for it.
        """
        shift = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
        if shift is None:
            return (int(self.model.config.decoder_start_token_id), *tokens[:-1])
        shifted: list[int] = shift(torch.tensor([list(tokens)])).reshape(-1).tolist()
        return tuple(shifted)

    def padded(self, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """(ids, mask), both [rows, longest], padded on the right."""
        width = max(len(row) for row in rows)
        ids = torch.full((len(rows), width), self.pad, dtype=torch.long)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for r, row in enumerate(rows):
            ids[r, : len(row)] = torch.tensor(row)
            mask[r, : len(row)] = 1
        return ids.to(self.device), mask.to(self.device)


class Encoded:
    """Contexts, and what the encoder made of them: in its own class, which the decoder of a family may ask for more
    than states (NLLB-MoE).
    """

    def __init__(self, ids: torch.Tensor, mask: torch.Tensor, output: Any) -> None:
        self.ids, self.mask, self.output = ids, mask, output

    def rows(self, owners: Sequence[int]) -> Encoded:
        """The contexts `owners`, one a row; a context may come more than once."""
        index = torch.tensor(owners, device=self.ids.device)

        def taken(value: Any) -> Any:
            is_by_row = isinstance(value, torch.Tensor) and value.shape[:1] == self.ids.shape[:1]
            return value[index] if is_by_row else value

        output = type(self.output)(**{name: taken(value) for name, value in self.output.items()})
        return Encoded(self.ids[index], self.mask[index], output)


class _Switches:
    """Modules that change for good when they read a short text are changed back before a longer one."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._own = [
            (module, getattr(module, SWITCH), dict(module._modules))
            for module in model.modules()
            if isinstance(getattr(module, SWITCH, None), str)
        ]
        self._short = -1
        """Width up to which the changed modules are right."""

    def before(self, width: int) -> None:
        if width > self._short and self._changed():
            for module, kind, inner in self._own:
                setattr(module, SWITCH, kind)
                module._modules.update(inner)

    def after(self, width: int) -> None:
        if self._changed():
            self._short = max(self._short, width)

    def _changed(self) -> bool:
        return any(getattr(module, SWITCH) != kind for module, kind, _ in self._own)


def _head(model: Any) -> Any:
    """The layer that gives logits; FSMT names the table that has its weights."""
    head = model.get_output_embeddings()
    if not isinstance(head, torch.nn.Embedding):
        return head
    layers = (module for module in model.modules() if isinstance(module, torch.nn.Linear))
    return next((layer for layer in layers if layer.weight is head.weight), None)

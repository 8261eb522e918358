"""One causal transformers model: a forward pass, what it keeps of the tokens it has read, and how many it was given."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import (
    DynamicLayer,
    DynamicSlidingWindowLayer,
    LinearAttentionAndFullAttentionLayer,
    LinearAttentionAndSlidingWindowAttentionLayer,
    LinearAttentionCacheLayerMixin,
)

from benchbench.backends.hf.cache import (
    CannotShareError,
    Kept,
    Past,
    beside,
    cache_of,
    counting,
    joined,
    keys_values,
    of_rows,
)
from benchbench.backends.hf.habits import GoesOn, Habits, Steps, habits_of
from benchbench.backends.hf.halving import computing
from benchbench.backends.hf.head import HeadOn

PASTS = ("past_key_values", "cache_params", "state")
"""What models call their past among the arguments of `forward`, and in what it returns."""
PASS_TOKENS = {"cpu": 64, "cuda": 2_048}
"""What one more pass costs, in tokens."""

NEVER = (
    "This model keeps a state that cannot be shared between requests: each prompt is read on its own, and anew for "
    "every token that is written, which is slow."
)
STEPS = "Only single tokens can follow this model's state: a prefix that docs share is read anew for each of them."
APART = "Texts of unlike lengths cannot go on together in this model: only those of one length are written together."
MIXES = "This model mixes rows that go on by one token each: every text is written in passes of its own."


class TokensGiven:
    """Meanwhile counts the tokens of every forward pass of a model, whoever calls it: beams and what is read again."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.tokens = 0
        self._model = model

    def __enter__(self) -> TokensGiven:
        self._hook = self._model.register_forward_pre_hook(self._count, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _count(self, _: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        self.tokens += 0 if ids is None else ids.numel()


def _hands_positions_on(model: Any) -> bool:
    """Whether a model with towers gives positions to its model of text among other keyword arguments."""
    takes_any = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(model.forward).parameters.values())
    inner = model.get_decoder() if takes_any and hasattr(model, "get_decoder") else model
    return inner is not model and "position_ids" in inspect.signature(inner.forward).parameters


class CausalModel:
    """A causal language model behind the few calls that scoring and generating need."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.computed_tokens = 0
        """Tokens that went through the model, padding included."""
        self._accepted = frozenset(inspect.signature(model.forward).parameters)
        self.takes_positions = "position_ids" in self._accepted or _hands_positions_on(model)
        self.takes_mask = "attention_mask" in self._accepted
        self._past_name = next((name for name in PASTS if name in self._accepted), PASTS[0])
        self.keeps_states = _keeps_states(model, self._past_name)
        """Its past is more than keys and values: states of fixed size, which are copied rather than shared."""
        self.steps: Steps = "together"
        """How several rows go on by one token each."""
        self._inner = _InnerStates(model) if self.keeps_states else None
        self.find_head()

    def find_head(self) -> None:
        """Looks for the output head, in whose place another module stands where the weights were exchanged."""
        self._head: Any = self.model.get_output_embeddings()

    @torch.inference_mode()
    def logits(
        self,
        ids: torch.Tensor,
        rows: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        past: Any = None,
        keep_past: bool = False,
    ) -> tuple[torch.Tensor, Any]:
        """Logits [len(rows), vocabulary] of the flat positions `rows` of `ids` [batch, tokens], and the past.

        The head runs on those positions alone. A `past` is written into.
        """
        are_steps = past is not None and ids.shape[1] == 1 < len(ids)
        if are_steps and self.steps == "apart":
            return self._row_by_row(ids, rows, mask, positions, past)
        kwargs: dict[str, Any] = {"input_ids": ids}
        if mask is not None:
            # Without attention the mask says which of the tokens given are padding; their past has no columns.
            kwargs["attention_mask"] = mask[:, -ids.shape[1] :] if self._past_name == "cache_params" else mask
        if positions is not None and self.takes_positions:
            kwargs["position_ids"] = positions
        if past is None and keep_past:
            past = self._empty_past()
        elif past is not None and self._inner is not None:
            past = counting(self._inner.put_back(past))
        are_beside = are_steps and self.steps == "beside"
        if past is not None:
            kwargs[self._past_name] = beside(past) if are_beside else past
        if "use_cache" in self._accepted:
            kwargs["use_cache"] = keep_past or past is not None
        self.computed_tokens += ids.numel()
        pick = HeadOn(
            self._head, ids.shape, lambda states: states.reshape(-1, states.shape[-1])[rows.to(states.device)]
        )
        with computing(self.model), pick as head:
            output = self.model(**kwargs)
            filled = getattr(output, self._past_name, None)
            filled = past if filled is None or are_beside else filled
            if self._inner is not None and keep_past:
                filled = self._inner.taken_out(filled)
            return head.logits(output.logits), filled

    def _row_by_row(
        self,
        ids: torch.Tensor,
        rows: torch.Tensor,
        mask: torch.Tensor | None,
        positions: torch.Tensor | None,
        past: Any,
    ) -> tuple[torch.Tensor, Any]:
        """The same as `logits` for one token a row, each row in a pass of its own."""
        parts, kept = [], []
        order = torch.arange(len(ids), device=self.device)
        for row in torch.tensor_split(order, len(ids)):
            one, filled = self.logits(
                ids[row],
                order[:1],
                mask=None if mask is None else mask[row],
                positions=None if positions is None else positions[row],
                past=of_rows(past, row, len(ids)),
                keep_past=True,
            )
            parts.append(one)
            kept.append(Kept(filled, 1, 1))
        return torch.cat(parts)[rows], joined(kept, order).held

    def _empty_past(self) -> Any:
        """A past that keeps every token; one made by the model may drop what its window has passed."""
        if not self.keeps_states:
            return DynamicCache()
        return _own_cache(self.model) if _takes_dynamic_cache(self.model) else None

    def read(
        self, texts: Sequence[Sequence[int]], rows: torch.Tensor, past: Kept | None = None
    ) -> tuple[torch.Tensor, Kept]:
        """Read texts behind `past`, which is written into: logits of the flat positions `rows` of the texts laid flush
        right, and what is kept of everything read. Texts have one length, unless the model `pads` and there is no past.
        """
        start, width = 0 if past is None else past.tokens, max(len(text) for text in texts)
        pads = [width - len(text) for text in texts]
        ids = torch.tensor([[0] * pad + [*text] for pad, text in zip(pads, texts, strict=True)], device=self.device)
        columns = torch.arange(start + width, device=self.device) - torch.tensor(pads, device=self.device)[:, None]
        logits, filled = self.logits(
            ids,
            rows,
            mask=(columns >= 0).long() if self.takes_mask else None,
            positions=columns[:, start:].clamp(min=0),
            past=None if past is None else past.held,
            keep_past=True,
        )
        return logits, Kept(filled, len(texts), start + width)

    def prefix(self, ids: Sequence[int], start: int, past: Past | None) -> Past | None:
        """What the model keeps of a whole prefix, of which the first `start` tokens are in `past`.

        None where nothing but single tokens can follow it: then it is better read again with what follows.
        """
        last = torch.tensor([len(ids) - start - 1], device=self.device)
        if self.keeps_states:
            if self.goes_on != "tokens":
                return None
            own = past.taken(torch.zeros(1, dtype=torch.long, device=self.device)) if isinstance(past, Kept) else None
            return self.read([ids[start:]], last, own)[1]
        cache = cache_of(past) if isinstance(past, list) else None
        new = torch.tensor([ids[start:]], device=self.device)
        positions = torch.arange(start, len(ids), device=self.device)[None]
        mask = torch.ones(1, len(ids), dtype=torch.long, device=self.device) if self.takes_mask else None
        _, filled = self.logits(new, last, mask=mask, positions=positions, past=cache, keep_past=True)
        states = keys_values(filled)
        if states[0][0].shape[2] != len(ids):
            raise CannotShareError(f"the past holds {states[0][0].shape[2]} tokens after {len(ids)} were read")
        return states

    @property
    def goes_on(self) -> GoesOn:
        """What may follow what the model keeps."""
        return self._habits.goes_on if self.keeps_states else "tokens"

    @property
    def pads(self) -> bool:
        """Whether texts of unlike lengths may be read together, padded on the left."""
        return not self.keeps_states or self._habits.pads

    @property
    def joins(self) -> bool:
        """Whether texts of unlike lengths may go on together."""
        return not self.keeps_states or self._habits.joins

    @property
    def reorders(self) -> bool:
        """Whether transformers' beam search may keep a past: all of it must be moved from beam to beam."""
        if not self.keeps_states:
            return True
        moves = _takes_dynamic_cache(self.model) and self._inner is not None and not self._inner.found
        return moves and self.steps == "together" and self.goes_on != "never"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how a model that keeps states was used."""
        if not self.keeps_states:
            return ()
        if self.goes_on == "never":
            return (NEVER,)
        seen = {STEPS: self.goes_on == "steps", APART: not self.joins, MIXES: self.steps == "apart"}
        return tuple(note for note, holds in seen.items() if holds)

    @cached_property
    def _habits(self) -> Habits:
        """How a model that keeps states may be used, found by trying: some forget them where several tokens
        follow, some take padding for text.
        """
        return habits_of(self)


class _InnerStates:
    """States that modules of a model hold in attributes of their own, beside the cache, as RecurrentGemma's do."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._places: list[tuple[torch.nn.Module, str]] | None = None

    def taken_out(self, cache: Any) -> Any:
        """The cache after a pass, with the states beside it where there are any."""
        if self._places is None:
            self._places = [
                (module, name)
                for module in self._model.modules()
                for name, value in vars(module).items()
                if isinstance(value, torch.Tensor) and name.endswith(("_state", "_states"))
            ]
        return (cache, [getattr(module, name) for module, name in self._places]) if self._places else cache

    @property
    def found(self) -> bool:
        """Whether there are any."""
        return bool(self._places)

    def put_back(self, held: Any) -> Any:
        """The cache of what was taken out, its states where the modules look for them."""
        if not self._places:
            return held
        cache, states = held
        for (module, name), state in zip(self._places, states, strict=True):
            setattr(module, name, state)
        return cache


def _takes_dynamic_cache(model: Any) -> bool:
    supports = getattr(model, "_supports_default_dynamic_cache", None)
    return supports is None or bool(supports())


def _keeps_states(model: Any, past_name: str) -> bool:
    if past_name != PASTS[0] or not _takes_dynamic_cache(model):
        return True
    try:
        layers = _own_cache(model).layers
    except (AttributeError, KeyError, TypeError, ValueError):  # code of its own, with a configuration of its own
        return False
    return any(isinstance(layer, LinearAttentionCacheLayerMixin) for layer in layers)


def _own_cache(model: Any) -> DynamicCache:
    """The empty cache of this architecture. Sliding layers keep every token: the mask hides what they passed."""
    cache = DynamicCache(config=model.config.get_text_config(decoder=True))
    cache.layers = [_without_window(layer) for layer in cache.layers]
    return cache


def _without_window(layer: Any) -> Any:
    if isinstance(layer, LinearAttentionAndSlidingWindowAttentionLayer):
        return LinearAttentionAndFullAttentionLayer(number_of_states=layer.number_of_states)
    return DynamicLayer() if isinstance(layer, DynamicSlidingWindowLayer) else layer  # type: ignore[no-untyped-call]

"""Keys and values of a shared prefix: taken out of one pass, handed to many rows without a copy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

KeysValues = tuple[torch.Tensor, torch.Tensor]
"""Keys and values of one layer, each [rows, heads, tokens, head size]."""


class CannotShareError(Exception):
    """This model does not keep its past in a way that can be shared between rows."""


class ReservedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A cache layer with room for `reserve` more tokens, so that generating does not copy the past each step."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, reserve: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dtype, self.device = keys.dtype, keys.device
        self.length = keys.shape[2]
        self._keys, self._values = _with_room(keys, reserve), _with_room(values, reserve)
        self.is_initialized = True
        self._show()

    def _show(self) -> None:
        self.keys, self.values = self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new keys and values behind the old ones; grows when the reserve is used up."""
        end = self.length + key_states.shape[2]
        if end > self._keys.shape[2]:
            self._keys, self._values = _with_room(self._keys, end), _with_room(self._values, end)
        self._keys[:, :, self.length : end] = key_states
        self._values[:, :, self.length : end] = value_states
        self.length = end
        self._show()
        return self._keys[:, :, :end], self._values[:, :, :end]

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Forget all rows but these."""
        self._keys, self._values = self._keys[rows], self._values[rows]
        self._show()


def _with_room(states: torch.Tensor, reserve: int) -> torch.Tensor:
    rows, heads, tokens, size = states.shape
    wide = states.new_empty(rows, heads, tokens + reserve, size)
    wide[:, :, :tokens] = states
    return wide


def keys_values(cache: Any) -> list[KeysValues]:
    """The layers of a cache that a forward pass has filled.

    Raises:
        CannotShareError: the past is not plain keys and values per layer (state-space or custom models).
    """
    layers = getattr(cache, "layers", None)
    if not layers:
        raise CannotShareError(f"the model's past is a {type(cache).__name__} without layers")
    result = []
    for layer in layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if not isinstance(layer, DynamicLayer) or keys is None or values is None or keys.dim() != 4:
            raise CannotShareError(f"a layer of the model's past is a {type(layer).__name__}")
        result.append((keys, values))
    return result


def cache_of(states: Iterable[KeysValues], *, reserve: int = 0) -> DynamicCache:
    """A cache that starts with `states`; with `reserve` the tokens to come are written in place."""
    cache = DynamicCache()
    layers: list[DynamicLayer] = []
    for keys, values in states:
        if reserve:
            layers.append(ReservedLayer(keys, values, reserve))
            continue
        layer = DynamicLayer()  # type: ignore[no-untyped-call]
        layer.dtype, layer.device = keys.dtype, keys.device
        layer.keys, layer.values, layer.is_initialized = keys, values, True
        layers.append(layer)
    cache.layers = list(layers)
    return cache


def expanded(states: Sequence[KeysValues], rows: int) -> list[KeysValues]:
    """The states of one row shown as `rows` rows: views, no copy."""
    return [(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1)) for keys, values in states]


def shifted(states: Sequence[KeysValues], shifts: torch.Tensor) -> Iterator[KeysValues]:
    """One row's states repeated, each copy moved right by its shift; what moves out at the end is lost.

    The places that become free on the left hold arbitrary values and must be masked. `shifts` is
    [rows], on the states' device. Layer by layer, so that no more than one is held twice.
    """
    tokens = states[0][0].shape[2]
    index = (torch.arange(tokens, device=shifts.device)[None, :] - shifts[:, None]).clamp(min=0)
    for keys, values in states:
        yield keys[0][:, index].transpose(0, 1), values[0][:, index].transpose(0, 1)


def repeated(states: Sequence[KeysValues], rows: torch.Tensor) -> list[KeysValues]:
    """The states of the named rows, in that order, with repeats."""
    return [(keys[rows], values[rows]) for keys, values in states]

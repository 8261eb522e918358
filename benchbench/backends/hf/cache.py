"""What a model keeps of a shared prefix: taken out of one pass, handed to many rows.

Plain keys and values are handed on without a copy and can be moved; a state of fixed size is copied for each row.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from transformers import DynamicCache, PretrainedConfig
from transformers.cache_utils import DynamicLayer

KeysValues: TypeAlias = tuple[torch.Tensor, torch.Tensor]
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

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> ReservedLayer:
        """A layer of the changed keys and values, with the room that these have."""
        new = copy.copy(self)
        new._keys, new._values = change(self._keys), change(self._values)
        new._show()
        return new


class CountingLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer without keys of its own, such as a linear one of MiniMax, as long as the layers that have keys: models
    make their masks as wide as the first layer says it is.
    """

    def __init__(self, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.length = length

    def get_seq_length(self) -> int:
        """Tokens that were read."""
        return super().get_seq_length() if self.is_initialized else self.length


class StatesBeside:
    """What RWKV keeps of the token before, [rows, size, layers], given as [rows, 1, size] where single tokens follow.

    transformers reads [rows, size] there and adds it to [rows, 1, size], which mixes the rows.
    """

    def __init__(self, states: torch.Tensor) -> None:
        self.states = states

    def __getitem__(self, index: Any) -> torch.Tensor:
        return self.states[index][:, None]

    def __setitem__(self, index: Any, value: torch.Tensor) -> None:
        self.states[index] = value


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


@dataclass(frozen=True, slots=True)
class Kept:
    """What a model keeps of rows that have read equally many tokens, in its own form: keys and values of attention
    layers, states of fixed size of others. A model writes into it, so that every use takes a copy of its own.
    """

    held: Any
    """What `forward` returned, a cache of transformers or a list of tensors; their first dimension is the row."""
    rows: int
    tokens: int
    """How many each row has read; where rows were joined, the most."""

    def taken(self, rows: torch.Tensor) -> Kept:
        """A copy of the named rows, in that order, with repeats."""
        return Kept(of_rows(self.held, rows, self.rows), len(rows), self.tokens)


def joined(parts: Sequence[Kept], order: torch.Tensor) -> Kept:
    """Rows of unlike lengths in one: the row at place `order[i]` of the parts laid end to end becomes row i.

    Keys and values are padded on the left, which must be masked; states have one size whatever was read.

    Raises:
        CannotShareError: something in them grows with the tokens and is neither keys nor values.
    """
    # Whatever is no tensor, such as a count of the tokens read, is that of the longest rows.
    by_length = sorted(range(len(parts)), key=lambda i: -parts[i].tokens)
    starts = [sum(part.rows for part in parts[:i]) for i in range(len(parts))]
    sources = [torch.arange(starts[i], starts[i] + parts[i].rows) for i in by_length]
    places = torch.argsort(torch.cat(sources))[order.cpu()].to(order.device)

    def side_by_side(found: Sequence[torch.Tensor], grows: bool) -> torch.Tensor:
        if grows:
            widest = max(tensor.shape[2] for tensor in found)
            found = [torch.nn.functional.pad(t, (0, 0, widest - t.shape[2], 0)) for t in found]
        if len({tensor.shape[1:] for tensor in found}) > 1:
            raise CannotShareError("what the model keeps of texts of unlike lengths cannot be put side by side")
        return torch.cat(list(found))[places]

    ordered = [parts[i] for i in by_length]
    held = _joined([part.held for part in ordered], [part.rows for part in ordered], side_by_side)
    return Kept(held, len(order), ordered[0].tokens)


def _joined(
    nodes: Sequence[Any], rows: Sequence[int], join: Callable[[Sequence[torch.Tensor], bool], torch.Tensor]
) -> Any:
    """A copy of the first of equally built `nodes`, in which every tensor with one entry a row is `join` of theirs.

    `join` is told whether the tensors are keys or values, [rows, heads, tokens, head size].
    """
    first = nodes[0]
    if isinstance(first, ReservedLayer):
        return first.changed(lambda states: join([states], False))
    if isinstance(first, torch.Tensor):
        by_row = all(node.dim() and node.shape[0] == count for node, count in zip(nodes, rows, strict=True))
        return join(nodes, False) if by_row else first.clone()
    if isinstance(first, list | tuple):
        return type(first)(_joined(parts, rows, join) for parts in zip(*nodes, strict=True))
    if isinstance(first, dict):
        return {key: _joined([node[key] for node in nodes], rows, join) for key in first}
    if not _is_holder(first):
        return first
    new = copy.copy(first)
    for name, value in vars(first).items():
        values = [getattr(node, name) for node in nodes]
        is_growing = name in ("keys", "values") and isinstance(first, DynamicLayer) and value is not None
        setattr(new, name, join(values, True) if is_growing and value.dim() == 4 else _joined(values, rows, join))
    return new


def _is_holder(node: object) -> bool:
    """Whether an object's attributes are part of a cache: a cache itself, or one of its layers."""
    return hasattr(node, "__dict__") and not isinstance(node, type | torch.nn.Module | PretrainedConfig)


Past: TypeAlias = list[KeysValues] | Kept
"""What a model keeps of a prefix: keys and values of every layer where that is all, else whatever it is."""


def growing(held: Any, reserve: int) -> Any:
    """The same cache, whose plain keys and values have room for `reserve` more tokens."""
    layers = getattr(held, "layers", None) or []
    for place, layer in enumerate(layers):
        if type(layer) is DynamicLayer and layer.keys is not None and layer.values is not None:
            layers[place] = ReservedLayer(layer.keys, layer.values, reserve)
    return held


def counting(held: Any) -> Any:
    """The same cache, whose layers without keys are as long as those with keys."""
    layers = getattr(held, "layers", None) or []
    plain = [layer for layer in layers if isinstance(layer, DynamicLayer)]
    lengths = {layer.keys.shape[2] for layer in plain if layer.keys is not None and layer.keys.dim() == 4}
    for place, layer in enumerate(layers):
        if lengths and type(layer) in (DynamicLayer, CountingLayer) and not layer.is_initialized:
            layers[place] = CountingLayer(max(lengths))
    return held


def beside(held: Any) -> Any:
    """RWKV's states, for rows that go on by one token each; anything else as it is."""
    is_list = isinstance(held, list) and all(isinstance(one, torch.Tensor) for one in held)
    return [*map(StatesBeside, held[:2]), *held[2:]] if is_list else held


def of_rows(held: Any, rows: torch.Tensor, count: int) -> Any:
    """A copy of the named rows of a past of `count` rows, in that order, with repeats."""
    return _joined([held], [count], lambda found, _: found[0][rows])


def narrowed(held: Any, rows: torch.Tensor, count: int) -> Any:
    """The named rows of a past of `count` rows, which is given up: a layer at a time where it has layers, so that no
    more than one is held twice.
    """
    if type(held) is not DynamicCache:
        return of_rows(held, rows, count)
    for place, layer in enumerate(held.layers):
        held.layers[place] = of_rows(layer, rows, count)
    return held

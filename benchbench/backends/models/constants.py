"""Tensors of a checkpoint that its model does not read: constants of former versions, or another model's weights.

Former versions of transformers wrote masks, positions and frequencies beside the weights; today's classes compute them.
A constant is told by what it holds, not by the family: it is what today's model holds itself under that name, a
triangle, a mask's value, frequencies of the configuration's base, a table of sines, a list of positions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbench.backends.models.files import ModelSource, and_more, safetensors_header, weight_files
from benchbench.backends.models.identity import load_pickle
from benchbench.core.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

Stored = Callable[[str], "torch.Tensor | None"]
"""The tensor of that name in the files, or None where they have none."""

MASKING = 9_000
"""A number of this size is no weight: it hides a position from attention."""
PACKED = ("torch.int8", "torch.uint8", "torch.int32")
"""Types that quantised weights are packed into; tensors of other whole numbers are positions and counts."""
BASES = ("rope_theta", "rope_local_base_freq", "rotary_emb_base", "rotary_base")
DEFAULT_BASE = 10_000
MARKS = re.compile(r"version|_float_tensor|num_batches_tracked")
"""Names of single numbers that only say who wrote the file."""
TOLERANCE = 0.02
"""Of a stored constant, relative: half precision rounds it."""


def check_ignored(model: PreTrainedModel, keys: Iterable[str], stored: Stored, name: str) -> None:
    """ModelError where one of the tensors `keys`, which `model` did not read, is part of its layers and no constant."""
    modules = dict(model.named_modules())
    ignored = sorted(key for key in keys if _belongs(key, modules) and not _is_stored_constant(model, key, stored))
    if not ignored:
        return
    raise ModelError(
        f"{name} has {ignored[0]}{and_more(ignored)}, which transformers' {type(model).__name__} would ignore, "
        "so every score would be wrong."
    )


def _belongs(key: str, modules: dict[str, Any]) -> bool:
    """Whether the tensor's place is in the model: beside other tensors of a module, or inside a numbered layer.

    Whole parts that the class does not have, such as a second head or layers for drafting, take no part in its answer.
    """
    place = key.rpartition(".")[0]
    if place in modules:
        return True
    while place and place not in modules:
        place = place.rpartition(".")[0]
    return any(part.isdecimal() for part in place.split("."))


def _is_stored_constant(model: PreTrainedModel, key: str, stored: Stored) -> bool:
    tensor = stored(key)
    return tensor is not None and tensor.numel() > 0 and is_constant(model, key, tensor)


def is_constant(model: PreTrainedModel, key: str, tensor: torch.Tensor) -> bool:
    """Whether `tensor` is one that the class computes itself, or that takes no part in its answer."""
    own = dict(model.named_buffers()).get(key)
    if own is not None and own.ndim == tensor.ndim:
        if _agree(own, tensor):
            return True
        if _is_band(tensor):
            return False
    leaf = key.rpartition(".")[2]
    return (
        _is_positions(tensor)
        or _is_masking(tensor)
        or _is_band(tensor)
        or _is_sines(tensor)
        or (tensor.numel() == 1 and MARKS.fullmatch(leaf) is not None)
        or ("freq" in leaf and _is_frequencies(model, tensor))
        or (leaf.startswith(("cos", "sin")) and _is_wave(tensor))
        or (("alibi" in leaf or "slopes" in leaf) and _is_slopes(tensor))
    )


def _agree(own: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether both hold the same numbers where both have some: a table may be longer than today's."""
    common = tuple(slice(min(pair)) for pair in zip(own.shape, tensor.shape, strict=True))
    ours, theirs = own[common].cpu().float(), tensor[common].float()
    return ours.numel() > 0 and _close(ours, theirs)


def _close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Equal but for rounding."""
    return bool(((ours - theirs).abs() <= TOLERANCE * ours.abs() + 1e-6).logical_or(ours == theirs).all())


def _is_positions(tensor: torch.Tensor) -> bool:
    """Whole numbers or yes and no: a single number, a row, or of a type that no weights are packed into."""
    if tensor.is_floating_point() or tensor.is_complex():
        return False
    return tensor.ndim < 2 or str(tensor.dtype) not in PACKED


def _is_masking(tensor: torch.Tensor) -> bool:
    """One number, once or many times, that no weight has."""
    values = tensor.float()
    first = values.flatten()[0]
    return bool(first.abs() >= MASKING) and bool((values == first).all())


def _is_band(tensor: torch.Tensor) -> bool:
    """A causal mask, each position with itself and some or all before it: of ones and zeros, or added to the logits."""
    if tensor.ndim < 2 or tensor.shape[-1] != tensor.shape[-2] or tensor.shape[-1] < 2:
        return False
    masks = tensor.reshape(-1, *tensor.shape[-2:])
    values = masks[0].float()
    hidden = values.abs() >= MASKING
    seen = values == (0 if hidden.any() else 1)
    if not bool((seen | hidden | (values == 0)).all()) or not bool((masks == masks[:1]).all()):
        return False
    width = int(seen[-1].sum())
    full = values.new_ones(values.shape).bool()
    return width > 0 and bool((seen == (full.tril() & full.triu(1 - width))).all())


def _is_sines(tensor: torch.Tensor) -> bool:
    """A table of positions: the sine and cosine of each angle side by side, or in two halves; padding is a zero row."""
    if tensor.ndim < 2 or tensor.shape[-1] % 2 or not tensor.is_floating_point():
        return False
    table = tensor.reshape(-1, tensor.shape[-1]).float()
    rows = table[table.abs().sum(-1) > 0]
    half = table.shape[-1] // 2
    pairs = ((rows[:, :half], rows[:, half:]), (rows[:, 0::2], rows[:, 1::2]))
    return len(rows) > 1 and any(bool(((a * a + b * b - 1).abs() <= TOLERANCE).all()) for a, b in pairs)


def _is_wave(tensor: torch.Tensor) -> bool:
    """A table of sines alone, or of cosines: between -1 and 1, and at the first position all 0, or all 1."""
    table = tensor.reshape(-1, tensor.shape[-1]).float() if tensor.ndim else tensor.float().reshape(1, 1)
    return (
        bool((table.abs() <= 1 + TOLERANCE).all()) and bool((table[0] == table[0][0]).all()) and table[0][0] in (0, 1)
    )


def _is_frequencies(model: PreTrainedModel, tensor: torch.Tensor) -> bool:
    """Rotary frequencies: those that the model holds, or those of its configuration's base before any scaling."""
    import torch

    found = tensor.float().flatten()
    held = [own for name, own in model.named_buffers() if "freq" in name and own.numel() == found.numel()]
    steps = torch.arange(found.numel()) / found.numel()
    made = [base**-steps for base in _bases(model.config.to_dict())]
    return any(_close(own.cpu().float().flatten(), found) for own in [*held, *made])


def _bases(config: Any) -> list[float]:
    named = list(_numbers(config))
    return named or [DEFAULT_BASE]


def _numbers(config: Any) -> Iterator[float]:
    for key, value in config.items():
        if key in BASES and isinstance(value, int | float):
            yield float(value)
        elif isinstance(value, dict):
            yield from _numbers(value)


def _is_slopes(tensor: torch.Tensor) -> bool:
    """ALiBi: a factor of each head, which are powers, or the distances multiplied by it, which grow evenly."""
    values = tensor.float()
    if not values.ndim or values.shape[-1] < 3:
        return True
    ratios = values[..., 1:] / values[..., :-1]
    return _is_even(values) or _close(ratios[..., 1:], ratios[..., :-1])


def _is_even(values: torch.Tensor) -> bool:
    steps = values.diff(dim=-1)
    return bool(((steps - steps[..., :1]).abs() <= TOLERANCE * steps.abs() + 1e-6).all())


def stored_in(source: ModelSource) -> Stored:
    """The tensor that transformers calls by a name, from the weight files of a folder; torch files are read once."""
    pickled = cache(load_pickle)

    def find(key: str) -> torch.Tensor | None:
        for path in () if source.gguf_file else weight_files(source.folder):
            is_safe = path.suffix == ".safetensors"
            name = _stored_under(tuple(map(str, safetensors_header(path) if is_safe else pickled(path))), key)
            if name is not None:
                return _read_tensor(path, name) if is_safe else pickled(path)[name]
        return None

    return find


def _read_tensor(path: Path, name: str) -> torch.Tensor:
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        tensor: torch.Tensor = file.get_tensor(name)
    return tensor


def _stored_under(names: Sequence[str], key: str) -> str | None:
    """The name in a file of the tensor that transformers calls `key`: with or without the model's own prefix."""
    if key in names:
        return key
    return next((name for name in names if key.endswith(f".{name}") or name.endswith(f".{key}")), None)

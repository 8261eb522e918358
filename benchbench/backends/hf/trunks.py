"""Trunks: rows are read up to where their branches begin or their texts are written, and what a model keeps of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from benchbench.backends.hf.cache import Kept, KeysValues, Past, cache_of, growing, joined, keys_values, shifted
from benchbench.backends.hf.model import PASS_TOKENS, CausalModel

Item = TypeVar("Item")


@dataclass(slots=True)
class LeftPadded:
    """Rows of a common width, padded on the left of block and trunk alike.

    All tensors are [rows, ...]. `past` covers the first `past_width` columns, `ids` the rest.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    past: Iterator[KeysValues] | None
    """Made layer by layer when first read; can be read once."""
    width: int


def left_padded(
    block_tokens: tuple[int, ...],
    states: list[KeysValues] | None,
    trunks: Sequence[Sequence[int]],
    device: torch.device,
) -> LeftPadded:
    """Lay `block + trunk` rows flush right. Where a trunk is shorter than the longest, its row reads the
    block's last tokens again instead of padding between block and trunk, so no row has a hole.
    """
    start, longest = len(block_tokens), max(len(trunk) for trunk in trunks)
    width = start + longest
    ids = torch.zeros(len(trunks), longest, dtype=torch.long)
    pads = torch.tensor([longest - len(trunk) for trunk in trunks])
    for r, trunk in enumerate(trunks):
        text = (*block_tokens, *trunk)[-longest:]
        ids[r, longest - len(text) :] = torch.tensor(text)
    # Column 0 of the text is column `pads` of the row. The block's keys move right by as much (`shifted`), so its last
    # `pads` tokens fall out of the past, and they are the ones that `text` reads again.
    columns = torch.arange(width)[None, :] - pads[:, None]
    mask = (columns >= 0).long()
    positions = columns[:, start:].clamp(min=0)
    past = shifted(states, pads.to(device)) if states is not None else None
    return LeftPadded(ids.to(device), mask.to(device), positions.to(device), past, width)


@dataclass(slots=True)
class Trunks:
    """Rows that were read."""

    logits: torch.Tensor
    """[wanted positions, vocabulary], in the order in which they were asked for."""
    past: Any
    """What `forward` goes on from; it writes into it."""
    mask: torch.Tensor
    """[rows, tokens]: which of the past's keys are the row's own."""


def read_trunks(
    model: CausalModel,
    block: Sequence[int],
    past: Past | None,
    trunks: Sequence[Sequence[int]],
    wanted: torch.Tensor,
    *,
    reserve: int | None = 0,
    most: int | None = None,
) -> Trunks:
    """Read each of `trunks` behind the block, which is kept in `past`; None where there is none or it was not read.

    `wanted` are flat positions of the trunks laid flush right, [rows, longest trunk]. With `reserve` there is room
    for so many tokens more; with None nothing can follow. States are made in passes of at most `most` tokens.
    """
    if model.keeps_states:
        return _read_by_length(model, block, past, trunks, wanted, reserve, most)
    rows = left_padded(tuple(block), past if isinstance(past, list) else None, trunks, model.device)
    room = reserve + rows.ids.shape[1] if reserve else 0
    cache = cache_of(rows.past, reserve=room) if rows.past is not None else None
    logits, filled = model.logits(
        rows.ids,
        wanted.to(model.device),
        mask=rows.mask,
        positions=rows.positions,
        past=cache,
        keep_past=reserve is not None,
    )
    if cache is None and reserve is not None:
        filled = cache_of(keys_values(filled), reserve=reserve)
    return Trunks(logits, filled, rows.mask)


def _read_by_length(
    model: CausalModel,
    block: Sequence[int],
    past: Past | None,
    trunks: Sequence[Sequence[int]],
    wanted: torch.Tensor,
    reserve: int | None,
    most: int | None,
) -> Trunks:
    """Trunks of one length together, or the first tokens of all, then the next of those that are longer: without
    padding where a state would take it for text.
    """
    longest = max(len(trunk) for trunk in trunks)
    texts = [trunk if isinstance(past, Kept) else (*block, *trunk) for trunk in trunks]
    own = past if isinstance(past, Kept) else None
    if model.goes_on == "tokens" and not model.pads:
        pieces = list(_in_stages(model, own, texts, wanted, longest, most))
    else:
        padding = PASS_TOKENS.get(model.device.type, 0) if model.pads and own is None else 0
        groups = _groups([len(text) for text in texts], padding, most)
        pieces = [_at_once(model, own, texts, members, wanted, longest) for members in groups]
    order = torch.argsort(torch.tensor([r for piece in pieces for r in piece.members]))
    places = torch.cat([piece.places for piece in pieces])
    kept = joined([piece.kept for piece in pieces if piece.members], order.to(model.device))
    columns = torch.arange(kept.tokens)[None]
    totals = torch.tensor([kept.tokens - longest + len(trunk) for trunk in trunks])[:, None]
    mask = (columns >= kept.tokens - totals).long().to(model.device)
    logits = torch.cat([piece.logits for piece in pieces])[torch.argsort(places).to(model.device)]
    return Trunks(logits, growing(kept.held, reserve) if reserve else kept.held, mask)


def by_length(items: Sequence[Item], length: Callable[[Item], int]) -> list[list[Item]]:
    """The items of each length, shortest first."""
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(length(item), []).append(item)
    return [groups[key] for key in sorted(groups)]


def _groups(lengths: Sequence[int], padding: int, most: int | None) -> list[list[int]]:
    """Places of like lengths, longest first: padded where that costs no more than `padding` tokens a group."""
    groups: list[list[int]] = []
    left, longest = 0, 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        left -= longest - lengths[place]
        is_full = most is not None and bool(groups) and (len(groups[-1]) + 1) * longest > most
        if not groups or left < 0 or is_full:
            groups.append([])
            left, longest = padding, lengths[place]
        groups[-1].append(place)
    return groups


@dataclass(slots=True)
class _Piece:
    """What one pass gives."""

    logits: torch.Tensor
    places: torch.Tensor
    """Which of the wanted positions they are."""
    members: Sequence[int]
    """The rows that end with it, none where it goes on."""
    kept: Kept
    """Of these."""


def _at_once(
    model: CausalModel,
    past: Kept | None,
    texts: Sequence[Sequence[int]],
    members: Sequence[int],
    wanted: torch.Tensor,
    longest: int,
) -> _Piece:
    """The members in one pass."""
    first = torch.zeros(len(members), dtype=torch.long, device=model.device)
    left = dict.fromkeys(members, 0)
    before = None if past is None else past.taken(first)
    logits, places, kept = _read(model, before, {r: texts[r] for r in members}, left, wanted, longest)
    return _Piece(logits, places, members, kept)


def _in_stages(
    model: CausalModel,
    past: Kept | None,
    texts: Sequence[Sequence[int]],
    wanted: torch.Tensor,
    longest: int,
    most: int | None,
) -> Iterator[_Piece]:
    """All rows as far as the shortest goes, then the others as far as the next, and so on: no pass has padding."""
    going, begin = sorted(range(len(texts)), key=lambda r: len(texts[r])), 0
    order = torch.arange(len(going), device=model.device)
    before = None if past is None else past.taken(torch.zeros_like(order))
    while going:
        end = len(texts[going[0]])
        if most is not None:
            end = min(end, begin + max(1, most // len(going)))
        left = {r: len(texts[r]) - end for r in going}
        logits, places, kept = _read(model, before, {r: texts[r][begin:end] for r in going}, left, wanted, longest)
        ended = sum(more == 0 for more in left.values())
        yield _Piece(logits, places, going[:ended], kept.taken(order[:ended]))
        going, begin = going[ended:], end
        before = kept.taken(order[ended : ended + len(going)])


def _read(
    model: CausalModel,
    past: Kept | None,
    texts: Mapping[int, Sequence[int]],
    left: Mapping[int, int],
    wanted: torch.Tensor,
    longest: int,
) -> tuple[torch.Tensor, torch.Tensor, Kept]:
    """Logits of those of `wanted` that a pass over `texts`, a piece of each row, holds; their places in `wanted`; and
    what is kept. `left` are the tokens of each row behind its piece.
    """
    width, place_of = max(len(text) for text in texts.values()), {r: place for place, r in enumerate(texts)}
    rows, places = [], []
    for i, flat in enumerate(wanted.tolist()):
        r, column = divmod(flat, longest)
        from_end = longest - column - left.get(r, longest)
        if 0 < from_end <= len(texts.get(r, ())):
            rows.append((place_of[r] + 1) * width - from_end)
            places.append(i)
    logits, kept = model.read(list(texts.values()), torch.tensor(rows, dtype=torch.long, device=model.device), past)
    return logits, torch.tensor(places, dtype=torch.long), kept

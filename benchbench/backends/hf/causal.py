"""Scoring with a causal transformers model: runs the batches of a prefix plan, three ways.

packed    a trunk and its branches side by side in one row, under a mask that lets a branch see its
          trunk and itself; positions restart at each branch. For models that take positions.
branched  trunks first, then the branches as short second rows on the trunks' keys and values. Rows
          are padded on the left of everything, so that distances are true: exact for ALiBi too.
plain     every text whole, padded on the right: what lm-eval computes. "unpadded": the same in batches of texts of one
          length. "single": one text at a time, which is right by definition: the reference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from transformers import DynamicCache

from benchbench.backends.hf.cache import (
    CannotShareError,
    KeysValues,
    cache_of,
    expanded,
    keys_values,
    repeated,
    shifted,
)
from benchbench.backends.hf.halving import computing
from benchbench.backends.plan import Block, PlanRow
from benchbench.backends.tokens import Scored

Layout = Literal["packed", "branched", "plain", "unpadded", "single"]
SOFTMAX_ROWS = 128
"""Rows of logits normalised in fp32 at once: bounds the copy."""


class HeadOn:
    """Meanwhile an output head runs only on the positions that `pick` takes from its inputs: a hook hands it no others.

    `shape` is [rows, tokens] of the pass. A model whose head is not found, or is given something else, computes every
    position; the wanted ones are then picked from the logits, which gives the same rows.
    """

    def __init__(self, head: Any, shape: Sequence[int], pick: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._head, self._shape, self._pick = head, tuple(shape), pick
        self._hook: Any = None
        self._reduced = False

    def __enter__(self) -> HeadOn:
        if isinstance(self._head, torch.nn.Module):
            self._hook = self._head.register_forward_pre_hook(self._reduce)
        return self

    def __exit__(self, *_: object) -> None:
        if self._hook is not None:
            self._hook.remove()

    def _reduce(self, _: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or args[0].dim() != 3 or tuple(args[0].shape[:2]) != self._shape:
            return None
        self._reduced = True
        return (self._pick(args[0])[None], *args[1:])

    def logits(self, output: torch.Tensor) -> torch.Tensor:
        """[picked positions, vocabulary], of what the model gave as logits."""
        return output[0] if self._reduced else self._pick(output)


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
        self._accepted = frozenset(inspect.signature(model.forward).parameters)
        self.takes_positions = "position_ids" in self._accepted or _hands_positions_on(model)
        self.takes_mask = "attention_mask" in self._accepted
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

        The head runs on those positions alone.
        """
        kwargs: dict[str, Any] = {"input_ids": ids}
        if mask is not None:
            kwargs["attention_mask"] = mask
        if positions is not None and self.takes_positions:
            kwargs["position_ids"] = positions
        if past is None and keep_past:
            # Our own cache keeps every token; one made by the model may drop what its window has passed.
            past = DynamicCache()
        if past is not None:
            kwargs["past_key_values"] = past
        if "use_cache" in self._accepted:
            kwargs["use_cache"] = past is not None
        self.computed_tokens += ids.numel()
        pick = HeadOn(
            self._head, ids.shape, lambda states: states.reshape(-1, states.shape[-1])[rows.to(states.device)]
        )
        with computing(self.model), pick as head:
            output = self.model(**kwargs)
            return head.logits(output.logits), getattr(output, "past_key_values", None)

    def prefix(self, ids: Sequence[int], start: int, past: list[KeysValues] | None) -> list[KeysValues]:
        """Keys and values of a whole prefix, of which the first `start` tokens are in `past`."""
        cache = cache_of(past) if past is not None else None
        new = torch.tensor([ids[start:]], device=self.device)
        positions = torch.arange(start, len(ids), device=self.device)[None]
        mask = torch.ones(1, len(ids), dtype=torch.long, device=self.device) if self.takes_mask else None
        last = torch.tensor([new.shape[1] - 1], device=self.device)
        _, filled = self.logits(new, last, mask=mask, positions=positions, past=cache, keep_past=True)
        states = keys_values(filled)
        if states[0][0].shape[2] != len(ids):
            raise CannotShareError(f"the past holds {states[0][0].shape[2]} tokens after {len(ids)} were read")
        return states


def run_batch(
    model: CausalModel, layout: Layout, block: Block, states: list[KeysValues] | None, batch: Sequence[PlanRow]
) -> Iterator[Scored]:
    """Score all requests of one batch; `states` are the block's keys and values, None without a block."""
    if layout == "packed":
        yield from _packed(model, block, states, batch)
    elif layout == "branched":
        yield from _branched(model, block, states, batch)
    else:
        yield from _plain(model, batch)


def _plain(model: CausalModel, batch: Sequence[PlanRow]) -> Iterator[Scored]:
    width = max(row.depth for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    reads = _Reads()
    for r, row in enumerate(batch):
        ids[r, : row.depth] = torch.tensor(row.leaves[0].tokens)
        for reader in row.leaves[0].readers:
            reads.add(reader.request, [r * width + reader.first_row + k for k in range(len(reader.targets))], reader)
    logits, _ = model.logits(ids.to(model.device), reads.rows(model.device))
    yield from reads.score([logits])


def _packed(
    model: CausalModel, block: Block, states: list[KeysValues] | None, batch: Sequence[PlanRow]
) -> Iterator[Scored]:
    start, width = len(block.tokens), max(row.packed_width for row in batch)
    ids = torch.zeros(len(batch), width, dtype=torch.long)
    positions = torch.zeros(len(batch), width, dtype=torch.long)
    # 0 is the trunk, 1 and on its branches, -1 padding on the right: it is token 0, hidden by the mask and never read.
    branch_of = torch.full((len(batch), width), -1, dtype=torch.long)
    reads = _Reads()
    for r, row in enumerate(batch):
        trunk = row.depth - start
        ids[r, :trunk] = torch.tensor(row.trunk)
        positions[r, :trunk] = torch.arange(start, row.depth)
        branch_of[r, :trunk] = 0
        begin = trunk
        for b, leaf in enumerate(row.leaves, start=1):
            end = begin + len(leaf.tokens) - row.depth
            ids[r, begin:end] = torch.tensor(leaf.tokens[row.depth :], dtype=torch.long)
            # Every branch stands where it would stand alone, right behind the trunk: positions tell the model the
            # distances, columns do not. Models that read distances off the columns (ALiBi) cannot be packed.
            positions[r, begin:end] = torch.arange(row.depth, len(leaf.tokens))
            branch_of[r, begin:end] = b
            for reader in leaf.readers:
                places = range(reader.first_row, reader.first_row + len(reader.targets))
                # A branch's first token is predicted by the trunk's last, which all branches share.
                columns = [p - start if p < row.depth else begin + p - row.depth for p in places]
                reads.add(reader.request, [r * width + c for c in columns], reader)
            begin = end
    mask = _packed_mask(branch_of.to(model.device), start, next(model.model.parameters()).dtype)
    past = cache_of(expanded(states, len(batch))) if states is not None else None
    logits, _ = model.logits(
        ids.to(model.device),
        reads.rows(model.device),
        mask=mask,
        positions=positions.to(model.device),
        past=past,
    )
    yield from reads.score([logits])


def _packed_mask(branch_of: torch.Tensor, start: int, dtype: torch.dtype) -> torch.Tensor:
    """Additive mask [rows, 1, tokens, start + tokens]: the block, the own trunk, the own branch; never ahead."""
    width = branch_of.shape[1]
    query, key = branch_of[:, :, None], branch_of[:, None, :]
    # The columns of the block stay 0, visible to all: it precedes every token of the row.
    visible = ((key == 0) | (key == query)) & (key >= 0)
    visible &= torch.ones(width, width, dtype=torch.bool, device=branch_of.device).tril()
    # Padding sees itself, for a row of nothing but masked keys would be NaN.
    visible |= torch.eye(width, dtype=torch.bool, device=branch_of.device)
    mask = torch.zeros(len(branch_of), 1, width, start + width, dtype=dtype, device=branch_of.device)
    mask[:, 0, :, start:].masked_fill_(~visible, torch.finfo(dtype).min)
    return mask


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
    trunks: Sequence[tuple[int, ...]],
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


def _branched(
    model: CausalModel, block: Block, states: list[KeysValues] | None, batch: Sequence[PlanRow]
) -> Iterator[Scored]:
    rows = left_padded(block.tokens, states, [row.trunk for row in batch], model.device)
    longest = rows.ids.shape[1]
    branches = [(r, leaf) for r, row in enumerate(batch) for leaf in row.leaves]
    width = max(row.longest_branch for row in batch)
    offset = rows.ids.numel()  # flat positions of the second pass are counted behind those of the first
    ids = torch.zeros(len(branches), max(width, 1), dtype=torch.long)
    valid = torch.zeros(len(branches), max(width, 1), dtype=torch.long)
    reads = _Reads()
    for b, (r, leaf) in enumerate(branches):
        depth = batch[r].depth
        size = len(leaf.tokens) - depth
        ids[b, :size] = torch.tensor(leaf.tokens[depth:], dtype=torch.long)
        valid[b, :size] = 1
        for reader in leaf.readers:
            places = range(reader.first_row, reader.first_row + len(reader.targets))
            reads.add(
                reader.request,
                [r * longest + longest - depth + p if p < depth else offset + b * width + p - depth for p in places],
                reader,
            )
    wanted = reads.rows(torch.device("cpu"))
    past = cache_of(rows.past) if rows.past is not None else None
    first, filled = model.logits(
        rows.ids,
        wanted[wanted < offset].to(model.device),
        mask=rows.mask,
        positions=rows.positions,
        past=past,
        keep_past=width > 0,
    )
    if width == 0:
        yield from reads.score([first])
        return
    # The trunk's padding stays on the left and masked, the branch's stands on the right: between trunk and branch there
    # is no hole, so that distances between columns are true for models that count them.
    owner = torch.tensor([r for r, _ in branches], device=model.device)
    valid = valid.to(model.device)
    positions = torch.tensor([batch[r].depth for r, _ in branches], device=model.device)[:, None]
    second, _ = model.logits(
        ids.to(model.device),
        (wanted[wanted >= offset] - offset).to(model.device),
        mask=torch.cat([rows.mask[owner], valid], dim=1),
        positions=positions + torch.arange(width, device=model.device)[None],
        past=cache_of(repeated(keys_values(filled), owner)),
        keep_past=True,
    )
    yield from reads.score([first, second])


class _Reads:
    """Which flat positions are read, each once, and which request reads what there."""

    def __init__(self) -> None:
        self._requests: list[tuple[int, list[int], tuple[int, ...]]] = []

    def add(self, request: int, places: list[int], reader: Any) -> None:
        self._requests.append((request, places, reader.targets))

    def rows(self, device: torch.device) -> torch.Tensor:
        """The distinct positions, ascending."""
        return torch.tensor(
            sorted({p for _, places, _ in self._requests for p in places}), dtype=torch.long, device=device
        )

    def score(self, parts: Sequence[torch.Tensor]) -> Iterator[Scored]:
        """Turn logits into log-likelihoods: log-softmax in fp32, summed in fp64."""
        places = {p: i for i, p in enumerate(self.rows(torch.device("cpu")).tolist())}
        read = [places[p] for _, where, _ in self._requests for p in where]
        targets = [t for _, _, tokens in self._requests for t in tokens]
        logprobs, greedy = _target_logprobs(parts, read, targets)
        begin = 0
        for request, where, _ in self._requests:
            end = begin + len(where)
            total = float(sum(logprobs[begin:end]))
            finite = total == total and abs(total) != float("inf")
            yield Scored(request, total, all(greedy[begin:end]), end - begin, finite, tuple(logprobs[begin:end]))
            begin = end


def _target_logprobs(
    parts: Sequence[torch.Tensor], rows: Sequence[int], targets: Sequence[int]
) -> tuple[list[float], list[bool]]:
    """Log-probability of each target at its row, and whether it is the most likely token there."""
    best: list[int] = []
    wanted: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        wanted.setdefault(row, []).append(place)
    logprobs = [0.0] * len(rows)
    begin = 0
    for part in parts:
        for chunk in torch.split(part, SOFTMAX_ROWS):
            # torch's own kernel, although logit - logsumexp would be a little closer to the truth: the
            # kernel is off by some 1e-5 a token, and lm-eval's numbers carry the same rounding.
            distribution = torch.log_softmax(chunk, dim=-1, dtype=torch.float32)
            best += chunk.argmax(dim=-1).tolist()
            places = [p for r in range(begin, begin + len(chunk)) for p in wanted.get(r, ())]
            where = torch.tensor([rows[p] - begin for p in places], dtype=torch.long, device=chunk.device)
            target = torch.tensor([targets[p] for p in places], dtype=torch.long, device=chunk.device)
            for place, value in zip(places, distribution[where, target].double().tolist(), strict=True):
                logprobs[place] = value
            begin += len(chunk)
    return logprobs, [best[row] == target for row, target in zip(rows, targets, strict=True)]

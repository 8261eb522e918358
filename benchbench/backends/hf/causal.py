"""Scoring with a causal transformers model: runs the batches of a prefix plan, three ways.

packed    a trunk and its branches side by side in one row, under a mask that lets a branch see its
          trunk and itself; positions restart at each branch. For models that take positions.
branched  trunks first, then the branches as short second rows on the trunks' keys and values. Rows
          are padded on the left of everything, so that distances are true: exact for ALiBi too.
plain     every text whole, padded on the right: what lm-eval computes. "unpadded": the same in batches of texts of one
          length. "single": one text at a time, which is right by definition: the reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from benchbench.backends.hf.cache import Past, cache_of, expanded, of_rows
from benchbench.backends.hf.model import PASS_TOKENS, CausalModel
from benchbench.backends.hf.trunks import by_length, read_trunks
from benchbench.backends.plan import Block, PlanRow
from benchbench.backends.tokens import Scored

Layout = Literal["packed", "branched", "plain", "unpadded", "single"]
SOFTMAX_ROWS = 128
"""Rows of logits normalised in fp32 at once: bounds the copy."""


def run_batch(
    model: CausalModel, layout: Layout, block: Block, states: Past | None, batch: Sequence[PlanRow]
) -> Iterator[Scored]:
    """Score all requests of one batch; `states` are the block's keys and values, None without a block."""
    if layout == "packed":
        yield from _packed(model, block, states, batch)
    elif layout == "branched" and not _reads_anew(model, batch):
        for rows in [batch] if model.joins else by_length(batch, lambda row: row.depth):
            yield from _branched(model, block, states, rows)
    elif layout == "branched":
        whole = [PlanRow((leaf,), 0, len(leaf.tokens)) for row in batch for leaf in row.leaves]
        for rows in by_length(whole, lambda row: row.depth):
            yield from _plain(model, rows)
    else:
        yield from _plain(model, batch)


def _reads_anew(model: CausalModel, batch: Sequence[PlanRow]) -> bool:
    """Whether texts are cheaper read whole than branch by branch, where these take a pass for each of their tokens."""
    if model.goes_on == "tokens":
        return False
    passes = max(row.longest_branch for row in batch)
    branches = sum(len(row.leaves) for row in batch)
    whole = sum(len(leaf.tokens) for row in batch for leaf in row.leaves)
    stepped = sum(row.depth for row in batch) + passes * (branches + PASS_TOKENS.get(model.device.type, 0))
    return passes > 0 and whole < stepped


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


def _packed(model: CausalModel, block: Block, states: Past | None, batch: Sequence[PlanRow]) -> Iterator[Scored]:
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
    past = cache_of(expanded(states, len(batch))) if isinstance(states, list) else None
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


def _branched(model: CausalModel, block: Block, states: Past | None, batch: Sequence[PlanRow]) -> Iterator[Scored]:
    longest = max(len(row.trunk) for row in batch)
    branches = [(r, leaf) for r, row in enumerate(batch) for leaf in row.leaves]
    width = max(row.longest_branch for row in batch)
    offset = len(batch) * longest  # flat positions of the second pass are counted behind those of the first
    ids = torch.zeros(len(branches), max(width, 1), dtype=torch.long)
    valid = torch.zeros(len(branches), max(width, 1), dtype=torch.long)
    reads = _Reads()
    for b, (r, leaf) in enumerate(branches):
        depth = batch[r].depth
        size = len(leaf.tokens) - depth
        ids[b, :size] = torch.tensor(leaf.tokens[depth:], dtype=torch.long)
        valid[b, : None if model.keeps_states else size] = 1
        for reader in leaf.readers:
            places = range(reader.first_row, reader.first_row + len(reader.targets))
            reads.add(
                reader.request,
                [r * longest + longest - depth + p if p < depth else offset + b * width + p - depth for p in places],
                reader,
            )
    wanted = reads.rows(torch.device("cpu"))
    trunks = read_trunks(
        model, block.tokens, states, [row.trunk for row in batch], wanted[wanted < offset], reserve=0 if width else None
    )
    if width == 0:
        yield from reads.score([trunks.logits])
        return
    # The trunk's padding stays on the left and masked, the branch's stands on the right: between trunk and branch there
    # is no hole, so that distances between columns are true for models that count them.
    owner = torch.tensor([r for r, _ in branches], device=model.device)
    depths = torch.tensor([batch[r].depth for r, _ in branches], device=model.device)
    behind = _Behind(
        of_rows(trunks.past, owner, len(batch)), torch.cat([trunks.mask[owner], valid.to(model.device)], 1), depths
    )
    yield from reads.score([trunks.logits, _read_branches(model, ids, wanted[wanted >= offset] - offset, behind)])


@dataclass(slots=True)
class _Behind:
    """What branches are read behind."""

    past: Any
    mask: torch.Tensor
    """[branches, tokens of the past and of the longest branch]"""
    depths: torch.Tensor
    """[branches]: the position of the first token of each."""


def _read_branches(model: CausalModel, ids: torch.Tensor, wanted: torch.Tensor, behind: _Behind) -> torch.Tensor:
    """Logits [len(wanted), vocabulary] of flat positions of `ids` [branches, tokens]."""
    width = ids.shape[1]
    size = width if model.goes_on == "tokens" else 1
    past, start = behind.past, behind.mask.shape[1] - width
    parts, places = [], []
    for begin in range(0, width, size):
        chosen = torch.nonzero(wanted % width // size == begin // size)[:, 0]
        inner = wanted[chosen] // width * size + wanted[chosen] % width - begin
        columns = torch.arange(begin, begin + size, device=model.device)
        logits, past = model.logits(
            ids[:, begin : begin + size].to(model.device),
            inner.to(model.device),
            mask=behind.mask[:, : start + begin + size],
            positions=behind.depths[:, None] + columns[None],
            past=past,
            keep_past=True,
        )
        parts.append(logits)
        places.append(chosen)
    return torch.cat(parts)[torch.argsort(torch.cat(places)).to(model.device)]


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

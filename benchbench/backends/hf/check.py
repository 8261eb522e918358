"""The self-check: which rows of a plan are held against one text alone, and how much they may differ.

A layout is trusted for what was looked at: texts as long, rows as wide and padded as much. The rows that are looked at
are rows of the plan itself, those in which a fault would show first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from benchbench.backends.hf.causal import Layout
from benchbench.backends.plan import MIN_BLOCK, Block, PlanLeaf, PlanRow, PrefixPlan
from benchbench.backends.tokens import Scored

if TYPE_CHECKING:
    from transformers import PretrainedConfig

WINDOWS = ("sliding_window", "window_size", "attention_window_size")
"""What configurations call the tokens a sliding layer sees: Mistral and most others, GPT-Neo, RecurrentGemma."""
SWITCHING_ROPES = ("longrope", "dynamic")
"""Rotary positions whose frequencies change once a text is longer than `original_max_position_embeddings`."""
LENGTH_WORDS = ("window", "chunk", "block", "topk", "context", "compress", "stride", "segment", "original", "sparse")
"""Words in the names of settings that may say after how many tokens something begins to change."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two log-likelihoods of the same text may be apart, in nats."""

    token: float
    """At each token."""
    rms: float
    """At the tokens of a text together, as their root mean square; one token may take `token` beside."""
    share: float = 0.0
    """Share of the text's log-likelihood that its sum may be off beside."""

    def scaled(self, noise: float) -> Tolerance:
        """As wide as a model needs whose log-probabilities move by `noise` where only the order of sums changes."""
        factor = max(1.0, min(NOISE_FACTOR * noise, NOISE_LIMIT) / self.token)
        return Tolerance(self.token * factor, self.rms * factor, self.share)


NOISE_FACTOR = 3.0
"""Other layouts take other kernels, and move numbers more than copies of a text do: 2 times was measured."""
NOISE_LIMIT = 1.0
"""Whatever the noise, a token that is further off is wrong."""
EXACT = Tolerance(token=1e-3, rms=1e-4, share=2e-6)
"""fp32: the order of sums moves a text by 3e-4 nats at most, one of thousands of tokens by 2e-3 (140 families, with
enlarged weights)."""
ROUGH = {torch.bfloat16: Tolerance(token=0.35, rms=0.15), torch.float16: Tolerance(token=0.09, rms=0.04)}
"""Half precision. bfloat16 keeps 8 bits, so that a logit of 16 to 32 is rounded by 0.06. Measured as packed, branched
and plain against one text alone: 14 families of 4 layers and large weights, at most 0.19 at a token (rms 0.04); SmolLM2
with its 30 layers 0.26 (rms 0.06); a mixture of experts, where rounding chooses another expert, 0.95: see `scaled`. One
wrong token before the answers of SmolLM2 moves the worst of their tokens by 0.32 (median). float16 keeps 3 bits more:
0.04 (rms 0.008) was measured."""


def tolerance_of(model: torch.nn.Module) -> Tolerance:
    """What rounding explains in the type that the model computes in: the roughest of its weights' types."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    return next((tolerance for kind, tolerance in ROUGH.items() if kind in kinds), EXACT)


def compare(expected: Scored, got: Scored, tolerance: Tolerance) -> float:
    """By how many nats `got` is off, at its worst token or as a whole; 0 where rounding explains it, or where
    `expected` is not a number. Both have their `logprobs`, or neither.
    """
    if not expected.finite:
        return 0.0
    tokens = [abs(one - other) for one, other in zip(got.logprobs, expected.logprobs, strict=True)]
    worst, whole = max(tokens, default=0.0), abs(got.total - expected.total)
    spread = tolerance.rms * math.sqrt(expected.num_tokens)
    squares = sum(difference**2 for difference in tokens)
    is_right = (
        worst <= tolerance.token
        and squares <= tolerance.token**2 + spread**2
        and whole <= tolerance.token + spread + tolerance.share * abs(expected.total)
    )
    # NaN compares as false above.
    return 0.0 if is_right else max(worst, whole) if whole == whole else math.inf


@dataclass(frozen=True, slots=True)
class Shape:
    """How far a plan goes, in tokens: whatever depends on lengths shows at the largest."""

    longest: int
    """The longest text."""
    widest: int
    """The widest row, its shared prefix and all branches side by side included."""
    padding: int
    """By how much the rows of one batch differ."""

    def within(self, other: Shape) -> bool:
        """Whether `other` goes at least as far in everything."""
        return self.longest <= other.longest and self.widest <= other.widest and self.padding <= other.padding


@dataclass(frozen=True, slots=True)
class Kind:
    """What plans have in common that one check can speak for."""

    layout: Layout
    has_block: bool
    has_branches: bool
    length: int
    """The bits of the longest text's length: short texts say nothing of long ones, nor long ones of short ones."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check has found."""

    shape: Shape
    """How far it has gone."""
    fault: str | None
    """What was wrong, as the end of a sentence; None where the layout agrees with one text alone."""

    def speaks_for(self, shape: Shape) -> bool:
        """Whether a plan of that shape need not be checked: a right one goes no further, a wrong one no less far."""
        return shape.within(self.shape) if self.fault is None else self.shape.within(shape)


@dataclass(frozen=True, slots=True)
class Sample:
    """A few rows of a plan, beside the rows of their batches that set their padding."""

    plan: PrefixPlan
    requests: frozenset[int]
    """Those that are compared."""
    is_whole: bool
    """Its batches are those of the run, whole."""

    @property
    def alone(self) -> Iterator[PlanLeaf]:
        """The texts of the compared requests, each as it is read alone."""
        for row in self.plan.rows:
            for leaf in row.leaves:
                lengths = {r.first_row + len(r.targets) for r in leaf.readers if r.request in self.requests}
                for length in sorted(lengths):
                    readers = [r for r in leaf.readers if r.first_row + len(r.targets) == length]
                    yield PlanLeaf(leaf.tokens[:length], tuple(r for r in readers if r.request in self.requests))

    @property
    def alone_tokens(self) -> int:
        """What reading those texts costs."""
        return sum(len(leaf.tokens) for leaf in self.alone)


def columns(row: PlanRow, layout: Layout) -> int:
    """Columns that the row takes, its block included; of a branched row those of its trunk."""
    return row.start + row.packed_width if layout == "packed" else row.depth


def described(plan: PrefixPlan, layout: Layout) -> tuple[Kind, Shape]:
    """What a plan is, as far as trust in it is concerned. It has at least one row."""
    widths = [[columns(row, layout) for row in batch] for block in plan.blocks for batch in block.batches if batch]
    rows = plan.rows
    longest = max(len(leaf.tokens) for row in rows for leaf in row.leaves)
    has_block = any(block.tokens for block in plan.blocks)
    has_branches = any(len(row.leaves) > 1 for row in rows)
    shape = Shape(longest, max(map(max, widths)), max(max(batch) - min(batch) for batch in widths))
    return Kind(layout, has_block, has_branches, longest.bit_length()), shape


@dataclass(frozen=True, slots=True)
class _Place:
    """A row in its plan."""

    block: int
    batch: int
    row: PlanRow


def sample(plan: PrefixPlan, layout: Layout, *, whole: bool) -> Sample:
    """The widest row with its last branch, the longest text, the row with most padding; and a row behind a block and
    one with branches, where the plan has any. `whole`: with their whole batches, as the run computes them.
    """
    return _sample_of(plan, layout, _chosen(plan, layout), whole=whole)


def cheap_sample(plan: PrefixPlan, layout: Layout) -> Sample:
    """The least that holds what the plan has: padding, a block, branches. For models that no length changes."""
    return _sample_of(plan, layout, _cheapest(plan, layout), whole=False)


def _sample_of(plan: PrefixPlan, layout: Layout, chosen: Iterable[tuple[PlanLeaf, _Place]], *, whole: bool) -> Sample:
    places = dict(chosen)
    rows: dict[tuple[int, int], list[PlanRow]] = {}
    for place in places.values():
        rows.setdefault((place.block, place.batch), []).append(place.row)
    batches: dict[int, list[tuple[PlanRow, ...]]] = {}
    for (block, number), wanted in rows.items():
        batch = plan.blocks[block].batches[number]
        batches.setdefault(block, []).append(batch if whole else _beside(wanted, batch, layout))
    requests = frozenset(request for leaf in places for request in _longest_readers(leaf))
    return Sample(_only(plan, batches), requests, whole)


def _places(plan: PrefixPlan, layout: Layout) -> list[_Place]:
    """Every row, where it is; of a layout of equal lengths those that are not alone anyway."""
    return [
        _Place(b, n, row)
        for b, block in enumerate(plan.blocks)
        for n, batch in enumerate(block.batches)
        for row in batch
        if layout != "unpadded" or len(batch) > 1
    ]


def _cheapest(plan: PrefixPlan, layout: Layout) -> Iterator[tuple[PlanLeaf, _Place]]:
    places = _places(plan, layout)
    places = [place for place in places if place.row.start] or places
    if not places:
        return
    padding = {
        (b, n): max(columns(row, layout) for row in batch) - min(columns(row, layout) for row in batch)
        for b, block in enumerate(plan.blocks)
        for n, batch in enumerate(block.batches)
    }
    padded = [place for place in places if padding[place.block, place.batch]] or places
    first = min(padded, key=lambda place: columns(place.row, layout))
    yield first.row.leaves[-1], first
    branching = [place for place in places if len(place.row.leaves) > 1]
    if branching and len(first.row.leaves) == 1:
        place = min(branching, key=lambda place: place.row.packed_width)
        yield place.row.leaves[-1], place


def _chosen(plan: PrefixPlan, layout: Layout) -> Iterator[tuple[PlanLeaf, _Place]]:
    """Leaves that are compared, and where they are; the same ones may come twice."""
    places = _places(plan, layout)
    if not places:
        return
    widest = max(places, key=lambda place: columns(place.row, layout))
    longest = max(places, key=lambda place: _longest(place.row))
    found = [widest, longest]
    yield widest.row.leaves[-1], widest
    yield max(longest.row.leaves, key=lambda leaf: len(leaf.tokens)), longest
    if (padded := _most_padded(plan, layout)) is not None:
        found.append(padded)
        yield padded.row.leaves[-1], padded
    for has in (lambda place: bool(place.row.start), lambda place: len(place.row.leaves) > 1):
        if not any(map(has, found)) and (place := next(filter(has, places), None)) is not None:
            yield place.row.leaves[-1], place


def _longest(row: PlanRow) -> int:
    return max(len(leaf.tokens) for leaf in row.leaves)


def _most_padded(plan: PrefixPlan, layout: Layout) -> _Place | None:
    """The narrowest row of the batch whose rows differ most; None where no row is padded."""
    largest, found = 0, None
    for b, block in enumerate(plan.blocks):
        for n, batch in enumerate(block.batches):
            narrow = min(batch, key=lambda row: columns(row, layout))
            padding = max(columns(row, layout) for row in batch) - columns(narrow, layout)
            if padding > largest:
                largest, found = padding, _Place(b, n, narrow)
    return found


def _beside(wanted: Sequence[PlanRow], batch: Sequence[PlanRow], layout: Layout) -> tuple[PlanRow, ...]:
    """The wanted rows and the one to whose width their batch is padded; two rows at least, if there are two."""
    distinct = {id(row): row for row in (max(batch, key=lambda row: columns(row, layout)), *wanted)}
    if len(distinct) == 1:
        distinct[id(batch[-1])] = batch[-1]
    return tuple(distinct.values())


def _longest_readers(leaf: PlanLeaf) -> list[int]:
    """The requests that read the most of it: what is shorter may have been merged into it."""
    end = max(reader.first_row + len(reader.targets) for reader in leaf.readers)
    return [reader.request for reader in leaf.readers if reader.first_row + len(reader.targets) == end]


def _only(plan: PrefixPlan, batches: Mapping[int, Sequence[tuple[PlanRow, ...]]]) -> PrefixPlan:
    """The plan with these batches alone, and the blocks that they need."""
    needed = {0, *batches}
    for index in reversed(range(len(plan.blocks))):
        if index in needed and plan.blocks[index].parent >= 0:
            needed.add(plan.blocks[index].parent)
    order = sorted(needed)
    return PrefixPlan(
        tuple(
            Block(block.tokens, order.index(block.parent) if block.parent >= 0 else -1, tuple(batches.get(index, ())))
            for index, block in ((index, plan.blocks[index]) for index in order)
        )
    )


def computed(plan: PrefixPlan) -> int:
    """Tokens that running the plan computes, padding included."""
    own = (len(b.tokens) - (len(plan.blocks[b.parent].tokens) if b.parent > 0 else 0) for b in plan.blocks)
    batches = (batch for block in plan.blocks for batch in block.batches)
    return sum(own) + sum(len(batch) * max(row.packed_width for row in batch) for batch in batches)


def without_far_past(checked: Sample) -> Sample:
    """A sample without most of the prefix that all its texts share: where lengths change nothing, any tokens do."""
    plan = checked.plan
    leaves = [leaf for row in plan.rows for leaf in row.leaves]
    blocks = [len(block.tokens) for block in plan.blocks if block.tokens]
    first_rows = [reader.first_row for leaf in leaves for reader in leaf.readers]
    cut = min([_shared([leaf.tokens for leaf in leaves]) - MIN_BLOCK, *first_rows, *(n - MIN_BLOCK for n in blocks)])
    if cut <= 0:
        return checked
    return replace(checked, plan=PrefixPlan(tuple(_cut_block(block, cut) for block in plan.blocks)))


def _shared(texts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all texts begin with."""
    first, last = min(texts), max(texts)
    return next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


def _cut_block(block: Block, cut: int) -> Block:
    return Block(
        block.tokens[cut:],
        block.parent,
        tuple(tuple(_cut_row(row, cut) for row in batch) for batch in block.batches),
    )


def _cut_row(row: PlanRow, cut: int) -> PlanRow:
    leaves = tuple(
        PlanLeaf(leaf.tokens[cut:], tuple(replace(r, first_row=r.first_row - cut) for r in leaf.readers))
        for leaf in row.leaves
    )
    return PlanRow(leaves, max(0, row.start - cut), row.depth - cut)


def attention_window(config: PretrainedConfig) -> int | None:
    """Tokens a sliding-window layer sees, or None where every layer sees everything."""
    config = getattr(config, "text_config", None) or config
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and not any("sliding" in str(kind) for kind in kinds):
        return None
    if getattr(config, "use_sliding_window", True) is False:
        return None
    windows = [getattr(config, name, None) for name in WINDOWS]
    return min((w for w in windows if isinstance(w, int) and w > 0), default=None)


def switches(config: PretrainedConfig) -> tuple[int, ...]:
    """Lengths of a text beyond which the model is known to compute it differently, ascending: its sliding window, the
    original length of rotary positions that change, the tokens that a sparse layer selects.
    """
    text = getattr(config, "text_config", None) or config
    found = [attention_window(config), getattr(text, "index_topk", None)]
    for rope in _ropes(getattr(text, "rope_parameters", None)):
        if rope.get("rope_type") in SWITCHING_ROPES:
            own = rope.get("original_max_position_embeddings", getattr(text, "max_position_embeddings", None))
            found.append(own)
    return tuple(sorted({length for length in found if isinstance(length, int) and length > 0}))


def _ropes(parameters: Any) -> Iterator[Mapping[str, Any]]:
    """A configuration's rotary parameters, of which there may be some for each type of layer."""
    if isinstance(parameters, Mapping):
        yield parameters
        for value in parameters.values():
            yield from _ropes(value)


def may_change_with_length(config: PretrainedConfig, length: int) -> bool:
    """Whether a setting of the model below `length` looks as if something changed after so many tokens."""
    return any(
        any(word in name for word in LENGTH_WORDS) and 1 < value < length for name, value in _integers(config.to_dict())
    )


def _integers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """(name, number) of every whole number in a configuration, also in lists and below other names."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _integers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            yield name, value
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield from ((name, one) for one in value if isinstance(one, int) and not isinstance(one, bool))

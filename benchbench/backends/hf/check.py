"""The self-check: which rows of a plan are held against one text alone, and for which plans that speaks.

A layout is trusted for what was looked at: texts as long, rows as wide and padded as much. The rows that are looked at
are rows of the plan itself, those in which a fault would show first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchbench.backends.hf.causal import Layout
from benchbench.backends.plan import MIN_BLOCK, Block, PlanLeaf, PlanRow, PrefixPlan

if TYPE_CHECKING:
    from transformers import PretrainedConfig

WINDOWS = ("sliding_window", "window_size", "attention_window_size")
"""What configurations call the tokens a sliding layer sees: Mistral and most others, GPT-Neo, RecurrentGemma."""
COMPRESSED = ("compress_rates", "compress_ratios")
"""What configurations call the size of the groups in which keys and values are compressed: DeepSeek-V4's."""
SWITCHING_ROPES = ("longrope", "dynamic")
"""Rotary positions whose frequencies change once a text is longer than `original_max_position_embeddings`."""
LENGTH_WORDS = (
    "window", "chunk", "block", "topk", "context", "compress", "stride", "segment", "original", "sparse", "local",
    "span", "memory", "sink",
)  # fmt: skip
"""Words in the names of settings that may say after how many tokens something begins to change."""
COUNT_WORDS = ("layer", "group", "expert")
"""Words in the names of those that are no lengths, nor are those that begin with num_ or n_."""


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


def _padding(batch: Sequence[PlanRow], layout: Layout) -> int:
    """Columns by which the rows of a batch differ."""
    widths = [columns(row, layout) for row in batch]
    return max(widths) - min(widths)


def described(plan: PrefixPlan, layout: Layout) -> tuple[Kind, Shape]:
    """What a plan is, as far as trust in it is concerned. It has at least one row."""
    batches, rows = [batch for block in plan.blocks for batch in block.batches if batch], plan.rows
    longest = max(len(leaf.tokens) for row in rows for leaf in row.leaves)
    has_block = any(block.tokens for block in plan.blocks)
    has_branches = any(len(row.leaves) > 1 for row in rows)
    widest = max(columns(row, layout) for row in rows)
    shape = Shape(longest, widest, max(_padding(batch, layout) for batch in batches))
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
        (b, n): _padding(batch, layout) for b, block in enumerate(plan.blocks) for n, batch in enumerate(block.batches)
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
            if (padding := _padding(batch, layout)) > largest:
                largest, found = padding, _Place(b, n, min(batch, key=lambda row: columns(row, layout)))
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
    if not leaves:
        return checked
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


def config_of_text(config: PretrainedConfig) -> PretrainedConfig:
    """The part of a configuration that says how texts are computed, where images or sounds have a part as well."""
    return getattr(config, "text_config", None) or config


def attention_window(config: PretrainedConfig) -> int | None:
    """Tokens a sliding-window layer sees, or None where every layer sees everything."""
    config = config_of_text(config)
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
    text = config_of_text(config)
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


def reads_padding(config: PretrainedConfig) -> bool:
    """Whether padding is known to move numbers a little at any length: tokens are compressed in groups, the last of
    which it fills. A check of a few rows may not meet the text that moves.
    """
    return any(getattr(config_of_text(config), name, None) for name in COMPRESSED)


def may_change_with_length(config: PretrainedConfig, length: int) -> bool:
    """Whether a setting of the model below `length` looks as if something changed after so many tokens."""
    settings = config_of_text(config).to_dict()
    settings.pop("quantization_config", None)
    return any(
        1 < value < length and any(word in name for word in LENGTH_WORDS)
        for name, value in _integers(settings)
        if not name.startswith(("num_", "n_")) and not any(word in name for word in COUNT_WORDS)
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

"""Pairs in, log-likelihoods out: chooses a layout, checks it against plain scoring, survives a full memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.cache import Past
from benchbench.backends.hf.causal import Layout, run_batch
from benchbench.backends.hf.halving import Halving, halves, is_out_of_memory
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.plan import Block, Limits, PlanRow, PrefixPlan, make_plan
from benchbench.backends.tokens import Exhausted, Scored, first_line
from benchbench.core.errors import BackendError

if TYPE_CHECKING:
    from transformers import PretrainedConfig


CHECK_TOKENS = 512
"""Tokens that the self-check may spend on plain scoring (but at least two docs)."""
CHECK_SHARE = 0.02
"""Share of the pairs' own tokens that it may spend, so that checking little work costs little."""
CHECK_SHARED = 64
"""How much of a prefix that all checked contexts share is kept: enough for a block, cheap to read plainly."""
CHECK_DOCS = 64
"""Among how many first docs the shortest and longest context are looked for."""
WINDOWS = ("sliding_window", "window_size", "attention_window_size")
"""What configurations call the tokens a sliding layer sees: Mistral and most others, GPT-Neo, RecurrentGemma."""


class CausalScorer(Halving):
    """Scores encoded pairs with one model. `notes` tells, in sentences, what the self-check decided."""

    def __init__(self, model: CausalModel, limits: Limits, *, plan: str, config: PretrainedConfig) -> None:
        self.model = model
        self.limits = limits
        self.notes: list[str] = []
        self.largest_difference = 0.0
        """Largest difference between planned and plain log-likelihoods that a self-check saw, in nats."""
        self.window = attention_window(config)
        self._possible = _candidates(model, plan, config)
        self._layouts = list(self._possible)
        self._trusted: dict[tuple[Layout, bool, bool, bool], bool] = {}
        """(layout, with a shared block, with branches, beyond a sliding window) → agreed with plain scoring."""

    @property
    def layout(self) -> Layout:
        """The layout in use: the first that is possible and has not failed its check."""
        return self._layouts[0]

    def forget(self) -> None:
        """New weights were loaded: what the old ones were trusted or distrusted with must be checked again."""
        self._trusted.clear()
        self._layouts = list(self._possible)
        self.notes.clear()
        self.largest_difference = 0.0

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored | Exhausted]:
        """Score each pair; `skip` names those that need no answer but keep their place in the layout."""
        short = [i for i, pair in enumerate(pairs) if not self._passes_window(pair)]
        long = [i for i, pair in enumerate(pairs) if self._passes_window(pair)]
        settled = (
            (short, *self._settle([pairs[i] for i in short])),
            (long, *self._settle_long([pairs[i] for i in long])),
        )
        for indices, layout, plan in settled:
            wanted = {place for place, i in enumerate(indices) if i not in skip}
            for scored in self._run(plan, layout, wanted):
                yield replace(scored, request=indices[scored.request])

    def _passes_window(self, pair: EncodedPair) -> bool:
        return self.window is not None and len(pair.inputs) > self.window

    def trusts(self, layout: Layout, pairs: Sequence[EncodedPair]) -> bool:
        """Whether `layout` agrees with plain scoring on a few of `pairs`; asked once per kind of work and model."""
        if layout == "plain":
            return True
        long = [pair for pair in pairs if self._passes_window(pair)]
        pairs = long or pairs
        return self._trusts(layout, pairs, self._plan(pairs, layout, self.limits), is_long=bool(long))

    def _trusts(self, layout: Layout, pairs: Sequence[EncodedPair], plan: PrefixPlan, *, is_long: bool) -> bool:
        block = max((block for block in plan.blocks if block.tokens), key=_size, default=None)
        has_branches = any(len(row.leaves) > 1 for row in plan.rows)
        key = (layout, block is not None, has_branches, is_long)
        if key not in self._trusted:
            # The check must see what the run will: two docs under one block, if there is one.
            few = _few(pairs if block is None else [pairs[i] for i in sorted(_requests(block))])
            self._trusted[key] = self._agrees(layout, few if is_long else _without_far_past(few))
        return self._trusted[key]

    def _settle(self, pairs: Sequence[EncodedPair]) -> tuple[Layout, PrefixPlan]:
        """The first layout that is trusted with `pairs`, and their plan in it."""
        while True:
            plan = self._plan(pairs, self.layout, self.limits)
            if len(self._layouts) == 1 or not pairs or self._trusts(self.layout, pairs, plan, is_long=False):
                return self.layout, plan
            self._layouts.pop(0)

    def _settle_long(self, pairs: Sequence[EncodedPair]) -> tuple[Layout, PrefixPlan]:
        """The same for pairs beyond a sliding window: a packed mask would replace the model's own, so they branch."""
        if "branched" in self._layouts:
            plan = self._plan(pairs, "branched", self.limits)
            if not pairs or self._trusts("branched", pairs, plan, is_long=True):
                return "branched", plan
        return "plain", self._plan(pairs, "plain", self.limits)

    def _plan(self, pairs: Sequence[EncodedPair], layout: Layout, limits: Limits) -> PrefixPlan:
        inputs = [(pair.inputs, pair.first_row, pair.continuation) for pair in pairs]
        return make_plan(inputs, limits, sharing=layout != "plain")

    def _agrees(self, layout: Layout, pairs: list[EncodedPair]) -> bool:
        plain = {s.request: s for s in self._run(self._plan(pairs, "plain", self.limits), "plain", None)}
        # A block, and rows of unlike widths side by side, as in the run: so blocks cost next to nothing here (but
        # a doc is a row rather than a block), rows may not swallow other docs, and one batch may hold them all.
        own = max(sum(len(p.continuation) for p in pairs if p.context == pair.context) for pair in pairs)
        eager = replace(self.limits, block_overhead=1, row_branch_tokens=own, batch_tokens=8 * self.limits.batch_tokens)
        try:
            planned = {s.request: s for s in self._run(self._plan(pairs, layout, eager), layout, None)}
        except Exception as error:
            if is_out_of_memory(error):
                raise
            self.notes.append(
                f"The {layout} plan failed on this model ({first_line(error.__cause__ or error)}); it is not used."
            )
            return False
        for i, expected in plain.items():
            got = planned[i]
            if isinstance(expected, Exhausted) or isinstance(got, Exhausted) or not expected.finite:
                continue
            difference = abs(got.total - expected.total)
            if not difference <= self._tolerance(expected):
                self.notes.append(
                    f"The {layout} plan differs from plain scoring by {difference:.3g} nats on this model; "
                    "it is not used."
                )
                return False
            self.largest_difference = max(self.largest_difference, difference)
        return True

    def _tolerance(self, expected: Scored) -> float:
        """In nats: rounding in fp32; in half precision what reordering sums does to a few dozen tokens."""
        if next(self.model.model.parameters()).dtype in (torch.float32, torch.float64):
            return 1e-3 + 1e-5 * abs(expected.total)
        return 0.15 * math.sqrt(max(1, expected.num_tokens)) + 0.02 * abs(expected.total)

    def _run(self, plan: PrefixPlan, layout: Layout, wanted: set[int] | None) -> Iterator[Scored | Exhausted]:
        for block, states in prefilled(self.model, plan, wanted):
            for batch in block.batches:
                if wanted is not None and not any(r in wanted for row in batch for r in row.requests):
                    continue
                for scored in self._batch(layout, block, states, batch):
                    if wanted is None or scored.request in wanted:
                        yield scored

    def _batch(
        self, layout: Layout, block: Block, states: Past | None, batch: Sequence[PlanRow]
    ) -> Iterator[Scored | Exhausted]:
        def run(piece: Sequence[PlanRow]) -> list[Scored]:
            return list(run_batch(self.model, layout, block, states, piece))

        def requests(piece: Sequence[PlanRow]) -> list[int]:
            return [request for row in piece for request in row.requests]

        return self.in_pieces(batch, run, smaller=_halves, requests=requests, size=_tokens)


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


def _candidates(model: CausalModel, plan: str, config: PretrainedConfig) -> list[Layout]:
    if plan == "plain":
        return ["plain"]
    if plan == "branched":
        return ["branched", "plain"]
    if plan == "packed":
        if not model.takes_positions:
            raise BackendError(
                f"--plan packed needs a model that takes position_ids, and {type(model.model).__name__} does not. "
                "Use --plan branched, or leave --plan out."
            )
        return ["packed", "plain"]
    if plan != "auto":
        raise BackendError(f"no plan named {plan!r}; there are auto, packed, branched and plain.")
    if model.keeps_states:
        return ["plain"] if model.goes_on == "never" else ["branched", "plain"]
    kinds = getattr(getattr(config, "text_config", None) or config, "layer_types", None) or ()
    if any(str(kind) not in ("full_attention", "sliding_attention") for kind in kinds):
        return ["plain"]
    layouts: list[Layout] = ["packed"] if model.takes_positions else []
    if model.takes_mask:
        layouts.append("branched")
    return [*layouts, "plain"]


def _requests(block: Block) -> list[int]:
    return [request for batch in block.batches for row in batch for request in row.requests]


def _size(block: Block) -> int:
    return len(_requests(block))


def _few(pairs: Sequence[EncodedPair]) -> list[EncodedPair]:
    """Two choices each of the docs with the shortest and longest context and of the first, within the budget.

    Docs with choices that branch come first.
    """
    by_context: dict[tuple[int, ...], list[EncodedPair]] = {}
    for pair in pairs:
        by_context.setdefault(pair.context, []).append(pair)
    two = {context: _two(choices) for context, choices in by_context.items()}
    docs = [context for context, choices in two.items() if len(choices) > 1] or list(two)
    docs = docs[:CHECK_DOCS]
    budget = min(CHECK_TOKENS, int(CHECK_SHARE * sum(len(pair.inputs) for pair in pairs)))
    chosen: list[EncodedPair] = []
    for place, context in enumerate(dict.fromkeys([min(docs, key=len), max(docs, key=len), *docs[:4]])):
        if place >= 2 and sum(len(pair.inputs) for pair in (*chosen, *two[context])) > budget:
            break
        chosen += two[context]
    return chosen


def _two(choices: Sequence[EncodedPair]) -> list[EncodedPair]:
    """The first choice and the first other one of which neither begins the other; or the first alone."""
    for place, one in enumerate(choices):
        for other in choices[place + 1 :]:
            shared = min(len(one.inputs), len(other.inputs))
            if one.inputs[:shared] != other.inputs[:shared]:
                return [one, other]
    return [choices[0]]


def _without_far_past(pairs: Sequence[EncodedPair]) -> list[EncodedPair]:
    """The pairs without most of the prefix that their contexts share: any tokens will do to compare layouts."""
    shortest = min(len(pair.context) for pair in pairs)
    shared = 0
    while shared < shortest and len({pair.context[shared] for pair in pairs}) == 1:
        shared += 1
    cut = max(0, min(shared, shortest - 1) - CHECK_SHARED)
    return [EncodedPair(pair.context[cut:], pair.continuation) for pair in pairs]


def prefilled(model: CausalModel, plan: PrefixPlan, wanted: set[int] | None) -> Iterator[tuple[Block, Past | None]]:
    """The blocks that `wanted` requests need (None: all), each with the keys and values of its prefix, which
    are forgotten when no later block extends it.
    """
    states: dict[int, Past | None] = {-1: None, 0: None}
    needed = _needed_blocks(plan, wanted)
    for index, block in enumerate(plan.blocks):
        if index not in needed:
            continue
        if block.tokens:
            above = plan.blocks[block.parent].tokens if block.parent > 0 else ()
            states[index] = model.prefix(block.tokens, len(above), states[block.parent])
        yield block, states[index]
        if not any(later.parent == index for later in plan.blocks[index + 1 :]):
            states.pop(index, None)


def _needed_blocks(plan: PrefixPlan, wanted: set[int] | None) -> set[int]:
    needed: set[int] = set()
    for index in reversed(range(len(plan.blocks))):
        block = plan.blocks[index]
        rows = (row for batch in block.batches for row in batch)
        if index in needed or wanted is None or any(r in wanted for row in rows for r in row.requests):
            needed.add(index)
            if block.parent >= 0:
                needed.add(block.parent)
    return needed


def _tokens(piece: Sequence[PlanRow]) -> int:
    return len(piece) * max(row.packed_width for row in piece)


def _halves(batch: Sequence[PlanRow]) -> list[Sequence[PlanRow]]:
    """The batch in two, by rows, or by the branches of its only row; nothing where neither is possible."""
    if len(batch) > 1:
        return halves(batch)
    row = batch[0]
    if len(row.leaves) > 1:
        middle = len(row.leaves) // 2
        return [[replace(row, leaves=row.leaves[:middle])], [replace(row, leaves=row.leaves[middle:])]]
    return []

"""Pairs in, log-likelihoods out: chooses a layout, checks it against one text alone, survives a full memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.cache import KeysValues
from benchbench.backends.hf.causal import CausalModel, Layout, run_batch
from benchbench.backends.hf.check import (
    Kind,
    Sample,
    Verdict,
    attention_window,
    described,
    disagreement,
    may_change_with_length,
    sample,
    switches,
    tolerance_of,
    without_far_past,
)
from benchbench.backends.hf.halving import Halving, halves, is_out_of_memory
from benchbench.backends.plan import Block, Limits, PlanLeaf, PlanRow, PrefixPlan, make_plan
from benchbench.backends.tokens import Exhausted, Scored, first_line
from benchbench.core.errors import ArgumentError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SHARING: tuple[Layout, ...] = ("packed", "branched")
"""Layouts in which a prefix is computed once for all that share it."""
WHOLE: tuple[Layout, ...] = ("plain", "unpadded", "single")
"""Layouts in which every text is computed whole, the fastest first. The last is right by definition."""
IN_USE: dict[Layout, str] = {
    "plain": "Prefixes that requests share are computed anew for each of them.",
    "unpadded": "Padding changes the numbers of this model: only texts of one length are computed together.",
    "single": "Other texts in its batch change a text's numbers on this model: one is computed at a time, slowly.",
}
"""What is told of a layout to which a check has led."""


class CausalScorer(Halving):
    """Scores encoded pairs with one model. `notes` tells, in sentences, what the self-check decided."""

    def __init__(self, model: CausalModel, limits: Limits, *, plan: str, config: PretrainedConfig) -> None:
        self.model = model
        self.limits = limits
        self.config = config
        self.notes: list[str] = []
        self.window = attention_window(config)
        self._switches = switches(config)
        self._possible = _candidates(model, plan, config)
        self._verdicts: dict[Kind, list[Verdict]] = {}
        self.layout: Layout = self._possible[0]
        """The layout in use for the shortest texts of the last task."""

    def forget(self) -> None:
        """New weights were loaded: what the old ones were trusted or distrusted with must be checked again."""
        self._verdicts.clear()
        self.layout = self._possible[0]
        self.notes.clear()

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored | Exhausted]:
        """Score each pair; `skip` names those that need no answer but keep their place in the layout."""
        wanted = {i for i in range(len(pairs)) if i not in skip}
        if not wanted:
            return
        settled = [(group, *self._settle([pairs[i] for i in group])) for group in self._by_length(pairs)]
        self.layout = settled[0][1]
        for indices, layout, plan in settled:
            places = {place for place, i in enumerate(indices) if i in wanted}
            for scored in self._run(plan, layout, places):
                yield replace(scored, request=indices[scored.request])

    def trusts(self, layout: Layout, pairs: Sequence[EncodedPair]) -> bool:
        """Whether `layout` gives for `pairs` what one text alone gives; checked once per kind of work and model."""
        groups = ([pairs[i] for i in group] for group in self._by_length(pairs))
        return all(self._is_right(layout, self._plan(group, layout), {}) for group in groups)

    def _by_length(self, pairs: Sequence[EncodedPair]) -> list[list[int]]:
        """The pairs between any two lengths at which the model is known to change, shortest first."""
        groups: dict[int, list[int]] = {}
        for i, pair in enumerate(pairs):
            groups.setdefault(bisect_left(self._switches, len(pair.inputs)), []).append(i)
        return [groups[key] for key in sorted(groups)]

    def _settle(self, pairs: Sequence[EncodedPair]) -> tuple[Layout, PrefixPlan]:
        """The first layout that is right for `pairs`, and their plan in it."""
        alone: dict[PlanLeaf, list[Scored]] = {}
        layouts = self._layouts(pairs)
        for layout in layouts:
            plan = self._plan(pairs, layout)
            if self._is_right(layout, plan, alone):
                break
        if layout != layouts[0]:
            self._tell(IN_USE.get(layout))
        return layout, plan

    def _layouts(self, pairs: Sequence[EncodedPair]) -> list[Layout]:
        """What is tried for `pairs`. Beyond a sliding window a packed mask would replace the model's own."""
        is_long = self.window is not None and max(len(pair.inputs) for pair in pairs) > self.window
        return [layout for layout in self._possible if not (is_long and layout == "packed")]

    def _plan(self, pairs: Sequence[EncodedPair], layout: Layout) -> PrefixPlan:
        inputs = [(pair.inputs, pair.first_row, pair.continuation) for pair in pairs]
        plan = make_plan(inputs, self.limits, sharing=layout in SHARING)
        return _split(plan, layout) if layout in ("unpadded", "single") else plan

    def _is_right(self, layout: Layout, plan: PrefixPlan, alone: dict[PlanLeaf, list[Scored]]) -> bool:
        """Whether the plan gives what one text alone gives; `alone` keeps that for the layouts that are tried next."""
        if layout == "single":
            return True
        kind, shape = described(plan, layout)
        known = self._verdicts.setdefault(kind, [])
        verdict = next((one for one in known if one.speaks_for(shape)), None)
        if verdict is None:
            verdict = Verdict(shape, self._fault(layout, self._sample(plan, layout), alone))
            known.append(verdict)
            if verdict.fault is not None:
                shortest = min(len(leaf.tokens) for row in plan.rows for leaf in row.leaves)
                texts = f"texts of {shortest} to {shape.longest} tokens"
                self._tell(f"The {layout} plan is not used for {texts}: {verdict.fault}.")
        return verdict.fault is None

    def _tell(self, note: str | None) -> None:
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def _sample(self, plan: PrefixPlan, layout: Layout) -> Sample:
        checked = sample(plan, layout)
        longest = max((len(leaf.tokens) for row in checked.plan.rows for leaf in row.leaves), default=0)
        is_known = type(self.model.model).__module__.startswith("transformers.models.")
        if not is_known or may_change_with_length(self.config, longest):
            return checked
        return without_far_past(checked)

    def _fault(self, layout: Layout, checked: Sample, alone: dict[PlanLeaf, list[Scored]]) -> str | None:
        """In what the checked rows differ from their texts alone, as the end of a sentence; None if in nothing."""
        expected = [scored for leaf in checked.alone for scored in self._alone(leaf, alone)]
        try:
            got = {scored.request: scored for scored in self._run(checked.plan, layout, None)}
        except Exception as error:
            if is_out_of_memory(error):
                raise
            cause = error.__cause__ or error
            return f"this model cannot compute it ({type(cause).__name__}: {first_line(cause)})"
        tolerance = tolerance_of(self.model.model)
        pairs = [(one, other) for one in expected if isinstance(other := got[one.request], Scored)]
        differences = [difference for one, other in pairs if (difference := disagreement(one, other, tolerance))]
        return f"it differs from one text alone by {max(differences):.3g} nats" if differences else None

    def _alone(self, leaf: PlanLeaf, known: dict[PlanLeaf, list[Scored]]) -> list[Scored]:
        """What the readers of a text get where nothing is computed beside it; nothing where memory runs out."""
        if leaf not in known:
            row = PlanRow((leaf,), 0, len(leaf.tokens))
            answers = self._batch("single", Block((), -1, ()), None, [row])
            known[leaf] = [scored for scored in answers if isinstance(scored, Scored)]
        return known[leaf]

    def _run(self, plan: PrefixPlan, layout: Layout, wanted: set[int] | None) -> Iterator[Scored | Exhausted]:
        for block, states in prefilled(self.model, plan, wanted):
            for batch in block.batches:
                if wanted is not None and not any(r in wanted for row in batch for r in row.requests):
                    continue
                for scored in self._batch(layout, block, states, batch):
                    if wanted is None or scored.request in wanted:
                        yield scored

    def _batch(
        self, layout: Layout, block: Block, states: list[KeysValues] | None, batch: Sequence[PlanRow]
    ) -> Iterator[Scored | Exhausted]:
        def run(piece: Sequence[PlanRow]) -> list[Scored]:
            return list(run_batch(self.model, layout, block, states, piece))

        def requests(piece: Sequence[PlanRow]) -> list[int]:
            return [request for row in piece for request in row.requests]

        return self.in_pieces(batch, run, smaller=_halves, requests=requests, size=_tokens)


def _candidates(model: CausalModel, plan: str, config: PretrainedConfig) -> list[Layout]:
    """The layouts that `--plan` and the architecture allow, in the order in which they are tried."""
    if plan in WHOLE:
        return list(WHOLE[WHOLE.index(plan) :])
    if plan == "packed" and not model.takes_positions:
        raise ArgumentError(
            f"--plan packed needs a model that takes position_ids, and {type(model.model).__name__} does not. "
            "Use --plan branched, or leave --plan out."
        )
    if plan in SHARING:
        return [plan, *WHOLE]
    kinds = getattr(getattr(config, "text_config", None) or config, "layer_types", None) or ()
    if any(str(kind) not in ("full_attention", "sliding_attention") for kind in kinds):
        return list(WHOLE)
    accepted = {"packed": model.takes_positions, "branched": model.takes_mask}
    return [*(layout for layout in SHARING if accepted[layout]), *WHOLE]


def _split(plan: PrefixPlan, layout: Layout) -> PrefixPlan:
    """A plan without sharing whose batches hold texts of one length, or one text."""
    (block,) = plan.blocks
    rows = [list(batch) for batch in block.batches]
    if layout == "single":
        return PrefixPlan((replace(block, batches=tuple((row,) for batch in rows for row in batch)),))
    pieces = (tuple(piece) for batch in rows for _, piece in groupby(batch, key=lambda row: row.depth))
    return PrefixPlan((replace(block, batches=tuple(pieces)),))


def prefilled(
    model: CausalModel, plan: PrefixPlan, wanted: set[int] | None
) -> Iterator[tuple[Block, list[KeysValues] | None]]:
    """The blocks that `wanted` requests need (None: all), each with the keys and values of its prefix, which
    are forgotten when no later block extends it.
    """
    states: dict[int, list[KeysValues] | None] = {-1: None, 0: None}
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

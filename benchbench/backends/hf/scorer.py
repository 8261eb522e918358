"""Pairs in, log-likelihoods out: chooses a layout, checks it against one text alone, survives a full memory."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, cast

from benchbench.backends.encode import EncodedPair
from benchbench.backends.hf.agreement import EXACT, Verdict, cannot, disagreement, tolerance_of
from benchbench.backends.hf.cache import CannotShareError, Past
from benchbench.backends.hf.causal import Layout, run_batch
from benchbench.backends.hf.check import (
    Kind,
    Sample,
    Shape,
    attention_window,
    cheap_sample,
    computed,
    config_of_text,
    described,
    may_change_with_length,
    reads_padding,
    sample,
    switches,
    without_far_past,
)
from benchbench.backends.hf.halving import Halving, halves, is_out_of_memory
from benchbench.backends.hf.held import HeldBlock
from benchbench.backends.hf.model import CausalModel
from benchbench.backends.plan import Block, Limits, PlanLeaf, PlanRow, PrefixPlan, make_plan
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.core.activity import doing
from benchbench.core.errors import ArgumentError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SHARING: tuple[Layout, ...] = ("packed", "branched")
"""Layouts in which a prefix is computed once for all that share it."""
WHOLE: tuple[Layout, ...] = ("plain", "unpadded", "single")
"""Layouts in which every text is computed whole, the fastest first. The last is right by definition."""
CHECK_SHARE = 0.02
"""Share of a plan's tokens that texts alone may take, before the check is made with short ones (never where lengths may
change what the model computes)."""
DIFFERS = "differs from one text alone by"
COPIES = 4
"""Of a text in one batch, to see how much only the order of sums moves its numbers in half precision."""
IN_USE: dict[Layout, str] = {
    "plain": "Prefixes that requests share are computed anew for each of them.",
    "unpadded": "Padding changes the numbers of this model: only texts of one length are computed together.",
    "single": "Other texts in its batch change a text's numbers on this model: one is computed at a time, slowly.",
}
"""What is told of a layout that nobody asked for."""


@dataclass(slots=True)
class _Done:
    """What a check has computed, and the run need not compute again."""

    alone: dict[PlanLeaf, list[Scored]] = field(default_factory=dict)
    """Texts, and what they gave alone."""
    answers: dict[int, list[Scored | Exhausted]] = field(default_factory=dict)
    """By the id of a batch of the plan."""
    states: dict[tuple[int, ...], Past | None] = field(default_factory=dict)
    """By the tokens of a block."""


class CausalScorer(Halving):
    """Scores encoded pairs with one model. `notes` tells, in sentences, what the self-check decided."""

    def __init__(self, model: CausalModel, limits: Limits, *, plan: str, config: PretrainedConfig) -> None:
        self.model = model
        self.limits = limits
        self.config = config
        self.notes: list[str] = []
        self.window = attention_window(config)
        self._switches = switches(config)
        self._is_auto = plan == "auto"
        self._possible = _candidates(model, plan, config)
        self._verdicts: dict[Kind, list[Verdict[Shape]]] = {}
        self._taught: dict[Kind, Sequence[Verdict[Shape]]] = {}
        """Of the task's first requests, when these are others of it."""
        self.held = HeldBlock()
        self.layout: Layout = self._possible[0]
        """The layout in use for the shortest texts of the last task."""

    def forget(self) -> None:
        """New weights were loaded: what the old ones were trusted or distrusted with must be checked again."""
        self._verdicts.clear()
        self._taught.clear()
        self.held.drop()
        self.layout = self._possible[0]
        self.notes.clear()

    def lessons(self) -> object:
        """The verdicts of its own until now, and the prefix that most requests share."""
        return {kind: tuple(verdicts) for kind, verdicts in self._verdicts.items()}, self.held.tokens

    def take_lessons(self, lessons: object) -> None:
        """These, and nothing else. With None the next requests are asked in order to learn."""
        self._verdicts, self._taught = {}, {}
        if lessons is None:
            self.held.seek()
            return
        taught, shared = cast("tuple[Mapping[Kind, Sequence[Verdict[Shape]]], tuple[int, ...]]", lessons)
        self._taught.update(taught)
        self.held.take(shared)

    def score(self, pairs: Sequence[EncodedPair], skip: Collection[int] = ()) -> Iterator[Scored | Exhausted]:
        """Score each pair; `skip` names those that need no answer but keep their place in the layout."""
        wanted = {i for i in range(len(pairs)) if i not in skip}
        if not (wanted or (pairs and self.held.is_sought)):
            return
        self.held.look_at((pair.inputs[: pair.first_row + 1] for pair in pairs), self.limits)
        groups = self._by_length(pairs)
        settled = [(group, *self._settle([pairs[i] for i in group], runs=bool(wanted))) for group in groups]
        self.layout = settled[0][1]
        for indices, layout, plan, done in settled:
            places = {place for place, i in enumerate(indices) if i in wanted}
            for scored in self._run(plan, layout, places, done):
                yield replace(scored, request=indices[scored.request])

    def trusts(self, layout: Layout, pairs: Sequence[EncodedPair]) -> bool:
        """Whether texts can be continued in that layout: whether it gives for `pairs`, the ends of their contexts, what
        one text alone gives; checked once per kind of work and model.
        """
        # Batches of writing are as large as memory allows, so that their rows differ more than those of scoring.
        groups = ([pairs[i] for i in group] for group in self._by_length(pairs))
        return all(self._is_right(layout, self._plan(group, layout, self._full)) for group in groups)

    @property
    def _full(self) -> Limits:
        """Of batches whose rows differ as much as they may."""
        return replace(self.limits, batch_overhead=self.limits.batch_tokens)

    def _by_length(self, pairs: Sequence[EncodedPair]) -> list[list[int]]:
        """The pairs between any two lengths at which the model is known to change, shortest first."""
        groups: dict[int, list[int]] = {}
        for i, pair in enumerate(pairs):
            groups.setdefault(bisect_left(self._switches, len(pair.inputs)), []).append(i)
        return [groups[key] for key in sorted(groups)]

    def _settle(self, pairs: Sequence[EncodedPair], *, runs: bool) -> tuple[Layout, PrefixPlan, _Done]:
        """The first layout that is right for `pairs`, their plan in it, and what is done of it, where it then `runs`.

        One that does not run has the largest differences that a batch may have.
        """
        done = _Done()
        layouts = self._layouts(pairs)
        for layout in layouts:
            plan = self._plan(pairs, layout) if runs else self._plan(pairs, layout, self._full)
            if self._is_right(layout, plan, done if runs else None):
                break
            done = _Done(done.alone)
        if self._is_auto or layout != layouts[0]:
            self._tell(IN_USE.get(layout))
        return layout, plan, done

    def _layouts(self, pairs: Sequence[EncodedPair]) -> list[Layout]:
        """What is tried for `pairs`. Beyond a sliding window a packed mask would replace the model's own."""
        is_long = self.window is not None and max(len(pair.inputs) for pair in pairs) > self.window
        return [layout for layout in self._possible if not (is_long and layout == "packed")]

    def _plan(self, pairs: Sequence[EncodedPair], layout: Layout, limits: Limits | None = None) -> PrefixPlan:
        inputs = [(pair.inputs, pair.first_row, pair.continuation) for pair in pairs]
        plan = make_plan(inputs, limits or self.limits, sharing=layout in SHARING, known=self.held.tokens)
        return _split(plan, layout) if layout in ("unpadded", "single") else plan

    def _is_right(self, layout: Layout, plan: PrefixPlan, done: _Done | None = None) -> bool:
        """Whether the plan gives what one text alone gives. `done` takes what the check computes of the run itself."""
        if layout == "single":
            return True
        kind, shape = described(plan, layout)
        known = self._verdicts.setdefault(kind, [])
        verdict = next((one for one in known if one.speaks_for(shape)), self._told(kind, shape))
        if verdict is None:
            checked = self._sample(plan, layout, shape, whole=done is not None)
            with doing("self-check against one text alone"):
                verdict = Verdict(shape, self._fault(layout, checked, done or _Done()))
            known.append(verdict)
            self._tell_fault(layout, plan, verdict)
        return verdict.fault is None

    def _told(self, kind: Kind, shape: Shape) -> Verdict[Shape] | None:
        """What was taught of the texts that go just further than these: the first requests were the task's extremes.

        What was wrong with them is not tried with others.
        """
        alike = [
            verdict
            for one, verdicts in self._taught.items()
            if replace(one, length=kind.length) == kind
            for verdict in verdicts
        ]
        if self._is_steady(shape):
            return max(alike, key=lambda verdict: verdict.reach.longest, default=None)
        span = bisect_left(self._switches, shape.longest)
        further = [
            verdict
            for verdict in alike
            if shape.longest <= verdict.reach.longest and bisect_left(self._switches, verdict.reach.longest) == span
        ]
        nearest = min(further, key=lambda verdict: verdict.reach.longest, default=None)
        return nearest if nearest is not None and (nearest.fault or nearest.speaks_for(shape)) else None

    def _is_steady(self, shape: Shape) -> bool:
        """Whether nothing about the model is known to change with the lengths of texts and rows that go so far."""
        is_known = type(self.model.model).__module__.startswith("transformers.models.")
        return is_known and not may_change_with_length(self.config, max(shape.longest, shape.widest))

    def _tell_fault(self, layout: Layout, plan: PrefixPlan, verdict: Verdict[Shape]) -> None:
        """Of a model that cannot compute a layout once; of one that gives other numbers, for which lengths."""
        if verdict.fault is None:
            return
        cannot = f"The {layout} plan is not used: "
        if DIFFERS not in verdict.fault:
            if not any(note.startswith(cannot) for note in self.notes):
                self._tell(f"{cannot}{verdict.fault}.")
            return
        shortest = min(len(leaf.tokens) for row in plan.rows for leaf in row.leaves)
        self._tell(
            f"The {layout} plan is not used for texts of {shortest} to {verdict.reach.longest} tokens: {verdict.fault}."
        )

    def _tell(self, note: str | None) -> None:
        if note is not None and note not in self.notes:
            self.notes.append(note)

    def _sample(self, plan: PrefixPlan, layout: Layout, shape: Shape, *, whole: bool) -> Sample:
        """What is checked. `whole`: what the check computes of the plan need not be computed again."""
        real = sample(plan, layout, whole=whole)
        if not self._is_steady(shape):
            return real
        cheap = without_far_past(cheap_sample(plan, layout))
        cost = real.alone_tokens + (0 if whole else computed(real.plan))
        is_dear = cost > max(CHECK_SHARE * computed(plan), cheap.alone_tokens + computed(cheap.plan))
        return cheap if is_dear else real

    def _fault(self, layout: Layout, checked: Sample, done: _Done) -> str | None:
        """In what the checked rows differ from their texts alone, as the end of a sentence; None if in nothing."""
        expected = {one.request: one for leaf in checked.alone for one in self._alone(leaf, done.alone)}
        try:
            for got in self._compute(checked.plan, layout, done if checked.is_whole else _Done()):
                one = expected.get(got.request)
                nats = self._difference(one, got, checked) if one is not None and isinstance(got, Scored) else None
                if nats is not None:
                    return f"it {DIFFERS} {nats:.3g} nats"
        except Exception as error:
            if is_out_of_memory(error):
                raise
            if isinstance(error, CannotShareError):
                return f"what this model keeps of a text cannot be shared ({error})"
            return cannot(error, "it")
        return None

    def _compute(self, plan: PrefixPlan, layout: Layout, done: _Done) -> Iterator[Scored | Exhausted]:
        for block, states in prefilled(self.model, plan, None, held=self.held):
            done.states[block.tokens] = states
            for batch in block.batches:
                done.answers[id(batch)] = answers = list(self._batch(layout, block, states, batch))
                yield from answers

    def _difference(self, expected: Scored, got: Scored, checked: Sample) -> float | None:
        """In nats, beyond what rounding explains on this model; None if it explains all."""
        tolerance = tolerance_of(self.model.model)
        nats = disagreement(expected, got, tolerance)
        if nats is None or tolerance is EXACT:
            return nats
        return disagreement(expected, got, tolerance.scaled(self._noise(expected, checked)))

    def _noise(self, expected: Scored, checked: Sample) -> float:
        """How far a text's log-probabilities move, at the worst token, in a batch of copies of it."""
        leaf = next(leaf for leaf in checked.alone if any(r.request == expected.request for r in leaf.readers))
        copies = [PlanRow((leaf,), 0, len(leaf.tokens))] * COPIES
        scored = self._batch("unpadded", Block((), -1, ()), None, copies)
        texts = [one.logprobs for one in scored if isinstance(one, Scored) and one.request == expected.request]
        return max((abs(a - b) for text in texts for a, b in zip(text, expected.logprobs, strict=True)), default=0.0)

    def _alone(self, leaf: PlanLeaf, known: dict[PlanLeaf, list[Scored]]) -> list[Scored]:
        """What the readers of a text get where nothing is computed beside it; nothing where memory runs out."""
        if leaf not in known:
            row = PlanRow((leaf,), 0, len(leaf.tokens))
            answers = self._batch("single", Block((), -1, ()), None, [row])
            known[leaf] = [scored for scored in answers if isinstance(scored, Scored)]
        return known[leaf]

    def _run(self, plan: PrefixPlan, layout: Layout, wanted: set[int], done: _Done) -> Iterator[Scored | Exhausted]:
        for block, states in prefilled(self.model, plan, wanted, done.states, held=self.held):
            for batch in block.batches:
                if any(r in wanted for row in batch for r in row.requests):
                    answers = done.answers.pop(id(batch), None)
                    for scored in answers or self._batch(layout, block, states, batch):
                        if scored.request in wanted:
                            yield scored

    def _batch(
        self, layout: Layout, block: Block, states: Past | None, batch: Sequence[PlanRow]
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
    if model.keeps_states:
        return list(WHOLE) if model.goes_on == "never" else ["branched", *WHOLE]
    if reads_padding(config):
        return list(WHOLE[1:])
    kinds = getattr(config_of_text(config), "layer_types", None) or ()
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
    model: CausalModel,
    plan: PrefixPlan,
    wanted: set[int] | None,
    known: dict[tuple[int, ...], Past | None] | None = None,
    *,
    held: HeldBlock,
) -> Iterator[tuple[Block, Past | None]]:
    """The blocks that `wanted` requests need (None: all), each with the keys and values of its prefix, which
    are forgotten when no later block extends it. `known` has those of some blocks by their tokens, and gives them away;
    `held` keeps its own.
    """
    states: dict[int, Past | None] = {-1: None, 0: None}
    needed = _needed_blocks(plan, wanted)
    for index, block in enumerate(plan.blocks):
        if index not in needed:
            continue
        if block.tokens:
            above = plan.blocks[block.parent].tokens if block.parent > 0 else ()
            ready = known.pop(block.tokens, None) if known else None
            if ready is None:
                ready = held.of(block.tokens, lambda tokens: model.prefix(tokens, 0, None))
            states[index] = model.prefix(block.tokens, len(above), states[block.parent]) if ready is None else ready
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

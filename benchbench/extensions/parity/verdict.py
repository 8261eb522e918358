"""Whether two backends, or a quantised model and its original, give the same answers: a function of two item tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchbench.core.errors import StoreError
from benchbench.core.types import Item
from benchbench.stats.duel import Duel, duel

SEED = 0
"""For sign flips, which scores that are not right or wrong are tested with."""
MAX_LEFT_OUT = 0.01
"""Largest share of docs, 0 to 1, that may lack an answer on one side while the two still count as agreeing."""

Verdict = Literal["within", "beyond", "docs missing", "not judged"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two right implementations may differ in one log-likelihood, in nats."""

    absolute: float
    relative: float
    """Of the larger of the two log-likelihoods; it takes over for long texts, whose rounding errors add up."""

    def allows(self, a: float, b: float) -> bool:
        """Whether `a` and `b` are as near as this tolerance asks."""
        gap = difference(a, b)
        return math.isfinite(gap) and gap <= max(self.absolute, self.relative * max(abs(a), abs(b)))


TOLERANCES = {"float32": Tolerance(1e-3, 1e-5), "float16": Tolerance(0.05, 1e-3), "bfloat16": Tolerance(0.4, 8e-3)}
"""By the type that the model computes in. A type that is not here (a quantised one) is not judged: llama.cpp rounds
activations too, so that no bound holds. float32 allows for sums in another order through some dozens of layers.
The short types are a convention: float16 is given 50 times that, and bfloat16, with 3 bits fewer, 8 times as much.
"""


def tolerance_of(dtype_a: str, dtype_b: str) -> Tolerance | None:
    """The looser of the two types' tolerances; None if one of them has none."""
    known = [TOLERANCES.get(dtype) for dtype in (dtype_a, dtype_b)]
    found = [one for one in known if one is not None]
    return max(found, key=lambda one: one.absolute) if len(found) == len(known) else None


@dataclass(frozen=True, slots=True)
class TaskParity:
    """One task, answered by two sides."""

    task: str
    docs: int
    """Docs that both sides answered."""
    left_out: int
    """Docs that at least one side failed, or does not have."""
    loglikelihoods: int
    """Log-likelihoods compared; 0 for generations."""
    largest: float | None
    """Largest difference of two log-likelihoods, in nats; None where there are none."""
    mean: float | None
    """Mean absolute difference, in nats."""
    beyond: int | None
    """Log-likelihoods that differ by more than the tolerance; None where none holds or there are none."""
    flips: int
    """Docs whose chosen answer differs: the choice, whether the target was the likeliest, or the filtered text."""
    texts: int
    """Generated texts compared."""
    texts_equal: int
    tokens_differ: int
    """Docs whose prompt, or scored continuation, is a different number of tokens: then the question was another."""
    worst_doc: int | None
    """doc_id of the largest difference."""
    tolerance: Tolerance | None

    @property
    def verdict(self) -> Verdict:
        """What can be said. Texts alone are not judged: one near tie changes all that follows it."""
        if self.docs == 0 or self.left_out > MAX_LEFT_OUT * (self.docs + self.left_out):
            return "docs missing"
        if self.beyond is None:
            return "not judged"
        return "beyond" if self.beyond else "within"


def compare_items(task: str, a: Sequence[Item], b: Sequence[Item], tolerance: Tolerance | None) -> TaskParity:
    """How far two item tables of one task agree. StoreError if one doc id stands for different docs."""
    pairs = list(paired(task, a, b))
    every = {(item.doc_id, item.prompt_name) for item in (*a, *b)}
    compared = [
        (x, y, one.doc_id) for one, two in pairs for x, y in zip(one.loglikelihoods, two.loglikelihoods, strict=True)
    ]
    gaps = [difference(x, y) for x, y, _ in compared]
    texts = [same for one, two in pairs for same in map(str.__eq__, one.texts, two.texts)]
    return TaskParity(
        task=task,
        docs=len(pairs),
        left_out=len(every) - len(pairs),
        loglikelihoods=len(gaps),
        largest=max(gaps, default=None),
        mean=math.fsum(gaps) / len(gaps) if gaps else None,
        beyond=sum(not tolerance.allows(x, y) for x, y, _ in compared) if tolerance and gaps else None,
        flips=sum(one.prediction != two.prediction for one, two in pairs),
        texts=len(texts),
        texts_equal=sum(texts),
        tokens_differ=sum(_tokens(one) != _tokens(two) for one, two in pairs),
        worst_doc=compared[gaps.index(max(gaps))][2] if gaps else None,
        tolerance=tolerance,
    )


def difference(a: float, b: float) -> float:
    """|a − b|; 0 for two equal infinities, infinite where one side is infinite or NaN."""
    if a == b:
        return 0.0
    gap = abs(a - b)
    return math.inf if math.isnan(gap) else gap


def paired(task: str, a: Sequence[Item], b: Sequence[Item]) -> Iterator[tuple[Item, Item]]:
    """The items that both sides answered, in order of doc id."""
    others = {(item.doc_id, item.prompt_name): item for item in b}
    for one in sorted(a, key=lambda item: (item.doc_id, item.prompt_name)):
        two = others.get((one.doc_id, one.prompt_name))
        if two is None or "failed" in (one.outcome, two.outcome):
            continue
        if one.doc_hash != two.doc_hash or len(one.loglikelihoods) != len(two.loglikelihoods):
            raise StoreError(
                f"doc {one.doc_id} of {task} is not the same doc on both sides; run both on the same data."
            )
        yield one, two


def _tokens(item: Item) -> tuple[object, ...]:
    """Tokens of the prompt, after the overflow policy, and of what is scored. What is generated may differ."""
    return item.prompt_tokens, item.num_tokens if item.loglikelihoods else None


def compare_scores(
    task: str, metric: str, a: Sequence[Item], b: Sequence[Item], *, higher_is_better: bool = True
) -> Duel | None:
    """b against a on a metric that is a mean of item scores; None where no doc has it on both sides.

    Right or wrong is tested with McNemar's exact test on the docs alone, clusters or not: the question is whether
    these docs flip more one way than the other. Other scores are tested pair by pair.
    """
    scored = [
        (x, y, one.cluster)
        for one, two in paired(task, a, b)
        if (x := one.scores.get(metric)) is not None and (y := two.scores.get(metric)) is not None
    ]
    kept = [(x, y, cluster) for x, y, cluster in scored if math.isfinite(x) and math.isfinite(y)]
    if not kept:
        return None
    before, after = [x for x, _, _ in kept], [y for _, y, _ in kept]
    clusters = None if {*before, *after} <= {0.0, 1.0} else [cluster for _, _, cluster in kept]
    return duel(before, after, clusters, seed=SEED, higher_is_better=higher_is_better)

"""How far two computations of the same text may be apart before they are two different answers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

import torch

from benchbench.backends.tokens import Scored, first_line


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


class Reach(Protocol):
    """How far something computed goes, in tokens: whatever depends on lengths shows at the largest."""

    def within(self, other: Self) -> bool:
        """Whether `other` goes at least as far in everything."""
        ...


R = TypeVar("R", bound=Reach)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[R]):
    """What one check has found."""

    reach: R
    """How far it went."""
    fault: str | None
    """What was wrong, as the end of a sentence; None where it agrees with one text alone."""

    def speaks_for(self, others: R) -> bool:
        """Whether what goes as far as `others` needs no check: a right one goes no further, a wrong one no less far."""
        return others.within(self.reach) if self.fault is None else self.reach.within(others)


def cannot(error: Exception, what: str) -> str:
    """What is wrong with `what` where the model does not compute it, as the end of a sentence."""
    cause = error.__cause__ or error
    return f"this model cannot compute {what} ({type(cause).__name__}: {first_line(cause)})"


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


def is_rough(model: torch.nn.Module) -> bool:
    """Whether the model computes in half precision, whatever type its scores have."""
    return tolerance_of(model) is not EXACT


def disagreement(expected: Scored, got: Scored, tolerance: Tolerance) -> float | None:
    """By how many nats `got` is off, at its worst token or as a whole; None where rounding explains it, or where
    `expected` is not a number. Both have their `logprobs`, or neither.
    """
    if not expected.finite:
        return None
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
    return None if is_right else max(worst, whole) if whole == whole else math.inf

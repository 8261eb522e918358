"""How far two computations of the same text may be apart before they are two different answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from benchbench.backends.tokens import Scored


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two log-likelihoods of the same text may be apart, in nats."""

    token: float
    """At each token."""
    total: float
    """Over all of a text's tokens, for each √token; and at least once."""
    share: float
    """Share of the log-likelihood that is allowed beside."""


EXACT = Tolerance(token=1e-3, total=1e-3, share=2e-6)
"""fp32, whatever the order of its sums."""
ROUGH = {torch.bfloat16: Tolerance(token=0.3, total=0.15, share=0.0), torch.float16: Tolerance(0.04, 0.02, 0.0)}
"""Half precision."""


def tolerance_of(model: torch.nn.Module) -> Tolerance:
    """What rounding explains in the type that the model computes in: the roughest of its weights' types."""
    kinds = {parameter.dtype for parameter in model.parameters()}
    return next((tolerance for kind, tolerance in ROUGH.items() if kind in kinds), EXACT)


def disagreement(expected: Scored, got: Scored, tolerance: Tolerance) -> float | None:
    """By how many nats `got` is off, at its worst token or as a whole; None where rounding explains it, or where
    `expected` is not a number.
    """
    if not expected.finite:
        return None
    whole = abs(got.total - expected.total)
    tokens = [abs(one - other) for one, other in zip(got.logprobs, expected.logprobs, strict=True)]
    worst = max(tokens, default=0.0)
    allowed = tolerance.total * math.sqrt(max(1, expected.num_tokens)) + tolerance.share * abs(expected.total)
    # Written so that NaN is a disagreement.
    return None if whole <= allowed and worst <= tolerance.token else max(whole, worst)

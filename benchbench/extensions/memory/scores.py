"""How well a model knows a text, from the log-probabilities of its tokens; and what that tells of membership.

loss: mean log-probability. min_k: mean of the 20 % least likely tokens (Shi et al., arXiv 2310.16789). min_k++: the
same after each was standardised by mean and deviation over the vocabulary there (Zhang et al., arXiv 2404.02936).
zlib: log-probability per byte that zlib needs; reference: mean log-probability less that of another model (Carlini
et al., arXiv 2012.07805). Of all, more means "rather a member".
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchbench.stats.auroc import auroc, macro_auroc_uncertainty
from benchbench.stats.influence import Floats
from benchbench.stats.intervals import Interval

SHARE = 0.2
"""Of the tokens: the least likely ones."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """Of the tokens of one text that have something before them."""

    log_probs: Floats
    """Shape (tokens,), in nats."""
    standard: Floats
    """Shape (tokens,): less the mean over the vocabulary, over the deviation."""


@dataclass(frozen=True, slots=True)
class Area:
    """How well a score tells members from others."""

    method: str
    value: float
    """Area under the ROC curve: 0.5 is guessing."""
    stderr: float | None
    """DeLong's."""
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Exposure:
    """Canaries of one kind."""

    kind: str
    canaries: int
    others: int
    """Non-members of the kind, among which each is ranked."""
    mean: float
    """Bits: log2(others + 1) - log2(rank), 0 to `most`; 1.44 is expected of a canary that was not learned."""
    most: float
    first: int
    """Canaries likelier than every other text."""


def lowest(values: Floats, share: float = SHARE) -> float:
    """Mean of the lowest share of the values, one at least."""
    return float(np.sort(values)[: max(1, math.ceil(share * len(values)))].mean())


def methods(tokens: TokenScores, text: str, reference: TokenScores | None = None) -> dict[str, float]:
    """Every score of one text."""
    packed = len(zlib.compress(text.encode()))
    found = {
        "loss": float(tokens.log_probs.mean()),
        "min_k": lowest(tokens.log_probs),
        "min_k++": lowest(tokens.standard),
        "zlib": float(tokens.log_probs.sum()) / packed,
    }
    if reference is not None:
        found["reference"] = float(tokens.log_probs.mean() - reference.log_probs.mean())
    return found


def areas(member: Sequence[bool], scores: Mapping[str, Sequence[float]]) -> list[Area]:
    """The area of every method, with DeLong's standard error and an interval that holds near 1, too."""
    labels = np.asarray(member)
    found = []
    for method, values in scores.items():
        row = np.asarray(values, dtype=np.float64)
        known = auroc(labels, row)
        about = macro_auroc_uncertainty(labels.astype(int), np.stack([-row, row], axis=1))
        error = math.sqrt(max(0.0, float(known.covariance[0, 0])))
        found.append(Area(method, float(known.values[0]), error, about.interval))
    return found


def exposure(kind: str, canaries: Sequence[float], others: Sequence[float]) -> Exposure:
    """Exposure of canaries by rank among texts of their kind that were not trained on; ties count against them.

    Source: Carlini, Liu, Erlingsson, Kos & Song, "The Secret Sharer", arXiv 1802.08232.
    """
    ranks = [1 + sum(other >= one for other in others) for one in canaries]
    most = math.log2(len(others) + 1)
    bits = [most - math.log2(rank) for rank in ranks]
    return Exposure(kind, len(canaries), len(others), float(np.mean(bits)), most, sum(rank == 1 for rank in ranks))

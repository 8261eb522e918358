"""All that is measured of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchbench.core.errors import ArgumentError
from benchbench.extensions.memory.probe import Probe, probe_all
from benchbench.extensions.memory.scores import Area, Exposure, TokenScores, areas, exposure, methods
from benchbench.extensions.memory.texts import KnownText
from benchbench.stats.intervals import Interval, proportion


@dataclass(frozen=True, slots=True)
class MemoryOptions:
    """How prefixes are continued. ArgumentError for numbers that make no sense."""

    prefix: int = 50
    """Tokens that are given."""
    suffix: int = 50
    """Tokens that are to come. Source: Carlini et al., arXiv 2202.07646."""

    def __post_init__(self) -> None:
        if self.prefix < 1 or self.suffix < 1:
            raise ArgumentError(f"--prefix is {self.prefix} and --suffix {self.suffix}; both are 1 token or more.")


@dataclass(frozen=True, slots=True)
class Extraction:
    """How many texts are continued word for word."""

    of: str
    """members or others."""
    texts: int
    """Long enough."""
    verbatim: int
    interval: Interval | None
    right: float | None
    """Mean share of the continuation before the first wrong token."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What one model has learned by heart."""

    model: str
    members: int
    others: int
    areas: tuple[Area, ...]
    extraction: tuple[Extraction, ...]
    exposures: tuple[Exposure, ...]


def measure(
    model: str,
    probe: Probe,
    texts: Sequence[KnownText],
    options: MemoryOptions,
    reference: Sequence[TokenScores] | None = None,
) -> Memory:
    """Membership, extraction and exposure; `reference`: the texts' scores by another model."""
    scored = probe_all(probe, [one.text for one in texts])
    rows = [
        methods(tokens, one.text, None if reference is None else reference[k])
        for k, (tokens, one) in enumerate(zip(scored, texts, strict=True))
    ]
    member = [one.member for one in texts]
    found = areas(member, {name: [row[name] for row in rows] for name in rows[0]})
    losses = [row["loss"] for row in rows]
    return Memory(
        model,
        sum(member),
        len(member) - sum(member),
        tuple(found),
        tuple(_extraction(probe, texts, options, of_members=sort) for sort in (True, False)),
        tuple(_exposures(texts, losses)),
    )


def _extraction(probe: Probe, texts: Sequence[KnownText], options: MemoryOptions, *, of_members: bool) -> Extraction:
    own = [one.text for one in texts if one.member == of_members]
    tried = [probe.continued(text, options.prefix, options.suffix) for text in own]
    known = [one for one in tried if one is not None]
    verbatim = sum(one.is_verbatim for one in known)
    interval = proportion(verbatim, len(known)) if known else None
    right = sum(one.right / one.tokens for one in known) / len(known) if known else None
    return Extraction("members" if of_members else "others", len(known), verbatim, interval, right)


def _exposures(texts: Sequence[KnownText], losses: Sequence[float]) -> list[Exposure]:
    found = []
    for kind in dict.fromkeys(one.canary for one in texts if one.canary is not None):
        canaries = [loss for one, loss in zip(texts, losses, strict=True) if one.canary == kind and one.member]
        others = [loss for one, loss in zip(texts, losses, strict=True) if one.canary == kind and not one.member]
        if not canaries or not others:
            raise ArgumentError(
                f"the canaries of kind {kind!r} are {'all' if canaries else 'never'} members; exposure is a rank among "
                "texts of the same kind that the model was not trained on, so the file needs both."
            )
        found.append(exposure(kind, canaries, others))
    return found

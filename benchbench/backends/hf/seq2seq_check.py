"""The self-check of encoder-decoders: what was found out about batches, and in which words it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch

from benchbench.backends.hf.agreement import Verdict, disagreement, tolerance_of
from benchbench.backends.hf.seq2seq_plan import Lengths, Way
from benchbench.backends.tokens import Exhausted, Scored
from benchbench.core.activity import doing
from benchbench.core.errors import BackendError


class Decisions:
    """What was decided about each way of making batches, for which lengths; `notes` tells it in sentences."""

    def __init__(self, told: Mapping[Way, str]) -> None:
        self.notes: list[str] = []
        self._told = told
        self._verdicts: dict[Way, list[Verdict[Lengths]]] = {}

    def first_right(
        self, ways: Sequence[Way], extent: Callable[[Way], Lengths], check: Callable[[Way], str | None]
    ) -> Way:
        """The first of `ways` whose batches give what one text alone gives; that the one before does not is told.

        Args:
            extent: how far the batches of a way go.
            check: what is wrong with them, as the end of a sentence; asked where no earlier check speaks for them.
        """
        told: str | None = None
        for way in ways:
            fault = self._fault(way, extent(way), check)
            if fault is None:
                break
            told = self._told[way].format(fault)
        if told is not None and told not in self.notes:
            self.notes.append(told)
        return way

    def forget(self) -> None:
        """Other weights are in memory now."""
        self.notes.clear()
        self._verdicts.clear()

    def lessons(self) -> object:
        """What was decided until now."""
        return {way: tuple(verdicts) for way, verdicts in self._verdicts.items()}

    def take_lessons(self, lessons: object) -> None:
        """These decisions, and no others."""
        known = cast("Mapping[Way, Sequence[Verdict[Lengths]]]", lessons or {})
        self._verdicts = {way: list(verdicts) for way, verdicts in known.items()}

    def _fault(self, way: Way, extent: Lengths, check: Callable[[Way], str | None]) -> str | None:
        known = self._verdicts.setdefault(way, [])
        verdict = next((one for one in known if one.speaks_for(extent)), None)
        if verdict is None:
            with doing("self-check against one text alone"):
                verdict = Verdict(extent, check(way))
            known.append(verdict)
        return verdict.fault


def differs(
    expected: Sequence[Scored | Exhausted], got: Sequence[Scored | Exhausted], model: torch.nn.Module
) -> str | None:
    """What is wrong with pairs that have other log-likelihoods than `expected`, as the end of a sentence. Pairs for
    which memory ran out are not compared.
    """
    tolerance = tolerance_of(model)
    both = [(a, b) for a, b in zip(expected, got, strict=True) if isinstance(a, Scored) and isinstance(b, Scored)]
    found = [nats for one, other in both if (nats := disagreement(one, other, tolerance)) is not None]
    return f"this model then gives up to {max(found):.2g} nats more or less than for a pair alone" if found else None


def check_repeats(score: Callable[[], Scored | Exhausted], model: torch.nn.Module) -> None:
    """BackendError where the same text has another log-likelihood when it is scored again."""
    if differs([score()], [score()], model) is not None:
        raise BackendError(
            f"{type(model).__name__} gives the same text another log-likelihood each time it reads it: something in it "
            "is drawn at random (for NLLB-MoE see second_expert_policy in config.json), so it cannot be scored."
        )

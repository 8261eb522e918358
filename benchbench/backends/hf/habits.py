"""How a model that keeps states may be used, found by trying: some forget them where several tokens follow, some take
padding for text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch

from benchbench.backends.hf.agreement import is_rough
from benchbench.backends.hf.cache import CannotShareError, Kept, joined
from benchbench.core.errors import BackendError

PROBE_TOKENS = 24
"""The longest text that is read to find out how a past goes on."""
PROBE_STEPS = 4
"""How many of its tokens are read one at a time."""
NOISE = 2.0
"""A way of reading is wrong if it is off by more than so many times what single tokens are off: in half precision a
forgotten state may move scores by no more than 2 % of their range, rounding by 0.3 % or by 6 %, as the model is."""

GoesOn = Literal["tokens", "steps", "never"]
"""What may follow a past: several tokens at once, one at a time, or nothing."""
Steps = Literal["together", "beside", "apart"]
"""Rows that go on by one token each do so in one pass; with states as `StatesBeside`; each in a pass of its own."""


class Reader(Protocol):
    """What is needed of a `CausalModel`, which see."""

    model: Any
    device: torch.device
    steps: Steps

    def logits(
        self,
        ids: torch.Tensor,
        rows: torch.Tensor,
        *,
        mask: torch.Tensor | None = None,
        positions: torch.Tensor | None = None,
        past: Any = None,
        keep_past: bool = False,
    ) -> tuple[torch.Tensor, Any]:
        """Logits of the flat positions `rows`, and the past."""
        ...

    def read(
        self, texts: Sequence[Sequence[int]], rows: torch.Tensor, past: Kept | None = None
    ) -> tuple[torch.Tensor, Kept]:
        """The same of texts laid flush right, and what is kept of them."""
        ...


@dataclass(frozen=True, slots=True)
class Habits:
    """How a model that keeps states may be used."""

    goes_on: GoesOn
    pads: bool
    """Texts of unlike lengths may be read together, padded on the left."""
    joins: bool
    """They may go on together."""


def habits_of(model: Reader) -> Habits:
    """What the model was seen to do. Sets its `steps`."""
    try:
        return _Probe(model).habits()
    except BackendError:
        return Habits("never", pads=False, joins=False)


def likeness(model: torch.nn.Module) -> float:
    """How far a score may be from that of the same text read whole, as a share of the scores' range."""
    return 0.05 if is_rough(model) else 1e-3


class _Probe:
    """Two short texts read whole and in parts. That a model passes does not show that it is right with longer ones."""

    def __init__(self, model: Reader) -> None:
        self._model = model
        vocabulary = model.model.get_input_embeddings().weight.shape[0]
        ids = [(7_919 * place + 3) % vocabulary for place in range(PROBE_TOKENS)]
        self._texts = (ids, ids[::-1])
        every = torch.arange(2 * PROBE_TOKENS, device=model.device)
        logits, _ = model.logits(torch.tensor(self._texts, device=model.device), every)
        self._whole = logits.view(2, PROBE_TOKENS, -1)
        self._most = likeness(model.model) * float(logits.max() - logits.min())
        self._allowed = self._most

    def habits(self) -> Habits:
        """What the model was seen to do."""
        if not any(self._can_step(how) for how in get_args(Steps)):
            return Habits("never", pads=False, joins=False)
        goes_on: GoesOn = "tokens" if self._holds(self._tokens) else "steps"
        return Habits(goes_on, pads=self._holds(self._pads), joins=self._holds(self._joins))

    def _can_step(self, how: Steps) -> bool:
        self._model.steps = how
        try:
            off = sorted(self._steps())
        except (BackendError, CannotShareError):
            return False
        if is_rough(self._model.model):
            self._allowed = min(self._most, max(self._most / 5, NOISE * off[-1]))
        # One of few may be far off and right, where rounding chose another expert.
        return off[len(off) // 2] <= self._most

    def _holds(self, trial: Callable[[], float]) -> bool:
        return self._off(trial) <= self._allowed

    def _off(self, trial: Callable[[], float]) -> float:
        """By how much a way of reading is off; infinity where it ends in an error."""
        try:
            return trial()
        except (BackendError, CannotShareError):
            return torch.inf

    def _read(self, row: int, length: int) -> Kept:
        return self._model.read([self._texts[row][:length]], self._ends(1)[:1])[1]

    def _ends(self, width: int) -> torch.Tensor:
        return torch.tensor([width - 1, 2 * width - 1], device=self._model.device)

    def _half(self) -> tuple[int, Kept]:
        """What is kept of the first half of both texts."""
        half = PROBE_TOKENS // 2
        return half, self._model.read([text[:half] for text in self._texts], self._ends(half))[1]

    def _steps(self) -> list[float]:
        half, past = self._half()
        past, off = past.taken(self._ends(1)), []
        for place in range(half, half + PROBE_STEPS):
            logits, past = self._model.read([text[place : place + 1] for text in self._texts], self._ends(1), past)
            off += [_largest(logits[row] - self._whole[row, place]) for row in range(2)]
        return off

    def _tokens(self) -> float:
        half, past = self._half()
        every = torch.arange(2 * (PROBE_TOKENS - half), device=self._model.device)
        logits, _ = self._model.read([text[half:] for text in self._texts], every, past)
        return _largest(logits.view(2, PROBE_TOKENS - half, -1) - self._whole[:, half:])

    def _pads(self) -> float:
        short = PROBE_TOKENS // 3
        logits, _ = self._model.read([self._texts[0], self._texts[1][:short]], self._ends(PROBE_TOKENS))
        return self._apart(logits, (PROBE_TOKENS - 1, short - 1))

    def _joins(self) -> float:
        long, short = PROBE_TOKENS // 2, PROBE_TOKENS // 3
        past = joined([self._read(0, long), self._read(1, short)], self._ends(1))
        lengths = torch.tensor([[long], [short]], device=self._model.device)
        columns = torch.arange(long + 1, device=self._model.device)
        logits, _ = self._model.logits(
            torch.tensor([[self._texts[0][long]], [self._texts[1][short]]], device=self._model.device),
            self._ends(1),
            mask=(columns >= long - lengths).long(),
            positions=lengths,
            past=past.held,
            keep_past=True,
        )
        return self._apart(logits, (long, short))

    def _apart(self, logits: torch.Tensor, places: tuple[int, int]) -> float:
        return _largest(logits - torch.stack([self._whole[row, place] for row, place in enumerate(places)]))


def _largest(difference: torch.Tensor) -> float:
    """Its largest entry; infinity where one is not a number."""
    largest = float(difference.abs().max())
    return largest if largest == largest else torch.inf

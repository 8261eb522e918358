"""Batches that do not fit the memory are run in halves; what memory held is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch

from benchbench.backends.models.files import told
from benchbench.backends.tokens import Exhausted, first_line
from benchbench.core.errors import BackendError

Part = TypeVar("Part")
Answer = TypeVar("Answer")


class Halving:
    """What an engine that survives a full memory has; `batches` and `retries` count passes and those that ran out."""

    batches: int = 0
    retries: int = 0
    _ceiling: float | None = None
    """Size of a piece above which memory has run out before; such pieces are not tried again."""

    def in_pieces(
        self,
        batch: Sequence[Part],
        run: Callable[[Sequence[Part]], Iterable[Answer]],
        *,
        smaller: Callable[[Sequence[Part]], list[Sequence[Part]]],
        requests: Callable[[Sequence[Part]], Iterable[int]],
        size: Callable[[Sequence[Part]], float] | None = None,
    ) -> Iterator[Answer | Exhausted]:
        """Answers of `run` on the batch, or on ever smaller pieces of it while memory runs out.

        Args:
            smaller: a piece in two; nothing where it cannot be divided.
            requests: what a piece asks, for those that do not fit even alone.
            size: what memory a piece needs, in a unit that is the same for all batches. None: its share of the batch,
                for batches that are filled alike.
        """
        pieces = [batch]
        while pieces:
            piece = pieces.pop(0)
            needed = len(piece) / len(batch) if size is None else size(piece)
            if self._ceiling is not None and needed > self._ceiling and (parts := smaller(piece)):
                pieces[:0] = parts
                continue
            try:
                answers = list(run(piece))
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                message = first_line(error)
            else:
                self.batches += 1
                yield from answers
                continue
            self.retries += 1
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if parts := smaller(piece):
                self._ceiling = needed / 2
                pieces[:0] = parts
            else:
                yield from (Exhausted(request, message) for request in requests(piece))


def halves(pieces: Sequence[Part]) -> list[Sequence[Part]]:
    """In two; nothing where there is one."""
    middle = len(pieces) // 2
    return [pieces[:middle], pieces[middle:]] if middle else []


@contextmanager
def computing(model: object) -> Iterator[None]:
    """For calls of transformers' own code: what it raises, apart from a full memory, becomes a BackendError.

    A configuration of a stranger may be read without a word when the model is made, and mean nothing when it computes.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        name = type(model).__name__
        raise BackendError(f"transformers cannot compute with this {name}: {told(error)}") from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an engine's exception means that memory ran out."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "can't allocate memory", "not enough memory")
    )

"""A logger that keeps what it is told in this process, and fails or dies when a test says so."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

from benchbench.runner.logs.loggers import Batch, Place


class FakeLogger:
    """(run, curve, step, value) → how often it is there. As loggers do, it takes what it is told, also twice."""

    address = "here"
    held: ClassVar[Counter] = Counter()
    batches: ClassVar[list[Batch]] = []
    trouble: Exception | None = None
    takes: int | None = None
    """So many values before `trouble`; None: none."""
    is_durable = True

    def __init__(self, place: Place, output) -> None:
        self.place = place

    @classmethod
    def reset(cls) -> type[FakeLogger]:
        cls.held, cls.batches, cls.trouble, cls.takes, cls.is_durable = Counter(), [], None, None, True
        return cls

    def run_for(self, series: str, before: str | None) -> str:
        return before or f"run of {series}, {len(self.batches)}"

    def log(self, batch: Batch) -> bool:
        self.batches.append(batch)
        told = 0
        for row in batch.rows:
            for name, value in row.values.items():
                if self.trouble is not None and told >= (self.takes or 0):
                    raise self.trouble
                point = (batch.run, name, row.step, value)
                if row not in batch.again or not self.held[point]:
                    self.held[point] += 1
                told += 1
        return self.is_durable

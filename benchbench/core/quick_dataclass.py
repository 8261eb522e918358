"""Dataclasses of which a run makes several for each doc."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["quick_dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass as quick_dataclass
else:
    from dataclasses import dataclass

    def quick_dataclass(*, frozen: bool, slots: bool):  # noqa: ANN201  # mypy reads the line above
        """`dataclass(frozen=…, slots=…)` for mypy, which refuses every assignment to a field. At run time nothing does:
        a frozen dataclass takes several times as long to make.
        """
        return dataclass(slots=slots, unsafe_hash=frozen)

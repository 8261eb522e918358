"""Items by columns: what sums and statistics read of them, whether they are held or lie in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from typing import Protocol, runtime_checkable

from benchbench.core.types import Item, Outcome


@runtime_checkable
class ItemTable(Protocol):
    """The items of a task, one row each, in their order. Every method reads only what it is asked for."""

    def __len__(self) -> int: ...

    def scores(self, metric: str) -> list[float | None]:
        """The item scores of a metric; None where it has none."""
        ...

    def clusters(self) -> list[str | None]:
        """The cluster of each item."""
        ...

    def outcomes(self) -> list[Outcome]:
        """How each item ended."""
        ...

    def numbers(self, name: str) -> list[int]:
        """A column of whole numbers or of yes and no."""
        ...

    def sizes(self, name: str) -> list[int]:
        """How many entries a column of lists has for each item."""
        ...

    def total(self, name: str) -> int:
        """The sum of a column of lists of numbers, over all items."""
        ...

    def reading(self, *names: str) -> Iterator[Item]:
        """The items with the fields `names`; what else they say is not to be relied on."""
        ...

    def where(self, keep: Iterable[bool]) -> ItemTable:
        """Those of the items for which `keep` is true."""
        ...


class HeldItems:
    """An ItemTable of items in memory."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def scores(self, metric: str) -> list[float | None]:
        """See ItemTable."""
        return [item.scores.get(metric) for item in self.items]

    def clusters(self) -> list[str | None]:
        """See ItemTable."""
        return [item.cluster for item in self.items]

    def outcomes(self) -> list[Outcome]:
        """See ItemTable."""
        return [item.outcome for item in self.items]

    def numbers(self, name: str) -> list[int]:
        """See ItemTable."""
        return [getattr(item, name) for item in self.items]

    def sizes(self, name: str) -> list[int]:
        """See ItemTable."""
        return [len(getattr(item, name)) for item in self.items]

    def total(self, name: str) -> int:
        """See ItemTable."""
        return sum(sum(getattr(item, name)) for item in self.items)

    def reading(self, *names: str) -> Iterator[Item]:
        """See ItemTable."""
        return iter(self.items)

    def where(self, keep: Iterable[bool]) -> ItemTable:
        """See ItemTable."""
        return HeldItems([*compress(self.items, keep)])


def table_of(items: Sequence[Item]) -> ItemTable:
    """The items by columns: as they lie, or as they are held."""
    return items if isinstance(items, ItemTable) else HeldItems(items)


def answered(items: Sequence[Item]) -> ItemTable:
    """The items that did not fail."""
    table = table_of(items)
    return table.where(outcome != "failed" for outcome in table.outcomes())

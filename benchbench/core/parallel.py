"""Tasks that ask the same questions in several languages, and what tells that two of their docs are the same."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence


def family_of(resolved: Mapping[str, object]) -> str | None:
    """The task file, where it names the source of its docs (`cluster`).

    Tasks of one file whose docs have the same source ask the same questions, in other languages.
    """
    return str(resolved["file"]) if resolved.get("cluster") and resolved.get("file") else None


def unit_names(family: str | None, clusters: Sequence[str | None]) -> tuple[Hashable | None, ...] | None:
    """What each doc shares with docs of other tasks of the family; None: with none."""
    if family is None or all(name is None for name in clusters):
        return None
    return tuple(None if name is None else (family, name) for name in clusters)


def share_units(names: Iterable[Sequence[Hashable | None] | None]) -> bool:
    """Is a doc of one task the same question as one of another? `names` holds those of each task's docs."""
    of_tasks = [set(units or ()) - {None} for units in names]
    return sum(map(len, of_tasks)) > len(set().union(*of_tasks))

"""Options written `name=value,name=value`."""

from __future__ import annotations

from benchbench.core.errors import ArgumentError


def name_value_pairs(text: str, option: str, otherwise: str = "") -> dict[str, str]:
    """Name → value, in the order written; spaces around either are removed, empty parts skipped.

    Raises:
        ArgumentError: a part that is no pair, or a name given twice. The sentence begins with `option`; `otherwise`
            ends it where the option may be written in another way, too.
    """
    pairs: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not (name and equals and value):
            raise ArgumentError(f"{option} has {part!r}; it is written name=value,name=value{otherwise}.")
        if name in pairs:
            raise ArgumentError(f"{option} names {name} twice.")
        pairs[name] = value
    return pairs

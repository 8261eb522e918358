"""Templates of nothing but texts and names, as most are: put together without Jinja, in a tenth of the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jinja2 import nodes

from benchbench.core.types import Json

MAX_PLAIN = 100_000
"""Characters; longer texts are left to the sandbox, which counts them."""
_SCALARS = frozenset({str, int, float, bool})


class Pieces:
    """The texts and names of a template, in order. What is not as plain as it seems is left to Jinja: None."""

    __slots__ = ("_pieces",)

    def __init__(self, pieces: Sequence[tuple[str, bool]]) -> None:
        self._pieces = tuple(pieces)
        """(text, False) or (name, True)."""

    @classmethod
    def of(cls, tree: nodes.Template) -> Pieces | None:
        """The pieces of a template; None if there is more to it."""
        outputs = [one for one in tree.body if isinstance(one, nodes.Output)]
        parts = [_piece(part) for output in outputs for part in output.nodes]
        pieces = [piece for piece in parts if piece is not None]
        return cls(pieces) if len(outputs) == len(tree.body) and len(pieces) == len(parts) else None

    def text(self, scope: Mapping[str, Json]) -> str | None:
        """The template rendered; None where a name is missing or no text, or all of it is long."""
        texts: list[str] = []
        for piece, is_name in self._pieces:
            text = scope.get(piece) if is_name else piece
            if type(text) is not str:
                return None
            texts.append(text)
        whole = "".join(texts)
        return whole if len(whole) <= MAX_PLAIN else None

    def value(self, scope: Mapping[str, Json]) -> str | int | float | None:
        """The value of a template that is one name; None where it is missing, a list, or long."""
        if len(self._pieces) != 1 or not self._pieces[0][1]:
            return None
        value = scope.get(self._pieces[0][0])
        if type(value) is str and len(value) > MAX_PLAIN:
            return None
        return value if isinstance(value, (str, int, float)) and type(value) in _SCALARS else None


def _piece(part: nodes.Node) -> tuple[str, bool] | None:
    if isinstance(part, nodes.TemplateData):
        return part.data, False
    return (part.name, True) if isinstance(part, nodes.Name) else None

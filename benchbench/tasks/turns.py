"""The user's questions of a conversation, as a task file names them."""

from __future__ import annotations

from collections.abc import Mapping

from benchbench.core.errors import TaskError
from benchbench.core.format import kind_of
from benchbench.core.types import Json
from benchbench.tasks.template import Field

MOST_TURNS = 100


def user_turns(field: Field, scope: Mapping[str, Json], doc: object) -> tuple[str, ...]:
    """The user's questions of a conversation, in order. TaskError unless they are a list of texts."""
    value = field.value(scope, doc)
    if not isinstance(value, (list, tuple)):
        raise TaskError(f"{field.where}: document {doc} gives {kind_of(value)}, not a list of the user's turns.")
    if not value or len(value) > MOST_TURNS:
        raise TaskError(f"{field.where}: document {doc} has {len(value)} turns; a conversation has 1 to {MOST_TURNS}.")
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, str) or not turn.strip():
            given = "empty" if isinstance(turn, str) else kind_of(turn)
            raise TaskError(f"{field.where}: turn {number} of document {doc} is {given}; expected the user's text.")
    return tuple(value)

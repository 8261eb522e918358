"""Choices and labels as data sets have them: lists that are kept as text, letters, numbers that count from 1."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Collection

from benchbench.core.errors import TaskError, did_you_mean
from benchbench.tasks.template import Field


def written_list(text: str) -> list[str] | None:
    """The texts of a list that is written as text, `['A', 'B']`; None if it is no such list."""
    if not text.lstrip().startswith("[") or "{{" in text or "{%" in text:
        return None
    try:
        value = literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) and value and all(isinstance(one, str) for one in value) else None


def list_hint(value: object, field: Field) -> str:
    """How a list that a data set keeps as text becomes one."""
    if not isinstance(value, str) or field.column is None:
        return ""
    name = field.column
    if value.lstrip().startswith("["):
        return f" A list that is kept as text is read by {{{{ {name}|fromjson }}}}."
    sign = next((sign for sign in ("|", ";", "\t", ",") if sign in value), None)
    return "" if sign is None else f" Text is split by {{{{ {name}.split({sign!r}) }}}}."


def no_list(text: str, where: str, columns: Collection[str]) -> TaskError:
    """The error for choices that are neither a column nor an expression."""
    if "{" not in text:
        known = ", ".join(sorted(map(str, columns))[:30])
        return TaskError(f"{where}: no column {text!r}.{did_you_mean(text, columns)} Columns: {known}.")
    return TaskError(
        f"{where}: text is never read as a list; write one expression that gives a list, "
        'e.g. "{{[option1, option2]}}".'
    )


AROUND_LETTERS = "(). :"
"""What may stand around the letter of a choice."""


def label_hint(part: int | str, count: int, column: str | None) -> str:
    """How what a data set has for the right choice becomes its position."""
    name = column or "label"
    if isinstance(part, int):
        first = f" If it counts from 1, write {{{{ {name} - 1 }}}}." if part == count else ""
        return f" Positions count from 0.{first}"
    label = part.strip()
    if label.removesuffix(".0").isdecimal():
        return " For an index, write {{…|int}}."
    bare = label.strip(AROUND_LETTERS)
    if len(bare) == 1 and bare.isalpha():
        letters = "abcdefghijklmnopqrstuvwxyz"[: max(count, 1)]
        letters = letters if bare.islower() else letters.upper()
        name = name if bare == part else f"{name}.strip('{AROUND_LETTERS}')"
        return f" A letter becomes an index (a position, from 0) by \"{{{{ '{letters}'.index({name}) }}}}\"."
    return " It is the text of a choice, letter by letter, or an index (a position, from 0)."

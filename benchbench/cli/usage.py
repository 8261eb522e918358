"""What is wrong with a command line, in our words: what was typed, what was expected, where to look."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer

from benchbench.core.errors import ArgumentError

UsageError: Any = typer.BadParameter.__base__
"""typer's exception for a command line that cannot be understood."""


@contextmanager
def in_sentences(ctx: Any, given: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Turns typer's errors about a command line into ArgumentError. `given`: what was typed, by parameter."""
    try:
        yield
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # it prints the help
            raise
        here = error.ctx or ctx
        raise ArgumentError(f"{_sentence(error, given or {})} `{here.command_path} -h` shows what there is.") from None


def _sentence(error: Any, given: Mapping[str, Any]) -> str:
    param: Any = getattr(error, "param", None)
    name = None if param is None else max(param.opts, key=len) if param.opts[0].startswith("-") else param.metavar
    if type(error).__name__ == "MissingParameter":
        return f"{name or param.name.upper()} is missing."
    if name is not None:
        return _of_value(name, given.get(param.name), str(error.message))
    if getattr(error, "possibilities", None):
        near = " or ".join(sorted(error.possibilities))
        return f"there is no option {error.option_name}. Did you mean {near}?"
    text = str(error.format_message()).rstrip()
    return text[:1].lower() + text[1:] + ("" if text.endswith((".", "?")) else ".")


def _of_value(name: str, typed: Any, message: str) -> str:
    """A value that does not fit; typer's messages are those of pydantic."""
    why = message.removeprefix("Value error, ").rstrip(".")
    if why.startswith("Input should be "):
        wanted = why.removeprefix("Input should be ").partition(", unable")[0]
        return f"{name} is {str(typed)!r}; it should be {wanted}."
    return f"{name}: {why}."

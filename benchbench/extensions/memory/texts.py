"""Texts of which it is known whether a model was trained on them: JSON lines with `text` and `member`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import ArgumentError
from benchbench.core.files import read_regular

MAX_BYTES = 2**30
FEWEST = 3
"""Members, and others, without which nothing can be said."""


@dataclass(frozen=True, slots=True)
class KnownText:
    """A line of the file."""

    text: str
    member: bool
    """It was in the training data."""
    canary: str | None = None
    """Kind of canary: its exposure is measured among the non-members of the same kind."""


def read_texts(path: Path) -> list[KnownText]:
    """The texts of a file. ArgumentError, naming the line, for what is no such line, and for too few of either sort."""
    try:
        lines = read_regular(path, MAX_BYTES).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"--texts {path} cannot be read: {error}") from error
    found = [_line(line, f"{path}, line {n}") for n, line in enumerate(lines, start=1) if line.strip()]
    _refuse_one_sided(found, path)
    return found


def _line(line: str, where: str) -> KnownText:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ArgumentError(f'{where} is no JSON ({error}); expected {{"text": "…", "member": true}}.') from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("member"), bool):
        raise ArgumentError(
            f'{where}: expected {{"text": "…", "member": true or false}}, and if it is one "canary": KIND.'
        )
    kind = row.get("canary")
    if kind is not None and not isinstance(kind, str):
        raise ArgumentError(f"{where}: canary is the name of a kind of canaries, not {kind!r}.")
    if not row["text"].strip():
        raise ArgumentError(f"{where}: the text is empty.")
    return KnownText(row["text"], row["member"], kind)


def _refuse_one_sided(found: Sequence[KnownText], path: Path) -> None:
    members = sum(one.member for one in found)
    others = len(found) - members
    if min(members, others) < FEWEST:
        raise ArgumentError(
            f"{path} has {members} members and {others} other texts; {FEWEST} of each are needed at least: how well a "
            "model knows its training data shows only beside like texts that it never saw."
        )

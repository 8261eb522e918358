"""What stands in locked/: packages, versions, hashes. Standard library only, for tools that have nothing else."""

from __future__ import annotations

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
LOCKED = REPO / "locked"

Pins = dict[str, str]
"""Package → its lines of a requirements file: version, where it is needed, the hash of every file of that version."""


def pins(text: str) -> Pins:
    """The entries of a requirements file, by the name of the package."""
    entries = re.findall(r"^[A-Za-z0-9].*(?:\n[ \t].*)*", text, re.MULTILINE)
    return {name_of(entry): entry for entry in entries}


def locked(*files: str) -> Pins:
    """The entries of locked/FILE.txt, of all files together."""
    return pins("\n".join((LOCKED / f"{file}.txt").read_text(encoding="utf-8") for file in files))


def name_of(requirement: str) -> str:
    """The normalised name of the package that a requirement begins with."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", requirement, maxsplit=1)[0]).lower()


def version_of(entry: str) -> str:
    """The version that an entry pins."""
    return re.split(r"[ ;\\\n]", entry.partition("==")[2], maxsplit=1)[0]


def without(some: Pins, *others: object) -> Pins:
    """`some` but the packages that `others` (pins, or names) hold."""
    return {name: entry for name, entry in some.items() if not any(name in other for other in others)}

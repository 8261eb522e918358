"""Languages whose programs can be run, and what their interpreters need."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import BackendError, did_you_mean


@dataclass(frozen=True, slots=True)
class Language:
    """How a program of it is run: `command` and then the file's name."""

    command: tuple[str, ...]
    """The first is looked up in PATH; empty for Python, whose programs the launcher runs itself."""
    suffix: str
    limits_addresses: bool = True
    """Whether address space may be limited; some runtimes reserve much more than they use."""


LANGUAGES: Mapping[str, Language] = {
    "python": Language((), ".py"),
    "javascript": Language(("node",), ".js", limits_addresses=False),
    "perl": Language(("perl",), ".pl"),
    "bash": Language(("bash",), ".sh"),
    "lua": Language(("lua",), ".lua"),
    "ruby": Language(("ruby",), ".rb"),
    "php": Language(("php",), ".php"),
}
"""Name → how it is run. A program passes if its interpreter ends with 0, as in MultiPL-E (arXiv 2208.08227)."""

NAMES: Mapping[str, str] = {"py": "python", "js": "javascript", "pl": "perl", "sh": "bash", "rb": "ruby"}
"""MultiPL-E's names for them."""


def language(name: str) -> Language:
    """The language of this name, or of MultiPL-E's name for it. BackendError if there is none."""
    found = LANGUAGES.get(NAMES.get(name, name))
    if found is None:
        known = sorted(LANGUAGES)
        raise BackendError(
            f"programs of the language {name!r} cannot be run here; there are {', '.join(known)}."
            f"{did_you_mean(name, known)}"
        )
    return found


def interpreter(name: str) -> tuple[str, ...]:
    """The command with the interpreter's real path; empty for Python. BackendError if it is not installed."""
    known = language(name)
    if not known.command:
        return ()
    found = shutil.which(known.command[0], path="/usr/local/bin:/usr/bin:/bin")
    if found is None:
        raise BackendError(
            f"{name} programs need {known.command[0]} in /usr/bin or /usr/local/bin, and it is not there. Install it."
        )
    return (str(Path(found).resolve()), *known.command[1:])

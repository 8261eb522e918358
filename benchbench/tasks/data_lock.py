"""The lock file of a data root: what each file was when it was pulled from the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from benchbench.core.errors import DataError

LOCK = "data.lock.json"


LOCK_FORMAT = 1


@dataclass(frozen=True, slots=True)
class LockEntry:
    """One file of the lock."""

    sha256: str
    bytes: int
    documents: int
    revision: str | None
    """The Hub's commit that was loaded; None where it could not be learnt."""
    asked: str | None = None
    """The revision that the task pinned."""


def read_lock(root: Path) -> dict[str, LockEntry]:
    """Path in the data root → what it was when it was pulled; empty without a lock file. DataError if it is damaged."""
    path = root / LOCK
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != LOCK_FORMAT:
            raise DataError(f"{path}: format {value['format']!r} is not {LOCK_FORMAT}; a newer benchbench wrote it.")
        entries = {name: LockEntry(**entry) for name, entry in value["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{path} is no lock file: {error}. Remove it and pull again.") from error
    for name in entries:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{path}: {name!r} lies outside the data root.")
    return entries


def pulled_revision(root: Path, path: Path) -> str | None:
    """The Hub's commit that `path`, a file of `root`, was pulled at; None if it was not, or has changed since.

    A lock file that cannot be read says nothing: reading data does not need it, and `data verify` tells what is wrong.
    """
    try:
        stamps = [(file.stat().st_mtime_ns, file.stat().st_size) for file in (root / LOCK, path)]
        return _pulled_revision(root, path, tuple(stamps))
    except (OSError, DataError):
        return None


@lru_cache(maxsize=4096)
def _pulled_revision(root: Path, path: Path, stamps: tuple[tuple[int, int], ...]) -> str | None:
    """Kept as long as neither the lock nor the file is written: many tasks read one file."""
    entry = read_lock(root).get(path.relative_to(root).as_posix())
    if entry is None or entry.bytes != stamps[1][1]:
        return None
    now = entry_of(path, entry.documents, entry.revision, entry.asked)
    return entry.revision if now.sha256 == entry.sha256 else None


def write_lock(root: Path, entries: Mapping[str, LockEntry]) -> None:
    """Writes the lock file, whole or not at all."""
    files = {name: asdict(entries[name]) for name in sorted(entries)}
    text = json.dumps({"format": LOCK_FORMAT, "files": files}, indent=2, ensure_ascii=False) + "\n"
    temporary = root / f".{LOCK}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(root / LOCK)
    except OSError as error:
        raise DataError(f"{root / LOCK}: cannot be written: {error.strerror or error}.") from error


def entry_of(path: Path, documents: int, revision: str | None, asked: str | None) -> LockEntry:
    """What the lock says of a file."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return LockEntry(digest, path.stat().st_size, documents, revision, asked)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error

"""From the Hub into a data root: every split that some tasks read, with a lock file that says what it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchbench.core.errors import DataError
from benchbench.tasks.data_lock import LockEntry, entry_of, read_lock, write_lock
from benchbench.tasks.data_root import NeededSplit, find_file, needed_splits
from benchbench.tasks.hub import HubSource
from benchbench.tasks.prepared import AnyTask

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True, slots=True)
class Pulled:
    """What became of one split."""

    place: str
    outcome: Literal["pulled", "kept", "own", "absent", "failed"]
    """kept: pulled before. own: a file that is not in the lock, never touched. absent: shots that no task asks for by
    itself, and the Hub has no such split."""
    entry: LockEntry | None = None
    error: str = ""


def pull(tasks: Iterable[AnyTask], root: Path, *, file_format: str = "jsonl", again: bool = False) -> Iterator[Pulled]:
    """Fetches what `tasks` read, one data set after the other, and says of each split what became of it.

    The lock is written after each file, so that a pull that was interrupted goes on where it was. A data set that
    cannot be loaded is an outcome, not an exception. `again` loads anew what an earlier pull has brought.

    Raises:
        DataError: two tasks pin different revisions of the same files, or `root` cannot be written.
    """
    every = _together(tasks)
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{root}: cannot be made: {error.strerror or error}.") from error
    lock = read_lock(root)
    for one in every:
        path = find_file(root, one.place)
        name = None if path is None else path.relative_to(root).as_posix()
        if name is not None and name not in lock:
            yield Pulled(one.place, "own")
        elif name is not None and not again and lock[name].asked == one.pinned:
            yield Pulled(one.place, "kept", lock[name])
        else:
            suffix = path.suffix if path is not None else f".{file_format}"
            yield _pull_one(one, root, f"{one.place}{suffix}", lock)


def _together(tasks: Iterable[AnyTask]) -> list[NeededSplit]:
    """Each place once, required if any task requires it; those of one data set behind each other."""
    found: dict[str, NeededSplit] = {}
    for one in (one for task in tasks for one in needed_splits(task)):
        known = found.get(one.place)
        if known is not None and known.pinned != one.pinned:
            raise DataError(
                f"{known.task.name} wants {one.place} at revision {known.pinned or 'newest'}, {one.task.name} at "
                f"{one.pinned or 'newest'}: pull them into two folders."
            )
        if known is None or (one.required and not known.required):
            found[one.place] = one
    return sorted(found.values(), key=lambda one: one.place)


def _pull_one(one: NeededSplit, root: Path, name: str, lock: dict[str, LockEntry]) -> Pulled:
    path = root / name
    temporary = path.with_name(f".new-{path.name}")
    try:
        source = HubSource(one.task)
        if not one.required and one.split not in source.splits():
            return Pulled(one.place, "absent")
        path.parent.mkdir(parents=True, exist_ok=True)
        documents = source.save(one.split, temporary)
        if documents == 0:
            raise DataError(f"{one.task.name}: the split {one.split!r} of {source.path} is empty.")
        lock[name] = entry_of(temporary, documents, source.revision, one.pinned)
        write_lock(root, lock)  # before the file: one that is not in the lock would count as the user's own
        temporary.replace(path)
    except DataError as error:
        return Pulled(one.place, "failed", error=str(error))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Pulled(one.place, "pulled", lock[name])

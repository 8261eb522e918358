"""A data root: the files that tasks need of it, those that are there, and filling it from the Hub.

Its lock file says what each file was when it was pulled.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from shutil import copyfile
from typing import Literal

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular, read_regular
from benchbench.tasks.borders import FILE_FORMATS
from benchbench.tasks.hub import HubSource, hub_sentence
from benchbench.tasks.hub_file import HubFile, hub_files
from benchbench.tasks.rows import READERS, check_names, read_json, read_text
from benchbench.tasks.task import AnyTask, Task
from benchbench.tasks.text_file import ending, readable

LOCK = "data.lock.json"
LOCK_FORMAT = 1
MAX_LOCK_BYTES = 100_000_000


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
        value = json.loads(read_regular(path, MAX_LOCK_BYTES).decode("utf-8"))
        if value["format"] != LOCK_FORMAT:
            raise DataError(f"{path}: format {value['format']!r} is not {LOCK_FORMAT}; a newer benchbench wrote it.")
        entries = {name: LockEntry(**entry) for name, entry in value["files"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
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
    with readable(path):
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return LockEntry(digest, path.stat().st_size, documents, revision, asked)


@dataclass(frozen=True)
class NeededSplit:
    """One split that a task reads."""

    task: Task
    """The task, with the configuration that is meant."""
    split: str
    required: bool
    """False for a pool of shots where the task's own number of shots is 0."""
    file: HubFile | None = None
    """The file that holds it, where the task names one."""

    @property
    def place(self) -> str:
        """`<org>/<name>/<config>/<split>`: the file's path in a data root, without its ending."""
        if self.file is not None:
            return self.file.name.removesuffix(Path(self.file.name).suffix)
        config = self.task.config
        return f"{config.dataset_path}/{config.dataset_name or 'default'}/{self.split}"

    def found_in(self, root: Path) -> Path | None:
        """The file that holds it in a data root, if there is one."""
        if self.file is None:
            return find_file(root, self.place)
        path = root / self.file.name
        return path if path.is_file() else None

    @property
    def pinned(self) -> str | None:
        """The revision that the task pins."""
        if self.file is not None:
            return self.file.revision
        config = self.task.config
        pinned = config.dataset_revision or (config.dataset_kwargs or {}).get("revision")
        return None if pinned is None else str(pinned)


def needed_splits(task: AnyTask) -> list[NeededSplit]:
    """What `task` reads of a data root: nothing if it brings its own files. DataError for names that are no names."""
    own = task.data_task()
    config = own.config
    if config.dataset_path in FILE_FORMATS:
        files = hub_files((config.dataset_kwargs or {}).get("data_files")).values()
        return [NeededSplit(own, Path(file.path).stem, True, file) for file in files]
    splits = {str(config.eval_split): True}
    if config.shot_split is not None and config.output_type != "loglikelihood_rolling":
        splits.setdefault(config.shot_split, bool(config.num_fewshot))
    names = [config.dataset_name, *([config.join.dataset_name] if config.join is not None else ())]
    found = []
    for name in dict.fromkeys(names):
        part = replace(own, config=config.model_copy(update={"dataset_name": name}))
        check_names(part)
        found += [NeededSplit(part, split, required) for split, required in splits.items()]
    for one in found:
        if not re.fullmatch(r"\w[\w.-]*", one.split):
            raise DataError(f"{own.where('test_split')}: {one.split!r} is not the name of a split.")
    return found


def files_of(root: Path) -> dict[str, Path]:
    """`<org>/<name>/<config>/<split>` → its file, for all that tasks could read. DataError if there is no such folder.

    Where a split lies there in two formats, the one that tasks read.
    """
    if not root.is_dir():
        raise DataError(f"--data-root {root}: no such folder.")
    found: dict[str, Path] = {}
    pulled = _pulled(root)
    for suffix in READERS:
        brought = [path for path in pulled if path.name.endswith(suffix)]
        for path in sorted({*root.glob(f"*/*/*{suffix}"), *root.glob(f"*/*/*/*{suffix}"), *brought}):
            place = path.relative_to(root)
            if not any(part.startswith(".") for part in place.parts):
                found.setdefault(place.with_name(path.name.removesuffix(suffix)).as_posix(), path)
    return dict(sorted(found.items()))


def _pulled(root: Path) -> list[Path]:
    """Files that `pull` brought, also those deeper than a split lies."""
    try:
        names = read_lock(root)
    except DataError:  # `data verify` tells what is wrong with it
        return []
    return [root / name for name in names if (root / name).is_file()]


def find_file(root: Path, place: str) -> Path | None:
    """The file that holds `<org>/<name>/<config>/<split>`, if there is one."""
    paths = (root / f"{place}{suffix}" for suffix in READERS)
    return next((path for path in paths if path.is_file()), None)


def count(path: Path) -> int:
    """Documents in a file, without parsing them where the format allows it. DataError if it cannot be read."""
    with readable(path):
        if path.suffix == ".jsonl":
            with open_regular(path) as lines:
                return sum(1 for line in lines if line.strip())
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet as parquet

            try:
                with open_regular(path):
                    return int(parquet.read_metadata(path).num_rows)
            except pyarrow.ArrowException as error:
                raise DataError(f"{path}: not readable as parquet: {error}.") from error
    return count_read(path)


def count_read(path: Path) -> int:
    """Documents in a file, every one of them parsed. DataError for the first that is broken."""
    kind = ending(path)
    return sum(1 for _ in _OTHER_READERS.get(kind, READERS.get(kind, read_text))(path))


_OTHER_READERS = {".json": read_json, ".json.gz": read_json}
"""Of files that tasks name by their address."""


def damage(root: Path, lock: Mapping[str, LockEntry]) -> Iterator[str]:
    """A sentence for each file that is gone, not as the lock says, or not readable to its end."""
    for name, entry in lock.items():
        path = root / name
        if not path.is_file():
            yield f"{name} is in {LOCK} but not there."
            continue
        now = entry_of(path, entry.documents, entry.revision, entry.asked)
        if now.sha256 != entry.sha256:
            yield f"{name} is not what was pulled: {now.bytes:,} bytes with sha256 {now.sha256[:16]}…, \
{entry.bytes:,} bytes with {entry.sha256[:16]}… in {LOCK}."
    for path in files_of(root).values():
        name = path.relative_to(root).as_posix()
        try:
            documents = count_read(path)
        except DataError as error:
            yield str(error)
            continue
        if name in lock and documents != lock[name].documents:
            yield f"{name} has {documents:,} documents, {lock[name].documents:,} in {LOCK}."
        elif documents == 0:
            yield f"{name} is empty."


def missing(tasks: Iterable[AnyTask], present: Iterable[str]) -> dict[str, list[str]]:
    """Task → the places that it needs and that are not among `present`; tasks that lack nothing are left out."""
    there = set(present)
    found = {}
    for task in tasks:
        lacking = [one.place for one in needed_splits(task) if one.required and one.place not in there]
        if lacking:
            found[task.name] = lacking
    return found


def lacking_in(root: Path, tasks: Iterable[AnyTask]) -> list[str]:
    """Tasks that do not find all that they require in a data root."""
    return [
        task.name for task in tasks if any(one.required and one.found_in(root) is None for one in needed_splits(task))
    ]


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
        path = one.found_in(root)
        name = None if path is None else path.relative_to(root).as_posix()
        if name is not None and name not in lock:
            yield Pulled(one.place, "own")
        elif name is not None and not again and lock[name].asked == one.pinned:
            yield Pulled(one.place, "kept", lock[name])
        else:
            suffix = path.suffix if path is not None else f".{file_format}"
            name = f"{one.place}{suffix}" if one.file is None else one.file.name
            yield _pull_one(one, root, name, lock)


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
        saved = _save(one, temporary) if one.file is None else _save_file(one.task, one.file, temporary)
        if saved is None:
            return Pulled(one.place, "absent")
        lock[name] = entry_of(temporary, *saved, one.pinned)
        write_lock(root, lock)  # before the file: one that is not in the lock would count as the user's own
        temporary.replace(path)
    except DataError as error:
        return Pulled(one.place, "failed", error=str(error))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return Pulled(one.place, "pulled", lock[name])


def _save(one: NeededSplit, to: Path) -> tuple[int, str | None] | None:
    """Writes a split; its documents and the commit that it is of. None for shots that the Hub does not have."""
    source = HubSource(one.task)
    if not one.required and one.split not in source.splits():
        return None
    to.parent.mkdir(parents=True, exist_ok=True)
    documents = source.save(one.split, to)
    if documents == 0:
        raise DataError(f"{one.task.name}: the split {one.split!r} of {source.path} is empty.")
    return documents, source.revision


def _save_file(task: Task, file: HubFile, to: Path) -> tuple[int, str | None]:
    """Copies a file as it is."""
    try:
        found = file.fetch()
    except Exception as error:  # huggingface_hub and httpx raise what they like; all of it is a record
        raise DataError(hub_sentence(task.name, file.name, error)) from error
    to.parent.mkdir(parents=True, exist_ok=True)
    copyfile(found, to)
    documents = count(to)
    if documents == 0:
        raise DataError(f"{task.name}: the file {file.name} of the Hub is empty.")
    return documents, file.commit()

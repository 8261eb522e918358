"""A data root as a whole: the files that tasks want of it, those that are there, and its lock file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.tasks.data_lock import LOCK, LockEntry, entry_of
from benchbench.tasks.prepared import AnyTask
from benchbench.tasks.readers import FILE_FORMATS, READERS, check_names
from benchbench.tasks.task import Task


@dataclass(frozen=True)
class NeededSplit:
    """One split that a task reads."""

    task: Task
    """The task, with the configuration that is meant."""
    split: str
    required: bool
    """False for a pool of shots where the task's own number of shots is 0."""

    @property
    def place(self) -> str:
        """`<org>/<name>/<config>/<split>`: the file's path in a data root, without its ending."""
        config = self.task.config
        return f"{config.dataset_path}/{config.dataset_name or 'default'}/{self.split}"

    @property
    def pinned(self) -> str | None:
        """The revision that the task pins."""
        config = self.task.config
        pinned = config.dataset_revision or (config.dataset_kwargs or {}).get("revision")
        return None if pinned is None else str(pinned)


def needed_splits(task: AnyTask) -> list[NeededSplit]:
    """What `task` reads of a data root: nothing if it brings its own files. DataError for names that are no names."""
    own = task.data_task()
    config = own.config
    if config.dataset_path in FILE_FORMATS:
        return []
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
    for suffix in READERS:
        for path in sorted(root.rglob(f"*{suffix}")):
            place = path.relative_to(root)
            if len(place.parts) in (3, 4) and not any(part.startswith(".") for part in place.parts):
                found.setdefault(place.with_name(path.name.removesuffix(suffix)).as_posix(), path)
    return dict(sorted(found.items()))


def find_file(root: Path, place: str) -> Path | None:
    """The file that holds `<org>/<name>/<config>/<split>`, if there is one."""
    paths = (root / f"{place}{suffix}" for suffix in READERS)
    return next((path for path in paths if path.is_file()), None)


def count(path: Path) -> int:
    """Documents in a file, without parsing them where the format allows it. DataError if it cannot be read."""
    try:
        if path.suffix == ".jsonl":
            with path.open("rb") as lines:
                return sum(1 for line in lines if line.strip())
        if path.suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet as parquet

            try:
                return int(parquet.read_metadata(path).num_rows)
            except pyarrow.ArrowException as error:
                raise DataError(f"{path}: not readable as parquet: {error}.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    return count_read(path)


def count_read(path: Path) -> int:
    """Documents in a file, every one of them parsed. DataError for the first that is broken."""
    return sum(1 for _ in READERS[path.suffix](path))


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

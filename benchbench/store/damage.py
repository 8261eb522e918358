"""What of a run folder or a sweep is not what was written there, and what it is restored from.

Files of former versions carry no checksums: they are damaged only where they cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from benchbench.core.errors import StoreError, VersionError
from benchbench.store.extra_scores import added_files, part_of, read_metric
from benchbench.store.files import (
    copy_of,
    decode_json,
    has_checksum,
    is_sound,
    os_errors,
    read_copy,
    read_json,
    read_plain,
    set_aside,
    write_copy,
    write_whole,
)
from benchbench.store.find import Done, SweepFolder
from benchbench.store.folder import LIVE, PART, WINDOW_PARTS, RunFolder
from benchbench.store.lines import encode_line, judged_lines, read_lines
from benchbench.store.names import folder_name
from benchbench.store.questions import QUESTIONS, read_questions
from benchbench.store.table import read_part

Remedy: TypeAlias = Literal["copy", "original", "lines", "run", "score", "none"]
"""What restores a file: its copy; the file itself, of which it is the copy; leaving out its damaged lines (their docs
are asked again); the command of the run, which asks what is missing; scoring again; nothing that is known here."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that is not what was written."""

    path: Path
    why: str
    """As a sentence."""
    remedy: Remedy


def damage_of_run(run: RunFolder) -> Iterator[Damage]:
    """Everything in a run folder that is damaged. Reads all of it once."""
    begun = run.finished or (run.path / "items").is_dir()
    yield from _of_record(run.path / "plan.json", run.plan, "run", needed=begun)
    yield from _of_record(run.path / "run.json", run.own_record, "run", needed=False)
    yield from _of_log(run)
    yield from _of_parts(run)
    yield from _of_added(run)
    for path in sorted((run.path / "items").glob(f"*/{QUESTIONS}")):
        yield from _of_questions(path)
    for path in sorted((run.path / "items").glob(f"*/{LIVE}")):
        yield from _of_lines(path)


def damage_of_sweep(sweep: SweepFolder) -> Iterator[Damage]:
    """Everything in a sweep's folder that is damaged; its runs are folders of their own."""
    yield from _of_record(sweep.path / "sweep.json", sweep.content, "none", needed=True)
    for path in sorted(sweep.path.glob("units/*/done.json")):
        yield from _of_record(path, partial(_read_done, path), "run", needed=False)
    for path in sorted(sweep.path.glob("units/*/state.json")):
        yield from _of_record(path, partial(read_json, path), "run", needed=False)


def _read_done(path: Path) -> Done:
    return Done.from_json(read_json(path), str(path))


def without_checksum(run: RunFolder) -> bool:
    """The run is of a version that wrote no checksums."""
    with suppress(StoreError, OSError):
        return not has_checksum(read_plain(run.path / ("run.json" if run.finished else "plan.json")))
    return False


def _of_record(path: Path, read: Callable[[], object], otherwise: Remedy, *, needed: bool) -> Iterator[Damage]:
    """The damage of a JSON file and of its copy. `otherwise`: the remedy where there is no copy."""
    copy = read_copy(path)
    if not path.exists() and not path.is_symlink():
        if needed:
            yield Damage(path, f"{path} is missing.", "copy" if _is_json(copy, path) else otherwise)
        return
    try:
        read()
    except VersionError as error:
        is_ours = _is_json(copy, path) and not _is_sound(path)
        yield Damage(path, str(error), "copy" if is_ours else "none")
    except StoreError as error:
        yield Damage(path, str(error), "copy" if _is_json(copy, path) else otherwise)
    else:
        data = read_plain(path)
        if not has_checksum(data) and _is_json(copy, path):
            yield Damage(path, f"{path} is damaged: it has lost its checksum.", "copy")
        elif copy_of(path).is_file() and copy != data:
            yield Damage(copy_of(path), f"{copy_of(path)} is damaged: it is no copy of {path.name}.", "original")


def _is_json(copy: bytes | None, path: Path) -> bool:
    """The copy is there and whole."""
    with suppress(StoreError):
        return copy is not None and bool(decode_json(copy, str(path)))
    return False


def _is_sound(path: Path) -> bool:
    """The file is that of its checksum, whatever version it is of."""
    try:
        return is_sound(read_plain(path))
    except (StoreError, OSError):
        return False


def _of_log(run: RunFolder) -> Iterator[Damage]:
    path = run.path / "log.jsonl"
    copy = read_copy(path) if run.finished else None
    if copy is None:
        yield from _of_lines(path)
        if run.finished and copy_of(path).is_file():
            yield Damage(copy_of(path), f"{copy_of(path)} is damaged: it is no copy of {path.name}.", "original")
    elif _bytes(path) != copy:
        yield Damage(path, f"{path} is damaged: it is not what it was when the run was finished.", "copy")


def _bytes(path: Path) -> bytes | None:
    if path.is_symlink() or not path.is_file():
        return None
    with suppress(OSError):
        return path.read_bytes()
    return None


def _of_lines(path: Path) -> Iterator[Damage]:
    try:
        bad = sum(line is None for line in judged_lines(path))
    except StoreError as error:
        yield Damage(path, str(error), "none")
        return
    if bad:
        yield Damage(path, f"{path} has {bad} damaged lines.", "lines")


def _of_parts(run: RunFolder) -> Iterator[Damage]:
    known = run.parts()
    for name in sorted(known.keys() | _folders(run)):
        try:
            if run.is_sealed(name) or (run.finished and name in known):
                path = run.part(name)
                if name not in known:
                    read_part(path)
        except StoreError as error:
            yield Damage(run.path / "items" / name / PART, str(error), "run")
    for folder in sorted({path.parent.name for path in (run.path / "items").glob(f"*/{WINDOW_PARTS}")}):
        yield from _of_windows(run, folder)


def _of_windows(run: RunFolder, task: str) -> Iterator[Damage]:
    """Of a large task that is not sealed yet."""
    for number in run.windows(task):
        try:
            read_part(run.window_part(task, number))
        except StoreError as error:
            yield Damage(run.window_path(task, number), str(error), "run")


def _of_questions(path: Path) -> Iterator[Damage]:
    try:
        read_questions(path)
    except StoreError as error:
        yield Damage(path, str(error), "run")


def _folders(run: RunFolder) -> set[str]:
    """Tasks that have items on disk, and those of a former version's record that must have had."""
    found = {path.parent.name for path in (run.path / "items").glob(f"*/{PART}")}
    if run.finished and not run.parts():
        with suppress(StoreError):
            record = run.own_record()
            if record.origin is None:
                found |= {folder_name(name) for name, task in record.tasks.items() if task.counts.n}
    return found


def _of_added(run: RunFolder) -> Iterator[Damage]:
    try:
        files = added_files(run.path)
    except StoreError as error:
        yield Damage(run.path / "scores", str(error), "none")
        return
    for path in files:
        damage = list(_of_record(path, partial(read_metric, path), "score", needed=False))
        yield from damage
        if not any(one.path == path for one in damage):
            added = read_metric(path)
            try:
                part_of(path, added)
            except StoreError as error:
                yield Damage(path.parent / str(added.part), str(error), "score")


def restore(run: RunFolder) -> list[Damage]:
    """Restores what the folder itself can, and puts the rest out of the way for the run's own command to make again.

    Call only while holding the run's lock. Returns what was damaged.
    """
    found = list(damage_of_run(run))
    for damage in found:
        restore_file(damage)
    paths = {damage.path for damage in found}
    later = [damage for damage in damage_of_run(RunFolder(run.path)) if damage.path not in paths]
    for damage in later:  # seen only once the record could be read
        restore_file(damage)
    return found + later


def restore_file(damage: Damage) -> None:
    """As `restore`, for one file. Added scores stay as they are: scoring again replaces them."""
    path = damage.path
    match damage.remedy:
        case "copy":
            copy = read_copy(path)
            if copy is not None:
                _clear(path)
                write_whole(path, copy)
        case "original":
            original = path.with_name(path.name.removeprefix(".").removesuffix(".copy"))
            with os_errors(original, "read"):
                write_copy(original, original.read_bytes())
        case "lines":
            write_whole(path, b"".join(encode_line(line) for line in read_lines(path)))
        case "run":
            if path.is_symlink() or path.exists():
                set_aside(path)


def _clear(path: Path) -> None:
    """Takes a link or a pipe away, over which nothing should be written."""
    if path.is_symlink() or not path.is_file():
        with os_errors(path, "remove"):
            path.unlink(missing_ok=True)


def is_complete(folder: RunFolder) -> bool:
    """The run is finished, and no part of it is missing."""
    return folder.finished and all(map(folder.is_sealed, folder.parts()))


def remove_aside(run: RunFolder) -> None:
    """Removes what `restore` put out of the way, once it was made again."""
    for path in [*run.path.glob("*.damaged"), *run.path.glob("items/*/*.damaged")]:
        if path.with_name(path.name.removesuffix(".damaged")).is_file():
            with os_errors(path, "remove"):
                path.unlink(missing_ok=True)

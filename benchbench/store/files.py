"""Files that are either whole or absent, that know when they are damaged, and lie where they should.

A JSON file carries the sha256 of its own content, under `checksum`, and the important ones have a copy beside them,
from which they are restored. Files of former versions have neither, and are read all the same.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from benchbench.core.errors import DamageError, StoreError
from benchbench.core.files import open_regular
from benchbench.core.json_record import refuse_later
from benchbench.core.record import RUN_SCHEMA_VERSION
from benchbench.core.types import Json

_MAKE_ROOM = "Make room and give the same command again: what is already written is kept."
_ADVICE = {
    errno.ENOSPC: f"the disk is full. {_MAKE_ROOM}",
    errno.EDQUOT: f"the disk quota is used up. {_MAKE_ROOM}",
    errno.EFBIG: f"the file would outgrow what this process may write (`ulimit -f`). {_MAKE_ROOM}",
    errno.EROFS: "the file system is read-only. Choose another folder with --results.",
    errno.EACCES: "permission denied. Choose another folder with --results, or ask its owner for write access.",
    errno.EPERM: "permission denied. Choose another folder with --results, or ask its owner for write access.",
    errno.ENOTDIR: "a part of the path is a file, not a folder. Choose another folder with --results.",
    errno.ELOOP: "a link stands where a file of the run is needed. Remove it; nothing outside is read or written.",
    errno.EEXIST: "a file stands where a folder is needed. Choose another folder with --results.",
    errno.ENAMETOOLONG: "the path is too long for this file system. Choose a shorter --results.",
    errno.EIO: "the disk reports an input/output error.",
}


def sentence(path: Path, doing: str, error: OSError) -> StoreError:
    """The StoreError that tells a user what went wrong while `doing` something with `path`."""
    advice = _ADVICE.get(error.errno or 0, f"{error.strerror or error}.")
    return StoreError(f"cannot {doing} {path}: {advice}")


@contextmanager
def os_errors(path: Path, doing: str) -> Iterator[None]:
    """Turns any OSError inside into a StoreError sentence."""
    try:
        yield
    except OSError as error:
        raise sentence(path, doing, error) from error


def write_all(fd: int, data: bytes) -> None:
    """Writes all of `data`, going on after short writes (a signal, a nearly full disk)."""
    while (written := os.write(fd, data)) < len(data):
        data = data[written:]


def fsync_folder(folder: Path) -> None:
    """Makes names created or renamed in `folder` survive a power cut, where the file system can."""
    with suppress(OSError):
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def make_folder(folder: Path) -> None:
    """Creates `folder` and its parents; StoreError if that cannot be done."""
    with os_errors(folder, "create"):
        folder.mkdir(parents=True, exist_ok=True)


def refuse_unwritable(root: Path) -> None:
    """StoreError where no run can be kept in the results folder `root`; nothing is left of the trial.

    One that holds runs may be read-only: a finished run is shown from it.
    """
    missing = [folder for folder in (root, *root.parents) if not folder.exists()]
    if not missing and root.is_dir() and any(root.glob("*/*/plan.json")):
        return
    try:
        make_folder(root)
        with os_errors(root, "write into"), TemporaryFile(dir=root):
            pass
    finally:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()


def write_whole(path: Path, data: bytes) -> None:
    """Writes `path` so that it is either absent (or as before) or complete: temporary file, fsync, rename."""
    with _renamed(path) as temporary:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file to write, which becomes `path` when the block ends well, and is gone when it does not."""
    with _renamed(path) as temporary:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """As `replacing`, of a file that the block itself makes safe on disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with os_errors(path, "write"):
        try:
            yield temporary
            temporary.rename(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_folder(path.parent)


MAX_RECORD = 2**28
"""Bytes of the largest JSON file that is read."""
MAX_DIGITS = 18
"""Of a whole number in a record; such a number fits 64 bits."""
_CHECKSUM = re.compile(rb'"checksum": "([^"]{64})"[\s}]*\Z')
_NONE_YET = b'"checksum": ""'


def open_plain(path: Path) -> BinaryIO:
    """A file of a run folder for reading. DamageError where a link, a folder, a pipe or a device stands for it."""
    try:
        return open_regular(path, follow=False)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DamageError(
                f"{path} is a link to somewhere else, which is not followed. Put a copy there."
            ) from error
        if error.errno == errno.EINVAL:
            raise DamageError(f"{path} is no plain file, but a folder, a pipe or a device. Remove it.") from error
        raise


def read_plain(path: Path) -> bytes:
    """All of such a file. DamageError as `open_plain`, and where it is longer than any record; OSError as `open`."""
    with open_plain(path) as file:
        data = file.read(min(os.fstat(file.fileno()).st_size, MAX_RECORD) + 1)
    if len(data) > MAX_RECORD:
        raise DamageError(f"{path} has more than {MAX_RECORD:,} bytes, the most that a record of a run has.")
    return data


def write_json(path: Path, value: Mapping[str, Json], *, keep_copy: bool = False) -> None:
    """Writes `value` as indented JSON with its checksum, whole or not at all. ValueError for NaN and infinity.

    `keep_copy`: also a copy, before it, to restore it from.
    """
    data = encode_json(value)
    if keep_copy:
        write_copy(path, data)
    write_whole(path, data)


def encode_json(value: Mapping[str, Json]) -> bytes:
    """The file's bytes. The checksum comes last: under `provenance`, with all else in which equal runs may differ,
    where that is last itself.
    """
    last, held = list(value)[-1:], value.get("provenance")
    whole: dict[str, Json] = {**value, "checksum": ""}
    if last == ["provenance"] and isinstance(held, dict):
        whole = {**value, "provenance": {**held, "checksum": ""}}
    text = json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    head, _, tail = text.encode("utf-8", errors="replace").rpartition(_NONE_YET)
    digest = hashlib.sha256(head + _NONE_YET + tail).hexdigest().encode()
    return head + b'"checksum": "' + digest + b'"' + tail


def read_json(path: Path) -> dict[str, Json]:
    """The JSON object in `path`, without a checksum of its own.

    StoreError if it is missing, DamageError if it is damaged, VersionError if it is of a later version.
    """
    with os_errors(path, "read"):
        data = read_plain(path)
    return decode_json(data, str(path))


def decode_json(data: bytes, where: str) -> dict[str, Json]:
    """The JSON object of a file that `where` names. DamageError if it is none, or another than was written.

    VersionError if a later version wrote it, which may make its checksum in another way.
    """
    has_checksum = _is_whole(data, where)
    try:
        value: Json = json.loads(data) if _MANY_DIGITS not in data.translate(_DIGITS) else _STRICT.decode(data.decode())
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise DamageError(f"{where} is not JSON ({reason}); the run folder is damaged.{REPAIR}") from None
    if not isinstance(value, dict):
        raise DamageError(f"{where} holds no JSON object; the run folder is damaged.{REPAIR}")
    if has_checksum:
        value.pop("checksum", None)
    return value


REPAIR = " `benchbench results check --repair` restores what it can."


def _is_whole(data: bytes, where: str) -> bool:
    """Whether the file carries a checksum. DamageError if it is not that of its content."""
    if not has_checksum(data):
        return False
    if not is_sound(data):
        _refuse_later(data, where)
        raise DamageError(f"{where} is damaged: its content is not that of its checksum.{REPAIR}")
    return True


def is_sound(data: bytes) -> bool:
    """The checksum that the bytes of a JSON file carry is theirs."""
    found = _checksum_in(data)
    if found is None:
        return False
    start, end = found.span(1)
    return hashlib.sha256(data[:start] + data[end:]).hexdigest().encode() == found[1]


def _checksum_in(data: bytes) -> re.Match[bytes] | None:
    return _CHECKSUM.search(data, max(0, len(data) - 200))


def _refuse_later(data: bytes, where: str) -> None:
    with suppress(ValueError, RecursionError):
        value = json.loads(data)
        if isinstance(value, dict) and isinstance(value.get("schema_version"), int):
            refuse_later(value, RUN_SCHEMA_VERSION, where)


def has_checksum(data: bytes) -> bool:
    """The bytes of a JSON file carry a checksum; those of former versions do not."""
    return _checksum_in(data) is not None


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS + 1:
        raise ValueError(f"a whole number of {len(digits)} digits")
    return int(digits)


_STRICT = json.JSONDecoder(parse_int=_integer)
"""Slower than `json.loads`, and needed only where there are so many digits in a row."""
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_MANY_DIGITS = b"0" * (MAX_DIGITS + 1)


def copy_of(path: Path) -> Path:
    """Where the copy of `path` lies."""
    return path.with_name(f".{path.name}.copy")


def write_copy(path: Path, data: bytes) -> None:
    """Writes the copy of what `path` holds, or is about to."""
    write_whole(copy_of(path), zlib.compress(data, 9))


def read_copy(path: Path) -> bytes | None:
    """What the copy of `path` holds; None where there is none, or it is damaged."""
    try:
        made = zlib.decompressobj()
        packed = read_plain(copy_of(path))
        data = made.decompress(packed, MAX_RECORD)
    except (zlib.error, OSError, DamageError):
        return None
    return data if made.eof and not made.unused_data else None


def remove_copied(path: Path) -> None:
    """Removes `path` and its copy."""
    for one in (copy_of(path), path):
        with os_errors(one, "remove"):
            one.unlink(missing_ok=True)


def set_aside(path: Path) -> Path:
    """Renames what is damaged out of the way, to `<name>.damaged`; returns where it is now."""
    aside = path.with_name(f"{path.name}.damaged")
    with os_errors(path, "rename"):
        path.rename(aside)
    return aside


def inside(folder: Path, *names: str) -> Path:
    """The path of a file below `folder`, whose `names` may come from a file. DamageError if it lies anywhere else.

    Links are followed to see where it lies, so that no link inside leads out. Nothing need be there.
    """
    path = folder.joinpath(*names)
    real, root = os.path.realpath(path), os.path.realpath(folder)
    if not real.startswith(f"{root.rstrip(os.sep)}{os.sep}"):
        raise DamageError(f"{path} lies outside of {folder}; nothing there is read or written.")
    return path


def sha256_of(path: Path) -> str:
    """sha256 of a file's content, in hex. DamageError if it is no plain file, OSError if it cannot be read."""
    found = hashlib.sha256()
    with open_plain(path) as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()


def remove_strays(folder: Path, *, below: bool = True) -> None:
    """Deletes temporary files that a killed writer left behind, also in folders `below`. Call only while holding the
    folder's lock.
    """
    for stray in folder.rglob(".*.tmp") if below else folder.glob(".*.tmp"):
        with suppress(OSError):
            stray.unlink()

"""What the docs of a task ask, beside its items: for people who read answers. No number is made of it.

One JSON line per doc, packed: `items/<task>/questions.jsonl.gz`. Description and shots, which all docs share, are left
out. The last line is the checksum of the bytes before it, in a gzip member of its own.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import islice
from pathlib import Path
from struct import pack
from tempfile import TemporaryFile
from typing import BinaryIO

from benchbench.core.errors import DamageError
from benchbench.core.quick_json import quoted
from benchbench.core.types import RenderedDoc
from benchbench.store.files import REPAIR, make_folder, open_plain, os_errors, replacing
from benchbench.store.folder import RunFolder, RunWriter

QUESTIONS = "questions.jsonl.gz"
LONGEST = 10_000
"""Characters of a question that are kept; of a longer one its beginning and its end."""
LEVEL = 1
"""Of zlib: 6 saves a seventh of the bytes and takes twice as long."""
BLOCK = 1000
"""Lines that are packed at once."""
MAX_LINE = 200_000
"""Bytes of the longest line that is read."""
MAX_BYTES = 2**32
"""Of all lines together."""


def questions(run: RunFolder, task: str, wanted: Collection[int] | None = None) -> dict[int, str]:
    """`read_questions` of a task of a run."""
    return read_questions(run.task_folder(task) / QUESTIONS, wanted)


def has_questions(run: RunFolder, task: str) -> bool:
    """What the docs of the task ask is on disk."""
    return (run.task_folder(task) / QUESTIONS).is_file()


KeepQuestions = Callable[[Iterable[RenderedDoc]], None]
"""Adds what the next docs ask."""


@contextmanager
def keep_questions(run: RunWriter, task: str) -> Iterator[KeepQuestions]:
    """Writes what the docs of the task ask, all in their order, if it is not there: whole when the block ends well."""
    if has_questions(run, task):
        yield lambda docs: None
        return
    make_folder(run.task_folder(task))
    with writing_questions(run.task_folder(task) / QUESTIONS) as write:
        yield lambda docs: write((doc.doc.id, doc.question) for doc in docs)


@contextmanager
def writing_questions(path: Path) -> Iterator[Callable[[Iterable[tuple[int, str]]], None]]:
    """Writes (doc id, question) of all docs that are given, in that order. StoreError if that cannot be done.

    What goes wrong inside the block for another reason is passed on as it is.
    """
    with os_errors(path, "write"):
        file = TemporaryFile(dir=path.parent)  # noqa: SIM115  # closed below; it has no name that a kill could leave
    with file:
        with gzip.GzipFile("", "wb", LEVEL, file, mtime=0) as packed:

            def write(asked: Iterable[tuple[int, str]]) -> None:
                lines = (f'{{"doc_id": {doc_id}, "question": {quoted(middle_cut(text))}}}\n' for doc_id, text in asked)
                while block := "".join(islice(lines, BLOCK)):
                    with os_errors(path, "write"):
                        packed.write(block.encode("utf-8", errors="replace"))

            yield write
            with os_errors(path, "write"):
                packed.close()
        file.seek(0)
        with replacing(path) as target, target.open("wb") as whole:
            digest = sha256()
            while block := file.read(2**20):
                digest.update(block)
                whole.write(block)
            whole.write(_seal(digest.hexdigest()))


def _seal(digest: str) -> bytes:
    """A gzip member that holds a checksum, as RFC 1952 and 1951 write what is not compressed: always the same bytes."""
    line = json.dumps({"sha256": digest}).encode() + b"\n"
    stored = b"\x01" + pack("<HH", len(line), 0xFFFF - len(line)) + line
    return b"\x1f\x8b\x08" + bytes(6) + b"\xff" + stored + pack("<II", zlib.crc32(line), len(line))


SEAL_BYTES = len(_seal(64 * "0"))


def middle_cut(text: str, longest: int = LONGEST) -> str:
    """The text, of a long one beginning and end: what is asked may stand at either.

    >>> middle_cut("0123456789", 4)
    '01 … [6 characters] … 89'
    """
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … [{len(text) - 2 * half:,} characters] … {text[-half:]}"


def read_questions(path: Path, wanted: Collection[int] | None = None) -> dict[int, str]:
    """Doc id → question, of the docs `wanted` or of all; empty where a run has none (former versions, imports).

    DamageError where the file is not what was written.
    """
    left = None if wanted is None else set(wanted)
    found: dict[int, str] = {}
    if not path.exists() and not path.is_symlink():
        return found
    for line in _lines(path):
        try:
            one = json.loads(line)
            if "sha256" in one:
                break
            doc_id, question = one["doc_id"], one["question"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _damaged(path) from None
        if not isinstance(doc_id, int) or not isinstance(question, str):
            raise _damaged(path)
        if left is None or doc_id in left:
            found[doc_id] = question
            if left is not None:
                left.discard(doc_id)
                if not left:
                    break
    return found


def _lines(path: Path) -> Iterator[bytes]:
    with os_errors(path, "read"), open_plain(path) as file:
        _check_seal(file, path)
        try:
            with gzip.GzipFile(fileobj=file) as packed, io.BufferedReader(packed) as lines:
                total = 0
                while line := lines.readline(MAX_LINE + 1):
                    total += len(line)
                    if len(line) > MAX_LINE or total > MAX_BYTES:
                        raise _damaged(path)
                    yield line
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise _damaged(path) from None


def _check_seal(file: BinaryIO, path: Path) -> None:
    """DamageError where the bytes are not those that were written; leaves the file at its beginning."""
    left, digest = file.seek(0, io.SEEK_END) - SEAL_BYTES, sha256()
    file.seek(0)
    while left > 0 and (block := file.read(min(left, 2**20))):
        digest.update(block)
        left -= len(block)
    if left < 0 or file.read(SEAL_BYTES + 1) != _seal(digest.hexdigest()):
        raise _damaged(path)
    file.seek(0)


def _damaged(path: Path) -> DamageError:
    return DamageError(f"{path} is damaged: it does not hold the questions of a task's docs.{REPAIR}")

"""A corpus on disk in pieces: text files and JSON lines, plain or packed with gzip, of any size."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchbench.core.errors import ArgumentError
from benchbench.extensions.leaks.ngrams import BLOCK, SEPARATOR

PIECE = 1 << 25
"""Bytes of a plain file that are searched at once; packed files are one piece each."""
OVERLAP = 1 << 12
"""Bytes before a piece of text that are read again, so that nothing is cut."""
LONGEST_LINE = 1 << 26
"""Bytes; a longer line of JSON is counted as broken."""
KINDS = (".txt", ".text", ".md", ".jsonl", ".json", ".ndjson")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one file."""

    path: str
    start: int
    end: int
    """Bytes; of packed files the whole."""
    stamp: str
    """Size and time of change: another file of the same name is searched again."""

    @property
    def key(self) -> str:
        """What tells it from other pieces."""
        return f"{self.path}:{self.start}-{self.end}:{self.stamp}"


@dataclass(slots=True)
class Broken:
    """What of a piece could not be read."""

    lines: int = 0
    file: str | None = None
    """Why the rest of the file was left out."""


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files of a corpus, by path. ArgumentError if there is none of a kind that is known."""
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ArgumentError(
                f"there is no corpus {path}. Give --corpus a file or folder of {', '.join(KINDS)} (.gz)."
            )
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [one for one in inside if one.is_file() and _kind(one) in KINDS]
    if not found:
        raise ArgumentError(
            f"{', '.join(map(str, paths))}: no file here is {', '.join(KINDS)}, plain or .gz. Of Parquet and others,"
            " write their text as JSON lines first."
        )
    return found


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def pieces_of(files: Iterable[Path]) -> Iterator[Piece]:
    """All pieces, in order; nothing is read."""
    for path in files:
        known = path.stat()
        stamp = f"{known.st_size}-{known.st_mtime_ns}"
        if path.name.endswith(".gz"):
            yield Piece(str(path), 0, known.st_size, stamp)
        else:
            for start in range(0, known.st_size, PIECE):
                yield Piece(str(path), start, min(known.st_size, start + PIECE), stamp)


def blocks_of(piece: Piece, field: str, broken: Broken) -> Iterator[bytes]:
    """The text of a piece, in blocks that overlap by a little; documents are parted by a word that no doc has."""
    path = Path(piece.path)
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            is_whole = path.name.endswith(".gz")
            stream: BinaryIO = file  # type: ignore[assignment]
            if _kind(path) in (".jsonl", ".ndjson", ".json"):
                yield from _joined(_texts(stream, piece, field, broken, is_whole=is_whole))
            else:
                yield from _plain(stream, piece, is_whole=is_whole)
    except (OSError, EOFError, zlib.error) as error:
        broken.file = f"{path}: {error}"


def _plain(file: BinaryIO, piece: Piece, *, is_whole: bool) -> Iterator[bytes]:
    left = -1 if is_whole else piece.end - piece.start
    kept = b""
    if not is_whole:
        back = min(OVERLAP, piece.start)
        file.seek(piece.start - back)
        kept = file.read(back)
    while data := file.read(BLOCK if left < 0 else min(BLOCK, left)):
        left -= len(data) if left >= 0 else 0
        yield kept + data
        kept = (kept + data)[-OVERLAP:]


def _texts(file: BinaryIO, piece: Piece, field: str, broken: Broken, *, is_whole: bool) -> Iterator[bytes]:
    """The texts of the lines that begin in the piece."""
    if not is_whole and piece.start:
        file.seek(piece.start - 1)
        file.readline()
    while is_whole or file.tell() < piece.end:
        line = file.readline(LONGEST_LINE)
        if not line:
            return
        text = _text(line, field)
        if text is None:
            broken.lines += bool(line.strip())
        else:
            yield text


def _text(line: bytes, field: str) -> bytes | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    text = row if isinstance(row, str) else row.get(field) if isinstance(row, dict) else None
    return text.encode(errors="replace") if isinstance(text, str) else None


def _joined(texts: Iterable[bytes]) -> Iterator[bytes]:
    """Texts put together to blocks; one that is longer than a block is cut, with an overlap."""
    held = io.BytesIO()
    for text in texts:
        for start in range(0, max(1, len(text)), BLOCK - OVERLAP):
            held.write(text[start : start + BLOCK])
            held.write(SEPARATOR)
            if held.tell() >= BLOCK:
                yield held.getvalue()
                held = io.BytesIO()
    if held.tell():
        yield held.getvalue()

"""A text file that somebody else made: plain or packed with gzip, with or without a byte order mark."""

from __future__ import annotations

import codecs
import errno
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from benchbench.core.errors import DataError
from benchbench.core.files import open_regular

MAX_LINE_BYTES = 64_000_000
"""Longest row of a text format; longer than any document that a model reads."""
MAX_JSON_BYTES = 1_000_000_000
"""Largest file that is one JSON array, which is read whole."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError inside into a DataError sentence."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error


_GZIP = b"\x1f\x8b"
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet (.xlsx); unpack it, or save it as CSV in UTF-8",
    b"BZh": "compressed with bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "compressed with xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it, or use gzip",
    b"\xff\xfe": "UTF-16; save it as UTF-8",
    b"\xfe\xff": "UTF-16; save it as UTF-8",
    b"PAR1": "parquet; write `dataset_path: parquet`",
}
"""First bytes of files that are no text in UTF-8, and what they are."""


def bare_name(path: Path) -> Path:
    """The path without the ending of a compressed file."""
    return path.with_suffix("") if path.suffix.lower() == ".gz" else path


def ending(path: Path) -> str:
    """What stands behind the bare name, as `.jsonl` or `.csv.gz`, in small letters."""
    return path.name[len(bare_name(path).stem) :].lower()


@contextmanager
def _opened(path: Path) -> Iterator[BufferedIOBase]:
    """A regular file of text, unpacked if gzip packed it, behind its byte order mark. OSError for another kind."""
    with open_regular(path) as file:
        start = file.peek(8)[:8]
        for sign, kind in _OTHERS.items():
            if start.startswith(sign):
                raise OSError(errno.EINVAL, f"it is {kind}", str(path))
        if not start.startswith(_GZIP):
            if start.startswith(codecs.BOM_UTF8):
                file.read(len(codecs.BOM_UTF8))
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                if unpacked.peek(3).startswith(codecs.BOM_UTF8):
                    unpacked.read(len(codecs.BOM_UTF8))
                yield unpacked
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise OSError(errno.EIO, f"it is a damaged gzip file ({error})", str(path)) from error


def lines_of(path: Path) -> Iterator[bytes]:
    """Lines of a regular file, with their ends. DataError if it is none, or for a line without end."""
    with readable(path), _opened(path) as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise OSError(errno.EFBIG, f"it has a line of more than {MAX_LINE_BYTES:,} bytes", str(path))
            yield line


def whole_text(path: Path) -> str:
    """The text of a file that is read at once. DataError if it cannot be read; ValueError if it is not UTF-8."""
    with readable(path), _opened(path) as file:
        content = file.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise OSError(errno.EFBIG, f"it is larger than {MAX_JSON_BYTES:,} bytes", str(path))
    return content.decode("utf-8-sig")

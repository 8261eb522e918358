"""Content hashes: the same content gives the same name, anywhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from benchbench.core.quick_json import chunks

_CHUNKS = chunks(json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False))


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no escapes: one text for one value."""
    return "".join(_CHUNKS(value, 0))


def content_hash(value: object, *, digits: int = 16) -> str:
    """First `digits` hex digits of the sha256 of `value` as canonical JSON."""
    return text_hash(canonical_json(value))[:digits]


def text_hash(text: str) -> str:
    """sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class DataHash:
    """`content_hash([[doc hashes], [shot hashes]])` of docs that come one by one."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256(b"[[")
        self._join = b""

    def add(self, doc_hash: str) -> None:
        """The next doc, by its hash in hex digits."""
        self._sha.update(self._join + f'"{doc_hash}"'.encode("ascii"))
        self._join = b","

    def of_all(self, shots: Sequence[str]) -> str:
        """The hash of the docs that were added, and of the docs that serve as `shots`."""
        whole = self._sha.copy()
        whole.update(f"],{canonical_json(shots)}]".encode("ascii"))
        return whole.hexdigest()[:16]

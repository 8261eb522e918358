"""Content hashes: the same content gives the same name, anywhere."""

from __future__ import annotations

import hashlib
import json


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no spaces and no escapes: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def content_hash(value: object, *, digits: int = 16) -> str:
    """First `digits` hex digits of the sha256 of `value` as canonical JSON."""
    data = canonical_json(value).encode("utf-8", errors="surrogatepass")
    return hashlib.sha256(data).hexdigest()[:digits]


def text_hash(text: str) -> str:
    """sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()

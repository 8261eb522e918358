"""The standard library's JSON, prepared once: of a short value most of the time goes into preparing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from json import encoder
from typing import Any, cast

from benchbench.core.types import Json


def chunks(settings: json.JSONEncoder) -> Callable[[object, int], Iterable[str]]:
    """What `settings.encode(value)` joins, as `chunks(settings)(value, 0)`. Circular values are not looked for."""
    made: Callable[[object, int], Iterable[str]] = cast("Any", encoder).c_make_encoder(
        None,
        settings.default,
        encoder.encode_basestring_ascii if settings.ensure_ascii else encoder.encode_basestring,
        settings.indent,
        settings.key_separator,
        settings.item_separator,
        settings.sort_keys,
        settings.skipkeys,
        settings.allow_nan,
    )
    return made


quoted = encoder.encode_basestring
"""A text as JSON, with its letters as they are."""

_SCAN: Callable[[str, int], tuple[Json, int]] = cast("Any", json.JSONDecoder()).scan_once


def loads(text: str) -> Json:
    """`json.loads` of a text, as a line of a file is: with its errors."""
    try:
        value, end = _SCAN(text, 0)
        if text[end:] in _ENDS:
            return value
    except StopIteration:  # whose reason `json.loads` says
        pass
    return cast("Json", json.loads(text))


_ENDS = frozenset(["", "\n", "\r\n"])

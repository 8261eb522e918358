"""A server's key: where it is read from, and how it is kept out of everything that is shown or stored."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

SHOWN = 300
"""Characters of a server's message that are shown."""
HIDDEN = "(not shown: its words hold a part of the key)"
SHORTEST = 8
"""Letters and digits of a key, or of a piece of it, below which a likeness may be chance: `EMPTY` is a word."""

_ESCAPED = re.compile(r"\\u00([0-9a-fA-F]{2})")
_DIGIT = re.compile(rb"\d")
_KEPT = b"abcdefghijklmnopqrstuvwxyz0123456789"
_OTHERS = bytes(set(range(256)) - set(_KEPT))


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a server, or "" for none. Its text is not part of its repr."""

    text: str = field(default="", repr=False)
    _blocks: tuple[bytes, ...] = field(init=False, repr=False)
    """Of any piece of the key one of these is a part: what holds none of them needs no closer look."""
    _pieces: tuple[bytes, ...] = field(init=False, repr=False)
    """Letters and digits of the key, and of what it becomes in base64 and in hexadecimal, SHORTEST at a time."""
    _mixed: tuple[bytes, ...] = field(init=False, repr=False)
    """Those pieces that no word is: with letters and digits."""

    def __post_init__(self) -> None:
        forms = list(dict.fromkeys(map(_fold, _written(self.text)))) if len(_fold(self.text)) >= SHORTEST else []
        # A key made of words, such as `sk-no-key-required`, counts whole only.
        made_of_words = bool(forms) and not _DIGIT.search(forms[0])
        pieces = tuple(forms) if made_of_words else tuple(run for form in forms for run in _runs(form, SHORTEST))
        mixed = pieces if made_of_words else tuple(run for run in pieces if _DIGIT.search(run) and not run.isdigit())
        step = SHORTEST // 2
        blocks = (form[start : start + step] for form in forms for start in range(0, len(form) - step + 1, step))
        for name, value in (("_blocks", tuple(blocks)), ("_pieces", pieces), ("_mixed", mixed)):
            object.__setattr__(self, name, value)

    def redact(self, text: str) -> str:
        """One line of what somebody else said, cut after the key is out of it."""
        return self.hide(" ".join(self._replaced(text).split()))[:SHOWN]

    def hide(self, text: str) -> str:
        """A sentence without the key, whole or in pieces."""
        text = self._replaced(text)
        return HIDDEN if self._stands_in(text, self._pieces) else text

    def _replaced(self, text: str) -> str:
        return text.replace(self.text, "[key]") if len(self.text) >= SHORTEST // 2 else text

    def is_in_answer(self, text: str) -> bool:
        """Whether a text that the server wrote holds the key, or a piece of it that no word is."""
        return self._stands_in(text, self._mixed)

    def _stands_in(self, text: str, pieces: tuple[bytes, ...]) -> bool:
        folded = _fold(_decoded(text)) if pieces else b""
        return any(block in folded for block in self._blocks) and any(piece in folded for piece in pieces)


def _runs(form: bytes, length: int) -> Iterator[bytes]:
    yield from (form[start : start + length] for start in range(len(form) - length + 1))


def _written(key: str) -> Iterator[str]:
    """The key as servers write it: as it is, in hexadecimal, in base64 at each of the three places it can begin."""
    data = key.encode()
    yield key
    yield data.hex()
    for before in range(3):
        start = (0, 2, 3)[before]  # the first signs also depend on what stands before, the last on what follows
        encoded = b64encode(b"\0" * before + data).decode().rstrip("=")
        yield encoded[start : len(encoded) - ((len(data) + before) % 3 != 0)]


def _decoded(text: str) -> str:
    if "\\" in text:
        text = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    if "%" in text:
        text = unquote(text)
    return html.unescape(text) if "&" in text else text


def _fold(text: str) -> bytes:
    """Letters and digits, in one case: white space, quotes and escapes between them hide nothing."""
    return text.lower().encode("utf-8", errors="replace").translate(None, _OTHERS)

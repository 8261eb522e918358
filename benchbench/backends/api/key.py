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
    _forms: tuple[bytes, ...] = field(init=False, repr=False)
    """The key and what it becomes in base64 and in hexadecimal, letters and digits only."""

    def __post_init__(self) -> None:
        found = dict.fromkeys(_fold(form) for form in _written(self.text)) if self.text else {}
        long_enough = tuple(form for form in found if len(form) >= SHORTEST)
        object.__setattr__(self, "_forms", long_enough if len(_fold(self.text)) >= SHORTEST else ())

    def redact(self, text: str) -> str:
        """One line of what somebody else said, cut after the key is out of it."""
        return self.hide(" ".join(self._replaced(text).split()))[:SHOWN]

    def hide(self, text: str) -> str:
        """A sentence without the key, whole or in pieces."""
        text = self._replaced(text)
        return HIDDEN if self._holds_piece(text) else text

    def _replaced(self, text: str) -> str:
        return text.replace(self.text, "[key]") if len(self.text) >= SHORTEST // 2 else text

    def is_in_answer(self, text: str) -> bool:
        """Whether a text that the server wrote holds the key, or a piece of it with letters and digits: no word does."""
        return bool(self._forms) and (self.text in text or self._holds_piece(text, mixed=True))

    def _holds_piece(self, text: str, *, mixed: bool = False) -> bool:
        """A key without digits may be made of words (`sk-no-key-required`): it counts whole only."""
        if not self._forms:
            return False
        folded = _fold(_decoded(text))
        if not _DIGIT.search(self._forms[0]):
            return any(form in folded for form in self._forms)
        return any(piece in folded for form in self._forms for piece in _pieces(form, folded, mixed=mixed))


def _pieces(form: bytes, folded: bytes, *, mixed: bool) -> Iterator[bytes]:
    """The runs of `form` that may stand in `folded`: none where it has none of the blocks of which each holds one."""
    block = SHORTEST // 2
    if any(form[start : start + block] in folded for start in range(0, len(form) - block + 1, block)):
        runs = (form[start : start + SHORTEST] for start in range(len(form) - SHORTEST + 1))
        yield from (run for run in runs if not mixed or (_DIGIT.search(run) and not run.isdigit()))


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

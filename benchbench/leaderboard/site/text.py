"""Names, texts and numbers as a page shows them: everything is text, and what could deceive the eye is made visible."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from benchbench.core.ids import content_hash

LONGEST = 4000
"""Characters of a text that a page shows."""
LONGEST_NAME = 160

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control, bidirectional and invisible characters, and halves of pairs. Line breaks and tabs are neither, nor is
the joiner that emoji are made with."""


def visible(value: object) -> str:
    r"""The text with control, bidirectional and invisible characters as visible marks: `⟨U+202E⟩`.

    >>> visible("a\u202eb")
    'a⟨U+202E⟩b'
    """
    text = str(value)
    if text.isprintable():
        return text
    return _UNSEEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def shown(value: object, longest: int = LONGEST) -> str:
    """As `visible`, cut after `longest` characters with a note that says how many there were."""
    text = str(value)
    if len(text) <= longest:
        return visible(text)
    return f"{visible(text[:longest])} … [cut: {longest:,} of {len(text):,} characters are shown]"


def name(value: object) -> str:
    """A model's or task's name on one line."""
    return " ".join(shown(value, LONGEST_NAME).split()) or "(no name)"


def said(value: object) -> str:
    """A sentence on one line."""
    return " ".join(shown(value).split())


def slug(value: str) -> str:
    """A file name of ASCII letters for any text; two texts never share one, not even where case does not count.

    >>> slug("arc_easy"), slug("BUT-FIT/csmpt7b")[:16]
    ('arc_easy', 'but-fit_csmpt7b-')
    """
    plain = re.sub(r"[^a-z0-9._-]+", "_", value.lower()).strip("._-")[:60]
    return plain if plain == value and plain else f"{plain or 'x'}-{content_hash(value, digits=8)}"


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals a column of these values needs: 4 for shares, fewer for larger numbers."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return 4 if largest < 10 else 2 if largest < 1000 else 0


def number(value: float | None, places: int = 4, *, sign: bool = False) -> str:
    """A number with a true minus sign, `–` where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{round(value, places) + 0.0:{'+' if sign else ''}.{places}f}"  # + 0.0: never minus zero
    return text.replace("-", "\u2212")


def between(low: float | None, high: float | None, places: int = 4) -> str:
    """An interval, or nothing."""
    return "" if low is None or high is None else f"{number(low, places)} … {number(high, places)}"


def several(n: int, noun: str) -> str:
    """`1 model`, `1,200 models`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def count(value: int | None) -> str:
    """A whole number with thin spaces."""
    return "–" if value is None else f"{value:,}".replace(",", "\u202f")


def size(parameters: int | None) -> str:
    """`6.7B`, `135M`; empty if not known."""
    if not parameters:
        return ""
    for unit, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{letter}"
    return str(parameters)

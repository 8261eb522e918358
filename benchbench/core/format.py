"""How numbers, counts, sizes and texts of strangers are written wherever people read them: terminal, pages, charts."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

# What a terminal or a browser obeys instead of showing it: control and bidirectional characters, line separators, and
# halves of pairs, which cannot be encoded.
_OBEYED = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# What cannot be seen, so that two names look alike. The joiner that emoji are made with is not among them.
_INVISIBLE = "\u00ad\u180e\u200b\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f"
_OBEYED_ON_ONE_LINE = re.compile(f"[\x00-\x1f{_OBEYED}]")
_OBEYED_BUT_NEWLINE = re.compile(f"[\x00-\x09\x0b-\x1f{_OBEYED}]")
_OBEYED_OR_INVISIBLE = re.compile(f"[\x00-\x08\x0b-\x1f{_OBEYED}{_INVISIBLE}]")

OBEYED_OR_INVISIBLE = f"\x00-\x1f{_OBEYED}{_INVISIBLE}"
"""The same with line breaks and tabs, as what stands between the brackets of a pattern."""

LONGEST = 4000
"""Characters of a text that a page shows."""
LONGEST_NAME = 160


def kind_of(value: object) -> str:
    """What a value is, in a sentence."""
    if value is None:
        return "nothing"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def clean(value: object) -> str:
    """`value` on one line without control, bidirectional or half characters: safe for a terminal."""
    return _OBEYED_ON_ONE_LINE.sub("", str(value).replace("\n", " ").replace("\t", " "))


def clean_lines(value: object) -> str:
    """Like `clean`, but line breaks stay."""
    return _OBEYED_BUT_NEWLINE.sub("", str(value).replace("\t", " "))


def clean_json(text: str) -> str:
    """JSON with the characters that a terminal obeys as escapes."""
    return _OBEYED_BUT_NEWLINE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def visible(value: object) -> str:
    r"""The text with control, bidirectional and invisible characters as visible marks: `⟨U+202E⟩`.

    Line breaks and tabs stay.

    >>> visible("a\u202eb")
    'a⟨U+202E⟩b'
    """
    text = str(value)
    if text.isprintable():
        return text
    return _OBEYED_OR_INVISIBLE.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text.replace("\r\n", "\n"))


def shown(value: object, longest: int = LONGEST) -> str:
    """As `visible`, cut after `longest` characters with a note that says how many there were."""
    text = str(value)
    if len(text) <= longest:
        return visible(text)
    return f"{visible(text[:longest])} … [cut: {longest:,} of {len(text):,} characters are shown]"


def one_line(value: object, longest: int = LONGEST) -> str:
    """As `shown`, on one line."""
    return " ".join(shown(value, longest).split())


def name(value: object) -> str:
    """A model's or task's name on one line."""
    return one_line(value, LONGEST_NAME) or "(no name)"


def decimals(values: Iterable[float | None]) -> int:
    """How many decimals a column of these values needs: 4 for shares, fewer for larger numbers."""
    largest = max((abs(value) for value in values if value is not None and math.isfinite(value)), default=0.0)
    return 4 if largest < 10 else 2 if largest < 1000 else 0


_NOISE = 1e-9
"""Below it a difference of scores is a rounding error of sums that are equal."""


def number(value: float | None, places: int = 4, *, sign: bool = False) -> str:
    """A number with a true minus sign, `–` where there is none.

    A zero has no minus sign, but with `sign` a small negative number keeps its own: `+0.000` as the lower end of an
    interval would say that 0 lies outside.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if sign:
        return true_minus(f"{0.0 if abs(value) < _NOISE else value:+.{places}f}")
    return true_minus(f"{round(value, places) + 0.0:.{places}f}")


def true_minus(text: str) -> str:
    """The text with the typographic minus sign, which is as wide as a plus."""
    return text.replace("-", "\u2212")


def between(low: float | None, high: float | None, places: int = 4) -> str:
    """An interval, or nothing."""
    return "" if low is None or high is None else f"{number(low, places)} … {number(high, places)}"


def probability(p: float) -> str:
    """A p-value for people: `.158`, `.0012`, `<.0001`; `1`."""
    if p < 0.0001:
        return "<.0001"
    text = f"{p:.3f}" if p >= 0.01 else f"{p:.4f}"
    return "1" if text == "1.000" else text.removeprefix("0")


def several(n: int, noun: str) -> str:
    """`1 model`, `1,200 models`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def whole_number(value: int | None) -> str:
    """A whole number in a table or list of facts, with thin spaces: `1 200`."""
    return "–" if value is None else true_minus(f"{value:,}".replace(",", "\u202f"))


def magnitude(value: float, digits: int = 4) -> str:
    """A number with as many digits at most and a letter for its size: `130k`, `1.5M`, `0.45`."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.{digits}g}{letter}"
    return f"{value:.{digits}g}"


def byte_size(count: float) -> str:
    """Bytes as people read them: `512 MiB`, `13.5 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def step_name(step: int) -> str:
    """26500 → `26.5k`, 130000 → `130k`, 600 → `600`: as people write steps, without losing a digit."""
    return f"{step / 1000:g}k" if step >= 1000 and step % 100 == 0 else str(step)

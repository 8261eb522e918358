"""Texts that look equal made equal: forms of Unicode, quotes, dashes, white space; numbers as a language has them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u2039\u203a\u0060\u00b4"
_DOUBLE = "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_UNSEEN = "\u00ad\u200b\u2060\ufeff\u200e\u200f"
"""Soft hyphen, spaces of no width, byte order mark, marks of direction."""
_SIGNS = str.maketrans(
    {**dict.fromkeys(_SINGLE, "'"), **dict.fromkeys(_DOUBLE, '"'), **dict.fromkeys(_DASHES, "-")}
    | {**dict.fromkeys(_UNSEEN, None), "\u2026": "..."}
)
_GUILLEMETS = re.compile(r"([\u00ab\u2039])\s+|\s+([\u00bb\u203a])")
_BEFORE = re.compile(r"\s+([?!;:])")
"""French has a space before these."""


def plain_signs(text: str) -> str:
    """Composed letters, straight quotes, hyphens for dashes, single spaces, no sign that is not seen.

    Source: Unicode Standard Annex 15 (normalisation form C); the quotes and dashes are those of French and Czech.
    """
    if text.isascii():
        return " ".join(_BEFORE.sub(r"\1", text).split())
    composed = unicodedata.normalize("NFC", text)
    bare = _GUILLEMETS.sub(lambda match: match[1] or match[2], composed).translate(_SIGNS)
    return " ".join(_BEFORE.sub(r"\1", bare).split())


@lru_cache(maxsize=4096)
def _is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign).startswith("P")


def without_punctuation(text: str) -> str:
    """No sign that Unicode calls punctuation."""
    return "".join(sign for sign in text if not _is_punctuation(sign))


POINT = "\ue000"
"""Stands for the decimal point while punctuation is taken out: a sign of no text (Unicode's private use)."""
_GROUPS = {
    "comma": re.compile(r"(?<![\d.,])(\d{1,3}(?:[ \u00a0\u202f\u2009]\d{3})+)(?!\d)"),
    "point": re.compile(r"(?<![\d.,])(\d{1,3}(?:[, \u00a0\u202f\u2009]\d{3})+)(?!\d)"),
}
_DECIMAL = {"comma": re.compile(r"(?<=\d)[,.](?=\d)"), "point": re.compile(r"(?<=\d)\.(?=\d)")}


def plain_numbers(text: str, written: str) -> str:
    """Numbers without signs between their thousands, and POINT before their decimals.

    Args:
        text: any text.
        written: `comma` for 1 000 and 3,14 (Czech, French; 3.14 is read, too), `point` for 1,000 and 3.14.
    """
    whole = _GROUPS[written].sub(lambda match: re.sub(r"\D", "", match[0]), text)
    return _DECIMAL[written].sub(POINT, whole)

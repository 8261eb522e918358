"""Texts that look equal made equal: forms of Unicode, ligatures, quotes, dashes, white space; numbers as written."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_SINGLE = "\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9\u2039\u203a\u0060\u00b4"
_DOUBLE = "\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb"
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
_UNSEEN = (
    *(0x00AD, 0x034F, 0x061C, 0x180E, 0xFEFF, *range(0x200B, 0x2010), *range(0x202A, 0x202F)),
    *(*range(0x2060, 0x2070), *range(0xFE00, 0xFE10)),
)
"""Soft hyphen, joiners and spaces of no width, byte order mark, marks of direction, selectors of a sign's variant."""
_LIGATURES = {
    **{sign: unicodedata.normalize("NFKC", chr(sign)) for sign in (*range(0xFB00, 0xFB07), *range(0x01C4, 0x01CD))},
    0x0132: "IJ",
    0x0133: "ij",
    0x0152: "OE",
    0x0153: "oe",
    0x00C6: "AE",
    0x00E6: "ae",
}
_WIDE = {sign: unicodedata.normalize("NFKC", chr(sign)) for sign in range(0xFF01, 0xFFEF)}
"""Full-width letters, digits and signs of East Asian fonts, and half-width syllables."""
_SIGNS = str.maketrans(
    {**_WIDE, **_LIGATURES, **dict.fromkeys(_UNSEEN, None), 0x2026: "..."}
    | {**dict.fromkeys(map(ord, _SINGLE), "'"), **dict.fromkeys(map(ord, _DOUBLE), '"')}
    | dict.fromkeys(map(ord, _DASHES), "-")
)
_GUILLEMETS = re.compile(r"([\u00ab\u2039])\s+|\s+([\u00bb\u203a])")
_BEFORE = re.compile(r"\s+([?!;:%])")
"""French, and Czech before the last, have a space before these."""


def plain_signs(text: str) -> str:
    """Composed letters, no ligatures, straight quotes, hyphens for dashes, single spaces, no sign that is not seen.

    Source: Unicode Standard Annex 15 (normalisation form C); the quotes and dashes are those of French and Czech.
    """
    if text.isascii():
        return " ".join(_BEFORE.sub(r"\1", text).replace("`", "'").split())
    bare = _GUILLEMETS.sub(lambda match: match[1] or match[2], text).translate(_SIGNS)
    return " ".join(_BEFORE.sub(r"\1", unicodedata.normalize("NFC", bare)).split())


@lru_cache(maxsize=4096)
def _is_punctuation(sign: str) -> bool:
    return unicodedata.category(sign).startswith("P")


def without_punctuation(text: str) -> str:
    """No sign that Unicode calls punctuation."""
    return "".join(sign for sign in text if not _is_punctuation(sign))


POINT = "\ue000"
"""Stands for the decimal point while punctuation is taken out: a sign of no text (Unicode's private use)."""
_GROUPS = {
    "comma": re.compile(r"(?<![\d.,])(\d{1,3}(?:[ '\u2019\u00a0\u202f\u2007\u2009]\d{3})+)(?!\d)"),
    "point": re.compile(r"(?<![\d.,])(\d{1,3}(?:[, '\u2019\u00a0\u202f\u2007\u2009]\d{3})+)(?!\d)"),
}
_MINUS = re.compile(r"\u2212(?=\d)")
_DECIMAL = {"comma": re.compile(r"(?<=\d)[,.](?=\d)"), "point": re.compile(r"(?<=\d)\.(?=\d)")}


def plain_numbers(text: str, written: str) -> str:
    """Numbers without signs between their thousands, POINT before their decimals, and a hyphen for a minus.

    Args:
        text: any text.
        written: `comma` for 1 000 and 3,14 (Czech, French; 3.14 is read, too), `point` for 1,000 and 3.14.
    """
    whole = _GROUPS[written].sub(lambda match: re.sub(r"\D", "", match[0]), _MINUS.sub("-", text))
    return _DECIMAL[written].sub(POINT, whole)

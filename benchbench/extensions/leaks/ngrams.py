"""Word n-grams as 64-bit numbers, for a whole block of text at once.

Words are runs of letters and digits; ASCII capitals count as small, letters beyond ASCII as they stand. A word is the
polynomial of its bytes modulo 2^64, an n-gram that of its words' mixed numbers. Numbers only find candidates: the words
themselves are compared before a match counts. The customary length is 13 words: Brown et al., arXiv 2005.14165, app. C.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]
SEPARATOR = b" \x01 "
"""Between documents of a corpus: a word that no doc has, so no n-gram goes over it."""
BLOCK = 1 << 21
"""Bytes that are worked on at once."""
_BASE, _MIX, _STEP = 0x9E3779B97F4A7C15 | 1, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_FILTER_BITS = 22
_SMALL = bytes(
    code + 32 if 65 <= code <= 90 else code if chr(code).isalnum() or code >= 128 or code == 1 else 32
    for code in range(256)
)


class Words(NamedTuple):
    """Where the words of a text are."""

    starts: NDArray[np.intp]
    """Byte at which each begins."""
    ends: NDArray[np.intp]
    """Byte after each."""


def normalised(text: bytes) -> bytes:
    """The text with small letters and blanks for all that is neither letter nor digit; as long as before."""
    return text.translate(_SMALL)


def words_of(plain: bytes) -> Words:
    """The words of a normalised text."""
    is_word = np.frombuffer(plain, dtype=np.uint8) != 32
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_word, [False]]).astype(np.int8)))
    return Words(edges[::2], edges[1::2])


@lru_cache(maxsize=2)
def _powers(count: int) -> tuple[Numbers, Numbers]:
    """Powers of the base and of its inverse modulo 2^64."""
    inverse = pow(_BASE, -1, 1 << 64)
    made = []
    for base in (_BASE, inverse):
        powers = np.full(count, base, dtype=np.uint64)
        powers[0] = 1
        made.append(np.multiply.accumulate(powers))
    return made[0], made[1]


def numbers_of(plain: bytes, words: Words, n: int) -> Numbers:
    """The number of each n-gram, by its first word; empty where there are fewer than n words."""
    if len(words.starts) < n:
        return np.empty(0, dtype=np.uint64)
    forth, back = _powers(1 << max(16, (len(plain) - 1).bit_length()))
    sums = np.zeros(len(plain) + 1, dtype=np.uint64)
    np.cumsum(np.frombuffer(plain, dtype=np.uint8).astype(np.uint64) * forth[: len(plain)], out=sums[1:])
    own = (sums[words.ends] - sums[words.starts]) * back[words.starts]
    own = (own ^ (own >> np.uint64(31))) * np.uint64(_MIX)
    own ^= own >> np.uint64(29)
    count = len(own) - n + 1
    found = np.zeros(count, dtype=np.uint64)
    for place in range(n):
        found *= np.uint64(_STEP)
        found += own[place : place + count]
    return found


@dataclass(frozen=True)
class Wanted:
    """The n-grams that are looked for, with what is needed to find them fast and to compare them."""

    n: int
    numbers: Numbers
    """Increasing."""
    texts: tuple[bytes, ...]
    """Words of each, one blank between."""
    raw: tuple[bytes, ...]
    """Each as it stands in its doc."""
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, grams: dict[int, tuple[bytes, bytes]], n: int) -> Wanted:
        """From numbers to words and raw text."""
        numbers = np.array(sorted(grams), dtype=np.uint64)
        mask = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        mask[(numbers >> np.uint64(64 - _FILTER_BITS)).astype(np.intp)] = True
        ordered = [grams[int(number)] for number in numbers]
        return cls(n, numbers, tuple(text for text, _ in ordered), tuple(raw for _, raw in ordered), mask)

    def find(self, text: bytes, found: set[int], exact: set[int]) -> None:
        """Adds places (in `numbers`) of n-grams that `text` holds; those byte for byte the same to `exact`, too."""
        plain = normalised(text)
        words = words_of(plain)
        grams = numbers_of(plain, words, self.n)
        likely = np.flatnonzero(self.mask[(grams >> np.uint64(64 - _FILTER_BITS)).astype(np.intp)])
        if not len(likely) or not len(self.numbers):
            return
        places = np.minimum(np.searchsorted(self.numbers, grams[likely]), len(self.numbers) - 1)
        same = self.numbers[places] == grams[likely]
        for first, place in zip(likely[same].tolist(), places[same].tolist(), strict=True):
            if place in exact:
                continue
            start, end = int(words.starts[first]), int(words.ends[first + self.n - 1])
            if b" ".join(plain[start:end].split()) == self.texts[place]:
                found.add(place)
                if text[start:end] == self.raw[place]:
                    exact.add(place)


def grams_of(text: str, n: int) -> dict[int, tuple[bytes, bytes]]:
    """Number → words and raw text of each n-gram of a doc."""
    data = text.encode()
    plain = normalised(data)
    words = words_of(plain)
    found = {}
    for first, number in enumerate(numbers_of(plain, words, n).tolist()):
        start, end = int(words.starts[first]), int(words.ends[first + n - 1])
        found[number] = (b" ".join(plain[start:end].split()), data[start:end])
    return found

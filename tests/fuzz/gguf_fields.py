"""Where the integers of a GGUF header stand, so that a lie can be told in each of them."""

from __future__ import annotations

import struct
from collections.abc import Iterator

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of a value of each plain type."""
TEXT, ARRAY = 8, 9


def fields(data: bytes) -> Iterator[tuple[int, int]]:
    """(offset, width) of every count, length, type and number before the tensors' data; of arrays the head."""
    yield from ((4, 4), (8, 8), (16, 8))
    (tensors, keys), here = struct.unpack_from("<QQ", data, 8), 24
    for _ in range(keys):
        yield here, 8
        here += 8 + _long(data, here)
        yield here, 4
        kind, here = _int(data, here), here + 4
        if kind == ARRAY:
            yield from ((here, 4), (here + 4, 8))
            kind, count, here = _int(data, here), _long(data, here + 4), here + 12
        else:
            count = 1
            yield here, SIZES.get(kind, 8)
        for _ in range(count):
            here += 8 + _long(data, here) if kind == TEXT else SIZES[kind]
    for _ in range(tensors):
        yield here, 8
        here += 8 + _long(data, here)
        yield here, 4
        dimensions, here = _int(data, here), here + 4
        yield from ((here + 8 * n, 8) for n in range(dimensions))
        here += 8 * dimensions
        yield from ((here, 4), (here + 4, 8))
        here += 12


def _int(data: bytes, here: int) -> int:
    return int(struct.unpack_from("<I", data, here)[0])


def _long(data: bytes, here: int) -> int:
    return int(struct.unpack_from("<Q", data, here)[0])

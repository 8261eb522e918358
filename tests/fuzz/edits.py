"""Sound files, damaged: edits that can be written down, applied and drawn.

Files that hold a tree (JSON, JSON lines, the header of safetensors) are edited by path; any file byte by byte.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.values import BESIDE, Raw

Key = str | int


@dataclass(frozen=True, slots=True)
class Put:
    """Another value at a path; a key that is not there is added."""

    file: str
    path: tuple[Key, ...]
    value: Any

    def change(self, data: bytes) -> bytes:
        return change_tree(self.file, data, lambda tree: put(tree, self.path, self.value))


@dataclass(frozen=True, slots=True)
class Drop:
    """Without what stands at a path."""

    file: str
    path: tuple[Key, ...]

    def change(self, data: bytes) -> bytes:
        return change_tree(self.file, data, lambda tree: drop(tree, self.path))


@dataclass(frozen=True, slots=True)
class Copy:
    """What stands at one path of the file also stands at another one."""

    file: str
    source: tuple[Key, ...]
    path: tuple[Key, ...]

    def change(self, data: bytes) -> bytes:
        return change_tree(self.file, data, lambda tree: put(tree, self.path, at(tree, self.source)))


@dataclass(frozen=True, slots=True)
class Twice:
    """A key that stands twice in its object, the second time with this value."""

    file: str
    path: tuple[Key, ...]
    value: Any

    def change(self, data: bytes) -> bytes:
        again = (*self.path[:-1], f"{self.path[-1]}{_AGAIN}")
        return change_tree(self.file, data, lambda tree: put(tree, again, self.value))


@dataclass(frozen=True, slots=True)
class Splice:
    """`gone` bytes from `at` on replaced by `new`, `times` over."""

    file: str
    at: int
    gone: int = 0
    new: bytes = b""
    times: int = 1

    def change(self, data: bytes) -> bytes:
        at = min(self.at, len(data))
        return data[:at] + self.new * self.times + data[at + self.gone :]


@dataclass(frozen=True, slots=True)
class Flip:
    """One bit the other way round."""

    file: str
    bit: int

    def change(self, data: bytes) -> bytes:
        new = bytearray(data)
        if new:
            new[self.bit // 8 % len(new)] ^= 1 << self.bit % 8
        return bytes(new)


@dataclass(frozen=True, slots=True)
class Cut:
    """Only the first `size` bytes."""

    file: str
    size: int

    def change(self, data: bytes) -> bytes:
        return data[: self.size]


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, little endian, of `width` bytes at `at`."""

    file: str
    at: int
    width: int
    value: int

    def change(self, data: bytes) -> bytes:
        new = (self.value % (1 << 8 * self.width)).to_bytes(self.width, "little")
        return data[: self.at] + new + data[self.at + self.width :]


@dataclass(frozen=True, slots=True)
class Write:
    """Another file in its place, or one more."""

    file: str
    content: bytes
    times: int = 1

    def change(self, data: bytes) -> bytes:
        return self.content * self.times


@dataclass(frozen=True, slots=True)
class Instead:
    """Something in the place of a file that is no file."""

    file: str
    what: str
    """fifo, folder, nothing, outside (a link to a file beside the box), loop (a link to itself), zero (/dev/zero)."""

    def place(self, box: Path) -> None:
        path = box / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            return
        path.unlink(missing_ok=True)
        if self.what == "fifo":
            os.mkfifo(path)
        elif self.what == "folder":
            path.mkdir()
        elif self.what != "nothing":
            path.symlink_to(
                {"outside": beside(box) / f"secret{path.suffix}", "loop": path, "zero": Path("/dev/zero")}[self.what]
            )


INSTEAD = ("fifo", "folder", "nothing", "outside", "loop", "zero")
Edit = Put | Drop | Copy | Twice | Splice | Flip | Cut | Number | Write | Instead


def beside(box: Path) -> Path:
    """The folder whose files nothing may reach."""
    return box.parent / "beside"


# Trees.

_AGAIN = "\ue000again"


def apply(edit: Edit, box: Path) -> None:
    """Edits a file in the box."""
    if isinstance(edit, Instead):
        edit.place(box)
        return
    path = box / edit.file
    if path.is_file() and not path.is_symlink():
        path.write_bytes(placed(edit.change(path.read_bytes()), box))
    elif isinstance(edit, Write) and not path.exists() and not path.is_symlink():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(placed(edit.change(b""), box))


def change_tree(name: str, data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The data with its tree changed; what is no longer a tree, after another edit, stays as it is."""
    load, dump = forms(name)
    try:
        return dump(change(load(data)), data)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError, struct.error):
        return data


def forms(name: str) -> tuple[Callable[[bytes], Any], Callable[[Any, bytes], bytes]]:
    """How the tree in a file of that name is read and written."""
    if name.endswith(".safetensors"):
        return read_header, write_header
    if name.endswith(".jsonl"):
        return read_lines, lambda tree, _: b"".join(text_of(line) + b"\n" for line in tree)
    return json.loads, lambda tree, _: text_of(tree)


def read_lines(data: bytes) -> list[Any]:
    return [json.loads(line) for line in data.splitlines()]


def read_header(data: bytes) -> Any:
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size])


def write_header(tree: Any, old: bytes) -> bytes:
    (size,) = struct.unpack("<Q", old[:8])
    text = text_of(tree)
    return struct.pack("<Q", len(text)) + text + old[8 + size :]


def text_of(tree: Any) -> bytes:
    """JSON, with `Raw` values as they are and keys that stand twice."""
    raws: list[str] = []

    def mark(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(value.whole)
            return f"\ue001{len(raws) - 1}\ue001"
        if isinstance(value, Mapping):
            return {key: mark(inner) for key, inner in value.items()}
        return [mark(inner) for inner in value] if isinstance(value, list | tuple) else value

    text = json.dumps(mark(tree), ensure_ascii=False).replace(_AGAIN, "")
    for n, raw in enumerate(raws):
        text = text.replace(f'"\ue001{n}\ue001"', raw)
    return text.encode("utf-8", "surrogatepass")


def at(tree: Any, path: tuple[Key, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def put(tree: Any, path: tuple[Key, ...], value: Any) -> Any:
    """The tree with the value at the path; of the tree given, only what lies on the path is made new."""
    if not path:
        return value
    key, *rest = path
    if isinstance(key, int):
        if not isinstance(tree, list):
            return tree
        return [put(inner, tuple(rest), value) if n == key else inner for n, inner in enumerate(tree)]
    if not isinstance(tree, dict):
        return tree
    inner = tree.get(key)
    return tree | {key: put(inner, tuple(rest), value)}


def drop(tree: Any, path: tuple[Key, ...]) -> Any:
    if not path:
        return {}
    key, *rest = path
    if not rest:
        if isinstance(tree, list):
            return [inner for n, inner in enumerate(tree) if n != key]
        return {name: inner for name, inner in tree.items() if name != key} if isinstance(tree, dict) else tree
    return put(tree, (key,), drop(tree[key], tuple(rest))) if isinstance(tree, dict | list) else tree


def paths(tree: Any, here: tuple[Key, ...] = ()) -> Iterator[tuple[Key, ...]]:
    """Every place in a tree; of long lists the first ones."""
    yield here
    if isinstance(tree, dict):
        for key, inner in list(tree.items())[:60]:
            yield from paths(inner, (*here, key))
    elif isinstance(tree, list):
        for n, inner in enumerate(tree[:4]):
            yield from paths(inner, (*here, n))


def placed(data: bytes, box: Path) -> bytes:
    """With the real path for BESIDE."""
    return data.replace(BESIDE.encode(), str(beside(box)).encode())

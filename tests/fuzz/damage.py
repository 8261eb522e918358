"""Draws edits of a file: mostly of its tree where it has one."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.edits import INSTEAD, Copy, Cut, Drop, Edit, Flip, Instead, Put, Splice, Twice, Write, at, forms, paths
from tests.fuzz.values import FRAGMENTS, NUMBERS, TEXTS, TREES


def values(old: Any) -> st.SearchStrategy[Any]:
    """A value for the place of `old`: of its own kind, of another, or near it."""
    near = [old + 1, old - 1, -old, old * 1000] if isinstance(old, int) and not isinstance(old, bool) else []
    near += [old[:-1], old * 2, old.upper(), f"{old}/..", f" {old}"] if isinstance(old, str) else []
    near += [old[:1], old + old] if isinstance(old, list) else []
    kinds = [st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(TREES)]
    plain = st.one_of(st.integers(), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2))
    return st.one_of(*kinds, *([st.sampled_from(near)] if near else []), plain)


@st.composite
def tree_edits(draw: st.DrawFn, file: str, tree: Any, more: Mapping[str, tuple[Any, ...]]) -> Edit:
    """An edit of a file that holds `tree`. `more`: values that mean something for a key of that name."""
    places = list(paths(tree))
    named = [path for path in places if path and path[-1] in more]
    path = draw(st.one_of(st.sampled_from(named), st.sampled_from(places)) if named else st.sampled_from(places))
    old, meant = at(tree, path), more.get(str(path[-1])) if path else None
    what = draw(st.integers(0, 9))
    if what == 0 and path:
        return Drop(file, path)
    if what == 1:
        return Copy(file, draw(st.sampled_from(places)), path)
    if what == 2 and path and isinstance(path[-1], str):
        return Twice(file, path, draw(values(old)))
    if what == 3 and isinstance(old, dict):
        return Put(file, (*path, draw(st.sampled_from(TEXTS))), draw(values(None)))
    if what == 4 and more:
        name = draw(st.sampled_from(sorted(more)))
        inner = [(*path, name)] if isinstance(old, dict) else []
        return Put(file, draw(st.sampled_from([(name,), *inner])), draw(st.sampled_from(more[name])))
    return Put(file, path, draw(st.one_of(st.sampled_from(meant), values(old)) if meant else values(old)))


@st.composite
def byte_edits(draw: st.DrawFn, file: str, data: bytes, head: int | None = None) -> Edit:
    """An edit of the bytes; `head`: so many at the beginning are hit more often than the rest."""
    size = max(1, len(data))
    spots = (
        st.one_of(st.integers(0, min(size, head) - 1), st.integers(0, size - 1)) if head else st.integers(0, size - 1)
    )
    what = draw(st.sampled_from(("flip", "flip", "cut", "splice", "splice", "gone", "double")))
    if what == "flip":
        return Flip(file, draw(spots) * 8 + draw(st.integers(0, 7)))
    if what == "cut":
        return Cut(file, draw(spots))
    if what == "splice":
        new = draw(st.one_of(st.sampled_from(FRAGMENTS), st.binary(min_size=1, max_size=8)))
        return Splice(file, draw(spots), draw(st.integers(0, 8)), new, draw(st.sampled_from((1, 1, 1, 2, 1000))))
    if what == "gone":
        return Splice(file, draw(spots), draw(st.integers(1, 400)))
    start = draw(st.integers(0, size - 1))
    return Splice(file, draw(spots), 0, data[start : start + draw(st.integers(1, 200))])


def whole_edits(file: str, *, links: bool = True) -> st.SearchStrategy[Edit]:
    """Another thing in the place of the file; with `links` also a link to a file outside."""
    instead = [what for what in INSTEAD if links or what != "outside"]
    contents = st.one_of(
        st.sampled_from((b"", b"\n", b"{}", b"[]", b"null", b"0", b'"x"', b"\x00" * 64)), st.binary(max_size=64)
    )
    nested = st.sampled_from((Write(file, b"[", 200000), Write(file, b'{"a":', 100000), Write(file, b"{{", 50000)))
    return st.one_of(
        st.builds(Instead, st.just(file), st.sampled_from(instead)), st.builds(Write, st.just(file), contents), nested
    )


def file_edits(
    file: str,
    data: bytes,
    more: Mapping[str, tuple[Any, ...]] | None = None,
    *,
    head: int | None = None,
    links: bool = True,
) -> st.SearchStrategy[Edit]:
    """Edits of a file, mostly of its tree where it has one."""
    kinds: list[st.SearchStrategy[Edit]] = [byte_edits(file, data, head), whole_edits(file, links=links)]
    try:
        tree = forms(file)[0](data)
    except (ValueError, struct.error):
        kinds.append(byte_edits(file, data, head))
    else:
        kinds = [tree_edits(file, tree, more or {})] * 8 + kinds
    return st.integers(0, len(kinds) - 1).flatmap(kinds.__getitem__)

"""JSON that is prepared once says what the standard library says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.ids import canonical_json, content_hash, text_hash
from benchbench.core.quick_json import loads

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("half \ud800 pair"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def outcome(read: Callable[[str], Any], text: str) -> str:
    """The value that is read, or why none is; as text, so that NaN is equal to itself."""
    try:
        return repr(read(text))
    except ValueError as error:
        return str(error)


@given(VALUES)
def test_canonical_json_is_that_of_the_standard_library(value: Any) -> None:
    expected = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical_json(value) == expected
    assert content_hash(value, digits=64) == text_hash(expected)


def test_a_hash_stays_what_it_was() -> None:
    """Docs of stored runs are known by it."""
    assert content_hash({"b": [1, 2.5, None], "a": "ěš"}) == "c5cb46692ed30ff1"


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json({"a": {1, 2}})


@given(VALUES, st.sampled_from(["", "\n", "\r\n", " \n", "  ", " x", "{}"]), st.sampled_from(["", " ", "\ufeff", "x"]))
def test_a_text_is_read_or_refused_as_by_the_standard_library(value: Any, end: str, start: str) -> None:
    text = start + json.dumps(value) + end
    assert outcome(loads, text) == outcome(json.loads, text)

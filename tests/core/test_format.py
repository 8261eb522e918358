"""Numbers, counts, sizes and strangers' texts as people read them."""

from __future__ import annotations

import json
import math

import pytest

from benchbench.core.format import (
    LONGEST,
    between,
    byte_size,
    clean,
    clean_json,
    clean_lines,
    decimals,
    magnitude,
    name,
    number,
    probability,
    several,
    shown,
    step_name,
    visible,
    whole_number,
)

OBEYED = "\x00\x07\x1b\x7f\x9b\u202e\u2028\u2066\ud800"
INVISIBLE = "\u00ad\u200b\u2060\ufeff\U000e0041\uffff"


def test_a_terminal_gets_nothing_that_it_obeys():
    assert clean(f"a{OBEYED}b\tc\nd") == "ab c d"
    assert clean_lines(f"a{OBEYED}b\tc\nd") == "ab c\nd"
    assert clean("👩‍🚀 č") == "👩‍🚀 č"


def test_json_for_a_terminal_is_the_same_json():
    text = json.dumps({"a": "x\x9b\u202e\u200by\ud800"}, ensure_ascii=False)
    assert clean_json(text) == '{"a": "x\\u009b\\u202e\u200by\\ud800"}'
    assert json.loads(clean_json(text)) == json.loads(text)


def test_a_page_shows_what_cannot_be_seen():
    for character in OBEYED + INVISIBLE:
        assert visible(f"a{character}b") == f"a⟨U+{ord(character):04X}⟩b"
    assert visible("a\r\nb\tc") == "a\nb\tc"
    assert visible("👩‍🚀 č") == "👩‍🚀 č"


def test_ten_million_characters_are_cut_with_a_note():
    text = shown("x" * 10_000_000)
    assert len(text) < LONGEST + 100
    assert text.endswith("[cut: 4,000 of 10,000,000 characters are shown]")
    assert len(name("y" * 10_000_000)) < 300


def test_a_name_stands_on_one_line_and_is_never_empty():
    assert name(" a\n b\tc ") == "a b c"
    assert name("") == name(" \n") == "(no name)"


def test_numbers_have_a_true_minus_and_no_minus_zero():
    assert [number(x, 2) for x in (0.125, -1.5, -0.001, None, math.nan, math.inf)] == ["0.12", "−1.50", "0.00", *"–––"]
    assert [number(x, 1, sign=True) for x in (0.25, -0.25, -0.01, -1e-14)] == ["+0.2", "−0.2", "−0.0", "+0.0"]
    assert between(-1, 2, 1) == "−1.0 … 2.0"
    assert between(None, 2) == between(1, None) == ""
    assert [whole_number(x) for x in (7, 1_234_567, -1000, None)] == ["7", "1\u202f234\u202f567", "−1\u202f000", "–"]


def test_larger_numbers_have_fewer_decimals():
    assert [decimals([x]) for x in (0.5, 9.9, 10, -999, 1000, None, math.nan)] == [4, 4, 2, 2, 0, 4, 4]
    assert decimals([0.1, None, 20]) == 2


def test_probabilities_for_people():
    assert [probability(p) for p in (0.8061, 0.0467, 0.0018, 1e-9, 1.0)] == [".806", ".047", ".0018", "<.0001", "1"]


def test_one_is_singular():
    assert [several(n, "doc") for n in (0, 1, 2, 1200)] == ["0 docs", "1 doc", "2 docs", "1,200 docs"]


def test_magnitudes_are_short():
    assert [magnitude(v) for v in (0, 0.45, 900, 26500, 130000, 1.5e6, 4e9, 2.7e11, 1e12)] == [
        *("0", "0.45", "900", "26.5k", "130k", "1.5M", "4B", "270B", "1T")
    ]
    assert [magnitude(v, 3) for v in (134_515_008, 6_738_415_616, 999)] == ["135M", "6.74B", "999"]


def test_bytes_have_binary_units():
    assert [byte_size(n) for n in (17, 2048, 150 << 20, 3 << 29, 5 << 40)] == [
        *("17 B", "2 KiB", "150 MiB", "1.5 GiB", "5.0 TiB")
    ]


@pytest.mark.parametrize(
    ("step", "text"),
    [(26_500, "26.5k"), (130_000, "130k"), (600, "600"), (1234, "1234"), (0, "0"), (1_000_000, "1000k")],
)
def test_steps_are_written_as_people_do(step, text):
    assert step_name(step) == text

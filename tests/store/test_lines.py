import errno
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchbench.core.errors import StoreError
from benchbench.store.lines import LineLog, encode_line, read_lines
from benchbench.store.table import item_from_line, item_to_line
from tests.store.make import item

VALUES = st.dictionaries(st.text(max_size=5), st.text(max_size=20) | st.integers() | st.none(), max_size=3)


@given(st.lists(VALUES, max_size=6), st.data())
def test_a_file_cut_anywhere_gives_back_all_whole_lines_and_appending_goes_on(tmp_path_factory, values, data):
    path = tmp_path_factory.mktemp("lines") / "live.jsonl"
    with LineLog(path) as log:
        for value in values:
            log.append(value)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    kept = values[: whole[:cut].count(b"\n")]
    assert list(read_lines(path)) == kept
    with LineLog(path) as log:
        log.append({"after": 1})
    assert list(read_lines(path)) == [*kept, {"after": 1}]
    assert len(path.read_bytes().split(b"\n")) == len(kept) + 2


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"loglikelihoods": (-math.inf, 1e-7), "scores": {"acc": None, "bpb_gold": math.inf, "new": 1}},
        {"cluster": "řeka", "texts": ("a\u2028b\n",), "finish_reasons": ("stop",), "failure": "why: not"},
        {"cluster": "half a pair \ud800"},
    ],
)
def test_an_item_is_written_as_the_object_of_its_fields(tmp_path, changes):
    path, one = tmp_path / "live.jsonl", item(3, **changes)
    path.write_bytes(encode_line(one) + encode_line(item_to_line(one)))
    line, same = read_lines(path)
    assert line == same
    if "cluster" not in changes or "half" not in changes["cluster"]:
        assert item_from_line(line) == one


@given(st.binary(max_size=200))
def test_reading_never_fails_on_any_bytes(tmp_path_factory, noise):
    path = tmp_path_factory.mktemp("lines") / "live.jsonl"
    path.write_bytes(b'{"a":1}\n' + noise)
    assert next(iter(read_lines(path))) == {"a": 1}


def test_a_torn_line_longer_than_a_read_block_is_cut_off(tmp_path):
    path = tmp_path / "live.jsonl"
    path.write_bytes(b'{"a":1}\n{"b":"' + b"x" * 200_000)
    with LineLog(path) as log:
        log.append({"c": 3})
    assert list(read_lines(path)) == [{"a": 1}, {"c": 3}]


def test_a_missing_file_is_an_empty_one(tmp_path):
    assert list(read_lines(tmp_path / "none.jsonl")) == []


def test_text_that_looks_like_a_line_break_stays_inside_its_line(tmp_path):
    value = {"t": "a\nb\u2028c\ud800d"}
    with LineLog(tmp_path / "l") as log:
        log.append(value)
    assert list(read_lines(tmp_path / "l")) == [value]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "quota")])
def test_a_full_disk_is_a_sentence_and_leaves_no_half_line(tmp_path, monkeypatch, number, words):
    path = tmp_path / "live.jsonl"
    log = LineLog(path)
    log.append({"a": 1})
    real, calls = os.write, []

    def full(fd: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) == 1:
            return real(fd, bytes(data)[:5])  # a short write, as the last free block gives
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match=words):
        log.append({"b": 2})
    monkeypatch.undo()
    assert path.read_bytes() == encode_line({"a": 1})
    log.append({"c": 3})
    assert list(read_lines(path)) == [{"a": 1}, {"c": 3}]


def test_a_device_that_is_really_full_is_a_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(StoreError, match=r"disk is full. Make room and give the same command again"):
        LineLog(Path("/dev/full")).append({"a": 1})

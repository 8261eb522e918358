"""A large store is read and rendered by several processes; nothing but the time may tell."""

from __future__ import annotations

import multiprocessing
import os
import sys

import pytest

from benchbench.leaderboard import paired as items
from benchbench.leaderboard.paired import spread
from benchbench.leaderboard.site import build
from benchbench.leaderboard.site.build import build_site
from benchbench.store.folder import PART
from tests.leaderboard.site.synthetic import many

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")


def process(_: object) -> int:
    return os.getpid()


def test_parts_come_in_order_from_other_processes():
    with spread(lambda part: (part, os.getpid()), range(20), 2) as made:
        found = list(made)
    assert [part for part, _ in found] == list(range(20))
    assert os.getpid() not in {process for _, process in found}
    assert multiprocessing.active_children() == []
    with spread(process, [0, 1], 0) as made:
        assert set(made) == {os.getpid()}


def test_what_goes_wrong_in_a_process_is_raised_here_and_the_rest_is_dropped():
    with pytest.raises(ZeroDivisionError), spread(lambda part: 1 // part, [1, 0, 2], 2) as made:
        list(made)
    assert multiprocessing.active_children() == []


def test_a_large_store_gives_the_pages_of_a_small_one_and_names_what_it_cannot_read(tmp_path, monkeypatch):
    root = tmp_path / "results"
    many(root, ["a", "b", "c"], tasks=2, docs=30)
    (root / "b" / "abc" / "items" / "task_00" / PART).write_bytes(b"PAR1 no parquet")
    alone = build_site([root], tmp_path / "alone")
    monkeypatch.setattr(items, "AT_ONCE", 2)
    for module in (items, build):
        monkeypatch.setattr(module, "FEW", 0)
        monkeypatch.setattr(module, "cores", lambda: 3)
    together = build_site([root], tmp_path / "together")
    assert any("b/abc/items/task_00" in sentence for sentence in together.skipped)
    assert together.skipped == alone.skipped
    for path in (tmp_path / "alone").rglob("*"):
        if path.is_file():
            assert (tmp_path / "together" / path.relative_to(tmp_path / "alone")).read_bytes() == path.read_bytes()

"""A column of the board is one entry: its heading, its cells, what it sorts by and its data fields stand together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchbench.leaderboard.site import board_page
from benchbench.leaderboard.site.build import build_site
from benchbench.leaderboard.site.parts import Column, Field, value
from tests.leaderboard.site.page import Page
from tests.leaderboard.site.synthetic import many


def test_a_new_column_of_the_board_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many(tmp_path / "results", ["a", "bb"], tasks=2, docs=30)
    letters: Column[board_page.Ranked] = Column(
        "letters",
        "Letters",
        lambda ranked: value(len(ranked.standing.entry.name)),
        sort="n",
        help="Of the name",
        fields=(Field("letters", "Int64", lambda ranked: len(ranked.standing.entry.name)),),
    )
    monkeypatch.setattr(board_page, "LAST", (*board_page.LAST, letters))
    index = build_site([tmp_path / "results"], tmp_path / "site").index
    rows = Page(index).rows("board")
    assert {row["model"][0]: row["letters"][1] for row in rows} == {"a": 1, "bb": 2}
    assert '<th scope="col" class="n" data-kind="n" data-key="letters" title="Of the name">Letters</th>' in (
        index.read_text(encoding="utf-8")
    )
    frame = pd.read_csv(tmp_path / "site" / "data" / "board.csv")
    assert frame.columns[-1] == "letters"
    assert dict(zip(frame.model, frame.letters, strict=True)) == {"a": 1, "bb": 2}


def test_no_two_columns_of_the_board_have_one_key_or_field() -> None:
    columns = (*board_page.FIRST, *board_page.LAST)
    names = [field.name for field in board_page.board_fields()]
    assert len({column.key for column in columns}) == len(columns)
    assert len(set(names)) == len(names)
    assert names[: len(board_page.ORDER)] == list(board_page.ORDER), "those who read by position find what they found"

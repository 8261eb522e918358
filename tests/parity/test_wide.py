"""A short sample of the wide list (`python -m tests.parity.wide`), and that a difference is noticed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm_eval is the reference; install the extra [lm-eval]")

from tests.parity.wide import pair
from tests.parity.wide.names import KNOWN, SAMPLE, UPSTREAM
from tests.parity.wide.own import OWN, write_files
from tests.parity.wide.pair import Sides
from tests.parity.wide.rows import data_root

OWN_SAMPLE = ("own_prefix_shots", "own_several_inputs", "own_vote", "own_target_switch")


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    place = tmp_path_factory.mktemp("wide")
    before = os.environ.get("HF_DATASETS_CACHE")
    os.environ["HF_DATASETS_CACHE"] = str(place / "cache")
    yield Sides(data_root(place / "hub"), write_files(place / "files"), place / "results", limit=3)
    if before is None:
        del os.environ["HF_DATASETS_CACHE"]
    else:
        os.environ["HF_DATASETS_CACHE"] = before


@pytest.mark.parametrize("name", [*SAMPLE, *OWN_SAMPLE])
def test_both_sides_ask_and_score_the_same(sides: Sides, name: str) -> None:
    found = sides.pair(name, f"lm_eval:{sides.files / name}.yaml" if name in OWN else None)
    assert (found.outcome, found.said) == ("equal", "")
    assert found.requests > 0
    assert found.figures > 0


def test_what_neither_side_can_do_is_refused_by_both(sides: Sides) -> None:
    found = sides.pair("own_words_number", f"lm_eval:{sides.files / 'own_words_number.yaml'}")
    assert found.outcome == "refused by both"
    assert "one text is expected" in found.said


def test_a_difference_is_noticed(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = f"lm_eval:{sides.files / 'own_writing.yaml'}"
    usual = pair._our_request
    monkeypatch.setattr(pair, "_our_request", lambda request: (*usual(request)[:-1], 5))
    assert "docs are asked otherwise" in sides.pair("own_writing", entry).said
    monkeypatch.setattr(pair, "_our_request", usual)
    monkeypatch.setattr(pair, "our_figures", lambda rows, figures: {key: figures[key] + 1e-6 for key in figures})
    assert "other figures" in sides.pair("own_writing", entry).said


def test_the_list_is_as_long_as_it_says() -> None:
    assert len(set(UPSTREAM)) == len(UPSTREAM) >= 116
    assert len(OWN) >= 63
    assert {*SAMPLE, *KNOWN} <= {*UPSTREAM, *OWN}


def test_made_up_rows_are_written_beside_the_fixtures_never_into_them(sides: Sides) -> None:
    fixtures = Path(__file__).parent / "fixtures"
    assert (sides.root / "cais/mmlu/anatomy/validation.jsonl").is_file()
    assert not (fixtures / "cais/mmlu/anatomy/validation.jsonl").exists()
    assert not (fixtures / "cais/mmlu/world_religions").exists()

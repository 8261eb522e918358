"""The built site in Chromium: what a reader can do with it. `make test-browser` installs what these tests need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchbench.leaderboard.site.build import SiteOptions, build_site
from tests.conftest import REPO
from tests.leaderboard.site.synthetic import many, write_run
from tests.leaderboard.site.test_bad_input import hostile_store

pytestmark = pytest.mark.browser
HERE = Path(__file__).parent
MODULES = Path(os.environ.get("NODE_MODULES", HERE / "node_modules"))
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
MODELS = ("org/low", "org/mid", "org/most", "best")
DOCS = 10_000


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    if CHROMIUM is None or shutil.which("node") is None:
        pytest.skip("needs chromium and node")
    if not (MODULES / "playwright-core").is_dir():
        pytest.skip(f"needs playwright-core and axe-core in {MODULES}: `make test-browser` installs them")
    root = tmp_path_factory.mktemp("browser")
    many(root / "results", MODELS, tasks=2, docs=DOCS)
    for step in (100, 200, 400):
        scores = {"task_00": (np.random.default_rng(step).random(100) < 0.3).astype(float)}
        write_run(root / "results", f"run@step{step}", scores)
    shutil.copytree(REPO / "results" / "reported", root / "results" / "reported")
    build_site([root / "results"], root / "site", SiteOptions("Board", docs=2))
    hostile_store(root / "hostile")
    build_site([root / "hostile"], root / "bad", SiteOptions("<script>window.hacked=1</script>", docs=2))
    command = ["node", str(HERE / "check.mjs"), str(root / "site"), str(root / "bad"), CHROMIUM]
    environment = {**os.environ, "NODE_MODULES": str(MODULES), "HOME": str(root)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_nothing_leaves_the_page_and_nothing_goes_wrong_in_it(seen):
    assert seen["requests"] == []
    assert seen["errors"] == []


def test_a_header_sorts_and_says_so(seen):
    own = [m for m in seen["byName"] if m in MODELS]
    assert own[:4] == sorted(MODELS)
    assert [m for m in seen["byNameDown"] if m in MODELS][:4] == sorted(MODELS, reverse=True)
    assert seen["before"][0] == "best"
    assert seen["ariaSort"] == "descending"


def test_the_filter_keeps_rows_that_hold_the_words(seen):
    assert set(seen["filtered"]) == {"org/mid", "org/most"}
    assert seen["status"].split()[1] == "of"


def test_optional_columns_appear_when_chosen_and_the_picker_closes(seen):
    assert (seen["optionalAtFirst"], seen["optionalChosen"], seen["pickerClosed"]) == (False, True, True)


def test_downloads_hold_the_rows_and_columns_that_are_shown(seen):
    head, *rows = seen["downloadCSV"].strip().split("\n")
    assert "Win rate†" in head
    assert {row.split(",")[1] for row in rows} == {"org/mid", "org/most"}
    assert [row["Model"] for row in json.loads(seen["downloadJSON"])] == [row.split(",")[1] for row in rows]


def test_a_permalink_gives_the_same_view(seen):
    assert "board.sort=model" in seen["hash"]
    assert seen["permalink"] == {"models": seen["filtered"], "optional": True}


def test_the_keyboard_suffices(seen):
    assert seen["firstFocus"] == "Skip to content"
    assert [m for m in seen["keyboardSorted"] if m in MODELS][:4] == sorted(MODELS)


def test_ten_thousand_docs_can_be_read_page_by_page(seen):
    viewer = seen["viewer"]
    assert viewer["status"] == "Docs 1 to 20 of 10000"
    assert viewer["docs"] == 20
    assert viewer["next"]["first"] == "Doc 20"
    assert set(viewer["marks"]) == {"✗"}


def test_docs_are_found_that_only_one_model_got_right_or_none(seen):
    assert set(seen["viewer"]["gained"]) == {"✓✗"}
    assert set(seen["viewer"]["hard"]) == {"✗✗"}
    assert "only=hard" in seen["viewer"]["address"], "the address leads here again"


def test_without_javascript_there_are_the_tables_and_the_first_docs(seen):
    assert seen["plain"]["rows"] >= len(MODELS) + 1
    assert seen["plain"]["controls"] is False
    assert seen["plain"]["docs"] == 20


def test_the_page_itself_never_scrolls_sideways(seen):
    assert seen["sideways"] == []


def test_axe_finds_nothing_in_light_and_dark(seen):
    assert seen["axe"] == []


def test_hostile_names_and_answers_do_nothing_and_the_control_shows_that_they_would(seen):
    assert seen["hacked"] == []
    assert seen["control"] is True
    assert seen["policyHolds"] is True

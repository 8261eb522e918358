from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import benchbench
from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.site.build import SiteOptions, build_site
from benchbench.leaderboard.site.folder import MARK
from benchbench.stats.ranks import mean_covariance, rank_intervals
from benchbench.store.folder import PART
from tests.leaderboard.site.page import Page
from tests.leaderboard.site.synthetic import many, write_run

MODELS = ("org/low", "org/mid", "org/midtoo", "org/high")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("results")
    many(root, MODELS, tasks=3, docs=120)
    for step in (100, 200, 400):
        scores = {"task_00": (np.random.default_rng(step).random(120) < 0.2 + step / 1000).astype(float)}
        write_run(root, f"run@step{step}", scores, run_id=f"r{step}")
    return root


@pytest.fixture(scope="module")
def site(store, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out") / "site"
    build_site([store], out, SiteOptions("Test board", {"pair": ("task_00", "task_01")}))
    return out


def pages(site: Path) -> list[Page]:
    return [Page(path) for path in sorted(site.rglob("*.html"))]


def files(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in sorted(site.rglob("*")) if path.is_file()}


def test_every_page_is_well_formed_and_links_only_to_pages_that_exist(site):
    found = pages(site)
    assert len(found) > 12
    for page in found:
        assert page.open == [], page.path
        for tag, attrs in page.elements:
            target = attrs.get("href")
            if tag == "a" and target is not None and not target.startswith("#"):
                assert (page.path.parent / target.partition("#")[0]).is_file(), (page.path, target)


def test_every_number_of_a_task_page_is_that_of_load_runs(store, site):
    runs = benchbench.load_runs(store)
    for task in ("task_00", "task_01", "task_02"):
        page = Page(site / "tasks" / f"{task}.html")
        table = next(name for name in page.tables if name.startswith("t-"))
        shown = {row["model"][0]: row for row in page.rows(table)}
        expected = runs[(runs.task == task) & runs.model.isin([*MODELS, "run@step400"])]
        assert set(shown) == set(expected.model)
        for row in expected.itertuples():
            cells = shown[row.model]
            assert cells["value"][1] == row.value
            assert cells["stderr"][1] == row.stderr
            assert cells["n"][1] == row.n
            assert cells["value"][0] == f"{row.value:.4f}"
            assert cells["interval"][0] == f"{row.ci_low:.4f} … {row.ci_high:.4f}".replace("-", "−")


def test_every_number_of_a_model_page_and_of_a_sweep_page_is_that_of_load_runs(store, site):
    runs = benchbench.load_runs(store)
    (path,) = (p for p in (site / "models").iterdir() if p.name.startswith("org_high-"))
    shown = {row["task"][0]: row for row in Page(path).rows("scores")}
    mine = runs[runs.model == "org/high"]
    assert {row.task: (row.value, row.stderr, row.n) for row in mine.itertuples()} == {
        task: (row["value"][1], row["stderr"][1], row["n"][1]) for task, row in shown.items()
    }
    sweep = Page(site / "sweeps" / "run.html")
    (points,) = (rows for name, rows in sweep.tables.items() if name != "signal")
    of_run = runs[runs.model.str.startswith("run@")].sort_values("value")
    assert [float(row[1][1]["data-v"]) for row in points[1:]] == list(of_run.value)
    assert "the last 200 steps (200→400) bought +" in sweep.text


def test_the_board_shows_means_and_ranks_as_the_statistics_give_them(store, site):
    runs = benchbench.load_runs(store)
    shown = Page(site / "index.html").rows("board")
    rows = {row["model"][0]: row for row in reversed(shown)}  # the first group's
    wide = runs[runs.model.isin(MODELS)].pivot_table(index="model", columns="task", values="value")
    means = (wide - 0.25) / 0.75
    for model, mean in means.mean(axis=1).items():
        assert rows[model]["mean"][1] == pytest.approx(100 * mean, abs=1e-9)
    columns = [
        np.stack([pd.read_parquet(store / f"org--{m[4:]}" / "abc" / "items" / t / PART).acc for m in MODELS])
        for t in ("task_00", "task_01", "task_02")
    ]
    sigma = mean_covariance([(c - c.mean(axis=1, keepdims=True)) / 0.75 for c in columns])
    expected = rank_intervals(means.loc[list(MODELS)].mean(axis=1), sigma, seed=1234)
    for place, model in enumerate(MODELS):
        low, high = expected.low[place], expected.high[place]
        assert rows[model]["rank"] == (str(low) if low == high else f"{low}–{high}", low)


def test_models_with_other_tasks_stand_in_a_group_of_their_own_and_count_where_they_have_the_tasks(store, site):
    text = Page(site / "index.html").text
    assert "Group 1: 4 models on 3 tasks asked alike" in text
    assert "Group 2: 5 models on 1 task asked alike" in text
    assert "Only models that were asked the same tasks are ranked together" in text
    (suite,) = (site / "suites").iterdir()
    page = Page(suite)
    assert "The models on pair, all 2 tasks" in page.text
    assert "Group 1: 4 models on 2 tasks asked alike" in page.text
    ranked = [row["model"][0] for row in page.rows("board")]
    assert ranked[:4] == ["org/high", "org/midtoo", "org/mid", "org/low"]


def test_the_last_checkpoint_is_listed_and_the_others_are_on_the_sweep(site):
    models = [row["model"][0] for row in Page(site / "index.html").rows("board")]
    assert models.count("run@step400") == 1
    assert not {"run@step100", "run@step200"} & set(models)


def test_duels_mark_who_is_better_and_who_is_not_told_apart(store, site):
    page = Page(site / "tasks" / "task_01.html")
    duels = benchbench.compare("org/low", "org/high", results=store)
    row = duels[duels.task == "task_01"].iloc[0]
    (table,) = (rows for rows in page.tables.values() if rows and rows[0] and rows[0][0][0] == "against")
    names = [text for text, _ in table[0][1:]]
    cells = {(line[0][0], name): cell for line in table[1:] for name, cell in zip(names, line[1:], strict=True)}
    text, attrs = cells["org/high", "org/low"]
    assert float(attrs["data-v"]) == pytest.approx(row.difference, abs=1e-12)
    assert (text[-1], cells["org/low", "org/high"][0][-1]) == ("▲", "▼")
    assert attrs["class"] == "n up"


def test_the_prompt_is_shown_as_it_was_asked(site):
    assert "Otázka: kolik je 1 + 1?\nOdpověď:" in Page(site / "tasks" / "task_00.html").text


def test_the_same_records_give_the_same_bytes_wherever_they_lie(store, site, tmp_path):
    copy = tmp_path / "elsewhere" / "other"
    shutil.copytree(store, copy)
    build_site([copy], tmp_path / "again", SiteOptions("Test board", {"pair": ("task_00", "task_01")}))
    assert files(tmp_path / "again") == files(site)


def test_the_content_policy_names_the_script_and_the_style_that_are_there(site):
    assert len(list(pages(site))) > 5
    for page in pages(site):
        (policy,) = (a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")
        scripts = re.findall(r"<script>(.*?)</script>", page.source, re.DOTALL)
        styles = re.findall(r"<style>(.*?)</style>", page.source, re.DOTALL)
        assert len(scripts) == len(styles) == 1
        for text in (*scripts, *styles):
            assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in policy
        assert not any("style" in attrs or any(n.startswith("on") for n in attrs) for _, attrs in page.elements)
        assert not any(a.get("src") or (a.get("href") or "").startswith(("http", "//")) for _, a in page.elements)


def test_the_data_files_hold_the_rows_of_load_runs(store, site):
    runs = benchbench.load_runs(store)
    same = ["model", "task", "metric", "value", "stderr", "ci_low", "ci_high", "n", "signature"]
    order = ["model", "task", "metric"]
    expected = runs[same].sort_values(order).reset_index(drop=True)
    for found in (
        pd.read_parquet(site / "data/runs.parquet"),
        pd.DataFrame(json.loads((site / "data/runs.json").read_text())),
    ):
        made = found[same].astype(expected.dtypes.to_dict()).sort_values(order).reset_index(drop=True)
        pd.testing.assert_frame_equal(made, expected)
    assert len(pd.read_csv(site / "data/runs.csv")) == len(runs)
    assert not any(str(store).encode() in content for content in files(site).values())


def test_a_rebuild_takes_away_what_is_gone_and_keeps_what_is_not_its_own(store, tmp_path):
    copy, out = tmp_path / "results", tmp_path / "site"
    shutil.copytree(store, copy)
    build_site([copy], out)
    (out / "CNAME").write_text("mine")
    before = {path for path in files(out) if "low" in path}
    assert before
    shutil.rmtree(copy / "org--low")
    build_site([copy], out)
    assert not {path for path in files(out) if "org_low" in path}
    assert (out / "CNAME").read_text() == "mine"


def test_a_folder_that_is_no_site_is_left_alone(store, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArgumentError, match="other files than a site"):
        build_site([store], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_an_empty_store_gives_a_page_that_says_how_to_fill_it(tmp_path):
    (tmp_path / "results").mkdir()
    build_site([tmp_path / "results"], tmp_path / "site")
    text = Page(tmp_path / "site" / "index.html").text
    assert "benchbench run --model" in text
    assert "benchbench results import" in text
    assert (tmp_path / "site" / MARK).is_file()


@pytest.mark.parametrize(("places", "steps"), [(1, [500]), (3, [500, 400, 100]), (9, [500, 400, 300, 200, 100])])
def test_docs_show_earlier_checkpoints_where_there_is_room(tmp_path: Path, places: int, steps: list[int]) -> None:
    for step in range(100, 600, 100):
        write_run(tmp_path / "results", f"run@step{step}", {"task": np.linspace(0, 1, 20).round() * (step > 200)})
    build_site([tmp_path / "results"], tmp_path / "site", SiteOptions(docs=places))
    (page,) = (tmp_path / "site" / "docs").glob("*.html")
    facts = json.loads(re.search(r'id="viewer-facts">(.*?)</script>', page.read_text("utf-8"))[1])
    assert facts["models"] == [f"run@step{step}" for step in steps]

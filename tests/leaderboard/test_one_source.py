"""A number stands once: terminal, site, JSON and pandas are made from one store, and say the same of it."""

from __future__ import annotations

import html
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import benchbench
from benchbench.cli.console import number
from benchbench.core.types import Item
from benchbench.leaderboard.board import make_board
from benchbench.leaderboard.comparison import compare_models
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.site.build import SiteOptions, build_site
from benchbench.leaderboard.site.docs_page import page_of_docs
from benchbench.leaderboard.training import VerdictOptions, sentences
from benchbench.leaderboard.trainings import figures, make_training
from benchbench.leaderboard.weights import benchmarks
from benchbench.stats.duel import duel
from benchbench.store.find import find_models
from tests.leaderboard import make
from tests.leaderboard.site.page import Page
from tests.leaderboard.world import choice, rolling, write_run, write_training

STEPS = (100, 200, 300, 400, 500, 600)
GROUPS = [{"name": "pair", "tasks": ["pair_cs", "pair_fr"], "weight_by_size": True}]
FILES = {"pair_cs": "pair/pair.yaml", "pair_fr": "pair/pair.yaml"}
CHANCE = {"pair_cs": 0.5, "pair_fr": 0.5, "single": 0.25}
CAPTION = re.compile(r"<figcaption>(.*?)</figcaption>", re.DOTALL)
SIZES = {"pair_cs": 150, "pair_fr": 50, "single": 120}
LEVEL = {"pair_cs": 0.1, "pair_fr": -0.05, "single": -0.1}


def tasks_at(rank: int, seed: int) -> dict[str, list]:
    """Items of a model of this rank: parallel docs in two languages, a task of its own, and texts."""
    rng = np.random.default_rng(seed)
    ease = np.random.default_rng(0).normal(size=200)
    made = {}
    for task, n in SIZES.items():
        right = (ease[:n] + 0.7 * rng.normal(size=n) < LEVEL[task] + 0.15 * rank).astype(float)
        made[task] = choice(task, right, [f"q{i}" for i in range(n)] if task in FILES else None)
    made["texts"] = rolling("texts", 4 - 0.1 * rank + 0.2 * rng.normal(size=40))
    return made


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("one") / "results"
    shared = {"groups": GROUPS, "files": FILES, "chance": CHANCE}
    write_training(root, "run", {step: tasks_at(rank, rank) for rank, step in enumerate(STEPS)}, **shared)
    write_run(root, "other", tasks_at(3, 99), series="other", step=None, tokens_seen=None, **shared)
    return root


@pytest.fixture(scope="module")
def site(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    build_site([store], out, SiteOptions(title="One"))
    return out


def training(store: Path, **options):
    records = read_records([store])
    return make_training("run", records.series()["run"], ItemScores(), VerdictOptions(**options))


def words(path: Path) -> str:
    text = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def test_the_site_says_every_sentence_of_the_terminal(store, site):
    shown = words(site / "sweeps" / "run.html")
    said = sentences(training(store))
    assert len(said) == 6, "all tasks, the pair, its two tasks, the single one and the texts"
    for sentence in said:
        assert " ".join(sentence.split()) in shown


def test_the_terminal_says_every_sentence_whole(store):
    found = training(store)
    assert sentences(found) == [curve.sentence for curve in found.headline_curves]


def test_terminal_and_site_say_what_bits_per_byte_show_where_the_metric_shows_nothing(tmp_path):
    right = np.arange(120) % 2.0
    rng = np.random.default_rng(5)
    steps = {
        step: {"quiz": with_bits(choice("quiz", right), 1.5 - 0.1 * rank + 0.05 * rng.normal(size=120))}
        for rank, step in enumerate(STEPS)
    }
    write_training(tmp_path / "results", "run", steps)
    found = training(tmp_path / "results")
    (curve,) = found.main_curves
    beside = found.beside(curve)
    assert beside is not None
    assert "bits per byte of the right answer do move, for the better" in beside
    assert sentences(found) == [f"{curve.sentence} {beside}"]
    build_site([tmp_path / "results"], tmp_path / "site", SiteOptions(title="One"))
    assert f"{curve.sentence} {beside}" in words(tmp_path / "site" / "sweeps" / "run.html")


def with_bits(items: list[Item], bits: np.ndarray) -> list[Item]:
    """The items with other bits per byte of the right answer."""
    return [replace(one, scores={**one.scores, "bpb_gold": b}) for one, b in zip(items, bits.tolist(), strict=True)]


def test_no_sentence_is_cut_where_it_is_read(store, site):
    page = (site / "sweeps" / "run.html").read_text(encoding="utf-8")
    captions = [" ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()) for text in re.findall(CAPTION, page)]
    judged = training(store).main_curves
    assert [curve.task for curve in judged] == ["pair", "pair_cs", "pair_fr", "single", "texts"]
    for curve in judged:
        assert any(curve.sentence in text for text in captions), curve.sentence


def test_the_mean_of_all_tasks_counts_benchmarks_alike_and_docs_within_one(store):
    """By hand: half for `single` from .25, half for the pair from .5, of which 150 docs of 200 are Czech."""
    runs = benchbench.load_runs(store)
    value = {row.task: row.value for row in runs[(runs.step == 600) & (runs.metric == "acc")].itertuples()}
    pair = 0.75 * (value["pair_cs"] - 0.5) / 0.5 + 0.25 * (value["pair_fr"] - 0.5) / 0.5
    expected = (pair + (value["single"] - 0.25) / 0.75) / 2
    overall = training(store).overall
    assert overall.points[-1].value == pytest.approx(expected)
    assert overall.task == "3 of 4 tasks", "perplexities have no best score"
    alike = sum(
        (value[task] - chance) / (1 - chance) for task, chance in (("pair_cs", 0.5), ("pair_fr", 0.5), ("single", 0.25))
    )
    assert training(store, weighting="tasks").overall.points[-1].value == pytest.approx(alike / 3)


@pytest.mark.parametrize("weighting", ["benchmarks", "tasks"])
def test_the_verdict_on_all_tasks_is_on_the_mean_that_is_shown(store, weighting):
    overall = training(store, weighting=weighting).overall
    shown = [point.value for point in overall.points]
    assert list(overall.series.values) == pytest.approx(shown)
    newest = figures(overall)["newest"]
    assert (newest["from"], newest["value"]) == (400, pytest.approx(shown[-1] - shown[-3]))


def test_the_board_has_the_very_same_mean(store, site):
    records = read_records([store])
    items = ItemScores()
    listed = records.listed
    groups = benchmarks(run.record for entry in listed for run in entry.runs)
    board = make_board(listed, items, Duels(listed, items), groups)
    (standing,) = [s for s in board.groups[0].standings if s.entry.series == "run"]
    assert standing.mean == pytest.approx(training(store).overall.points[-1].value)
    rows = json.loads((site / "data" / "board.json").read_text())
    shown = {row["model"]: row["mean"] for row in rows if row["board"] == "overview"}
    assert shown["run@step600"] == pytest.approx(100 * standing.mean)


def test_the_board_s_interval_of_the_mean_is_that_of_the_curve(store):
    last = training(store).overall.points[-1]
    records = read_records([store])
    items = ItemScores()
    groups = benchmarks(run.record for entry in records.entries for run in entry.runs)
    board = make_board(records.listed, items, Duels(records.listed, items), groups)
    (standing,) = (one for group in board.groups for one in group.standings if one.entry.name == "run@step600")
    assert (standing.mean, *standing.interval) == pytest.approx((last.value, last.low, last.high))


def test_a_group_s_own_row_is_weighted_by_docs_where_it_says_so(store):
    runs = benchbench.load_runs(store)
    last = runs[(runs.step == 600) & (runs.metric == "acc")].set_index("task").value
    assert last["pair"] == pytest.approx((150 * last["pair_cs"] + 50 * last["pair_fr"]) / 200)
    curve = next(c for c in training(store).main_curves if c.task == "pair")
    assert curve.points[-1].value == pytest.approx(last["pair"])
    assert curve.series.values[-1] == pytest.approx(last["pair"])


def test_the_same_questions_in_two_languages_are_one_cluster(store):
    found = training(store)
    pair = next(c for c in found.main_curves if c.task == "pair")
    assert (pair.verdict.n, pair.verdict.n_clusters) == (200, 150)
    assert "(n=200 in 150 clusters)" in pair.sentence
    parts = {c.task: c.series for c in found.main_curves if c.task in FILES}
    alone = math.sqrt(sum((SIZES[task] / 200) ** 2 * s.covariance[-1, -1] for task, s in parts.items()))
    assert math.sqrt(pair.series.covariance[-1, -1]) > 1.05 * alone


def test_perplexities_are_judged_by_their_logarithm_and_fall_for_the_better(store, site):
    runs = benchbench.load_runs(store)
    ppl = runs[(runs.task == "texts") & (runs.metric == "word_perplexity") & (runs.series == "run")].sort_values("step")
    curve = next(c for c in training(store).main_curves if c.task == "texts")
    assert [p.value for p in curve.points] == pytest.approx(list(ppl.value))
    newest = figures(curve)["newest"]
    assert newest["from"] == 400
    assert newest["value"] == pytest.approx(math.log(ppl.value.iloc[-1]) - math.log(ppl.value.iloc[-3]))
    assert newest["value"] < 0
    assert "texts log word_perplexity (n=40, lower is better): the last 200 steps (400→600) bought −" in curve.sentence
    rows = {row["task"][0] + row["metric"][0]: row for row in Page(site / "sweeps" / "run.html").rows("signal")}
    assert rows["textslog word_perplexity"]["bought"][1] == pytest.approx(newest["value"])


def test_a_perplexity_of_docs_is_compared_by_its_logarithm(tmp_path):
    rng = np.random.default_rng(7)
    found = {name: -rng.exponential(mean, size=80) for name, mean in (("one", 2.0), ("two", 3.0))}
    spec = make.metric("perplexity", "perplexity", higher_is_better=False)
    for name, nats in found.items():
        task = make.task(nats.tolist(), metric=spec, value=math.exp(-nats.mean()))
        make.measured(tmp_path, name, {"toy": task})
    (row,) = compare_models(find_models(["one", "two"], tmp_path)).rows
    one, two = -found["one"].mean(), -found["two"].mean()
    assert (row.duel.score_a, row.duel.score_b) == pytest.approx((one, two))
    assert row.duel.difference.value == pytest.approx(two - one)
    assert row.outcome == "worse"


def test_tasks_count_alike_on_the_whole_site_where_that_is_asked_for(store, tmp_path):
    build_site([store], tmp_path / "site", SiteOptions(title="One", weighting="tasks"))
    overall = training(store, weighting="tasks").overall
    alike, shared = overall.points[-1].value, training(store).overall.points[-1].value
    last = benchbench.load_runs(store).query("model == 'run@step600' and metric == 'acc'").set_index("task").value
    by_hand = np.mean([(last[task] - CHANCE[task]) / (1 - CHANCE[task]) for task in SIZES])
    assert alike == pytest.approx(by_hand)
    assert abs(alike - shared) > 1e-3
    assert overall.sentence in words(tmp_path / "site" / "sweeps" / "run.html")
    rows = {row["model"][0]: row for row in Page(tmp_path / "site" / "index.html").rows("board")}
    assert rows["run@step600"]["mean"][1] == pytest.approx(100 * alike)


def test_where_less_is_better_the_lowest_stands_first(store, tmp_path):
    build_site([store], tmp_path / "site", SiteOptions(title="One", docs=1))
    runs = benchbench.load_runs(store)
    found = runs[(runs.task == "texts") & (runs.metric == "word_perplexity")].set_index("model").value
    assert found["run@step600"] < found["other"]
    page = Page(tmp_path / "site" / "tasks" / "texts.html")
    assert "word_perplexity, lower is better." in page.text
    assert page.text.index("run@step600") < page.text.index("other")
    (answers,) = (tmp_path / "site" / "docs").glob("texts*.html")
    assert "1 model." in Page(answers).text
    assert "run@step600" in Page(answers).text


def test_an_answer_is_marked_right_where_its_score_is_the_best_there_is(tmp_path):
    items = {"acc": [1.0, 0.0], "brier_score": [0.0, 1.0]}
    for name, scores in items.items():
        better = name == "acc"
        aggregation = "mean" if better else "brier_score"
        spec = make.metric(name, aggregation, higher_is_better=better)
        make.measured(tmp_path / name, "a", {"toy": make.task(scores, metric=spec)})
        (entry,) = read_records([tmp_path / name]).entries
        ((variant, cell),) = entry.cells.items()
        assert cell.metric.name == name
        found = page_of_docs(variant, "toy", [entry], "")
        assert found is not None
        assert json.loads(str(found.page.facts))["marks"] == ["rw"]


def test_every_figure_of_a_sweep_page_is_that_of_the_json(store, site):
    rows = Page(site / "sweeps" / "run.html").rows("signal")
    known = {(curve.task, curve.label): figures(curve) for curve in training(store).curves if curve.verdict}
    seen = 0
    for row in rows:
        found = known.get((row["task"][0], row["metric"][0]))
        assert found is not None
        assert row["bought"][1] == pytest.approx(found["newest"]["value"])
        assert row["verdict"][0] == found["short"]
        ends = [float(end.replace("−", "-").replace("\u202f", "")) for end in row["interval"][0].split(" … ")]
        assert ends == pytest.approx([found["newest"]["ci_low"], found["newest"]["ci_high"]], abs=6e-5)
        assert row["detectable"][1] == pytest.approx(found["detectable"])
        seen += 1
    assert seen == len(known) >= 6


def test_the_list_of_trainings_says_what_the_last_fifth_bought(store, site):
    overall = figures(training(store).overall)
    shown = words(site / "sweeps.html")
    newest = overall["newest"]
    change = f"{100 * newest['value']:+.2f}".replace("-", "−")
    low, high = (f"{100 * newest[end]:+.2f}".replace("-", "−") for end in ("ci_low", "ci_high"))
    assert f"400→600 {change} pp {low}…{high} {overall['short']}" in shown


def test_compare_and_site_find_the_same_duel(store, site):
    rows = {row.task: row for row in compare_models(find_models(["run@600", "other"], store)).rows}
    records = read_records([store])
    items = ItemScores()
    duels = Duels(records.listed, items)
    compared = 0
    for variant in {v for entry in records.listed for v in entry.cells}:
        found = duels.of(variant)
        a, b = (found.places[id(e)] for e in sorted(found.entries, key=lambda e: e.name == "other"))
        row = rows[variant.task]
        assert found.matrix.difference[b, a] == pytest.approx(row.duel.difference.value)
        assert found.matrix.p[a, b] == pytest.approx(row.duel.p)
        assert (bool(found.wins[b, a]), bool(found.wins[a, b])) == (row.outcome == "better", row.outcome == "worse")
        compared += 1
    assert compared == 4
    assert rows["texts"].outcome == "worse", "the other model, earlier in training, has the higher perplexity"
    scores = {row.task: (row.duel.score_a, row.duel.score_b) for row in rows.values()}
    runs = benchbench.load_runs(store)
    for task in SIZES:
        values = runs[(runs.task == task) & (runs.metric == "acc")].set_index("model").value
        assert scores[task] == pytest.approx((values["run@step600"], values["other"]))


def test_all_tasks_of_a_comparison_are_weighted_like_the_board(store):
    row = compare_models(find_models(["run@600", "other"], store)).rows[-1]
    assert row.task == "all tasks"
    assert row.duel.score_a == pytest.approx(training(store).overall.points[-1].value)


def test_docs_that_failed_are_left_out_on_both_sides_for_corpus_metrics_too(tmp_path):
    """Two runs with the same answers, of which one lost its worst texts: on the docs of both they are equal."""
    nats = np.where(np.arange(30) % 3 == 0, 9.0, 3.0)
    whole = rolling("texts", nats)
    lost = [replace(i, outcome="failed", loglikelihoods=()) if i.doc_id % 3 == 0 else i for i in rolling("texts", nats)]
    for name, items in (("whole", whole), ("lost", lost)):
        write_run(tmp_path, name, {"texts": items}, series=name, step=None, tokens_seen=None)
    (row,) = compare_models(find_models(["whole", "lost"], tmp_path)).rows
    assert (row.duel.n, row.dropped) == (20, 10)
    assert row.duel.score_a == pytest.approx(math.log(math.exp(3.0)))
    assert row.duel.difference.value == pytest.approx(0.0, abs=1e-12)
    assert row.outcome != "better"
    runs = benchbench.load_runs(tmp_path)
    assert runs[runs.metric == "word_perplexity"].value.nunique() == 2, "their own values differ"


def test_numbers_are_written_alike(store, site):
    """The value that a table of the terminal shows is the one on the page, digit for digit."""
    overall = training(store).overall
    assert number(overall.points[-1].value) in words(site / "sweeps.html")


def test_a_duel_of_items_is_the_duel_of_the_comparison(store):
    rows = {row.task: row for row in compare_models(find_models(["run@600", "other"], store)).rows}
    one, two = ([i.scores["acc"] for i in tasks["single"]] for tasks in (tasks_at(5, 5), tasks_at(3, 99)))
    by_hand = duel(one, two, seed=1234)
    assert rows["single"].duel.p == pytest.approx(by_hand.p)
    assert rows["single"].duel.interval == pytest.approx(by_hand.interval)

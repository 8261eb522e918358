"""The same questions in several languages, and docs that failed: what means, duels, boards and sweeps make of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchbench.leaderboard.board import make_board
from benchbench.leaderboard.comparison import compare_models
from benchbench.leaderboard.duels import Duels
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.trainings import make_training
from benchbench.leaderboard.weights import benchmarks, weights_of
from benchbench.stats.ranks import rank_intervals
from benchbench.store.find import find_models
from tests.cli.command import benchbench as command
from tests.leaderboard.world import choice, write_run, write_training
from tests.store.make import record, recorded

LANGUAGES = ("qa_cs", "qa_de", "qa_fr")
GROUP = [{"name": "qa", "tasks": list(LANGUAGES), "weight_by_size": False}]
N = 300
QUESTIONS = [f"q{i}" for i in range(N)]
GUESS = 0.5


def answers(seed: int, level: float) -> dict[str, np.ndarray]:
    """Right and wrong in three languages: mostly a matter of the question."""
    ease = np.random.default_rng(0).normal(size=N) + 0.5 * np.random.default_rng(seed).normal(size=N)
    rng = np.random.default_rng(seed + 1)
    return {task: (ease + 0.5 * rng.normal(size=N) < level).astype(float) for task in LANGUAGES}


ONE, TWO = answers(10, 0.2), answers(20, 0.4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("parallel") / "results"
    for model, right in (("one", ONE), ("two", TWO)):
        items = {task: choice(task, row, QUESTIONS) for task, row in right.items()}
        write_run(root, model, items, groups=GROUP, files=dict.fromkeys(LANGUAGES, "qa/qa.yaml"))
    return root


def error_of(questions: np.ndarray) -> float:
    """Of a mean of independent questions."""
    return float(questions.std(ddof=1)) / math.sqrt(questions.size)


def test_a_group_of_languages_has_the_error_of_its_questions(store: Path) -> None:
    (entry,) = (entry for entry in read_records([store]).entries if entry.name == "one")
    (row,) = (row for row in entry.runs[0].record.rows if row.task == "qa" and row.metric == "acc")
    expected = error_of(np.mean(list(ONE.values()), axis=0))
    independent = math.sqrt(sum(error_of(right) ** 2 for right in ONE.values())) / 3
    assert row.stderr == pytest.approx(expected)
    assert row.stderr > 1.4 * independent
    assert row.ci_high - row.ci_low == pytest.approx(2 * 1.968 * expected, rel=0.03)
    assert row.note == "mean of 3 tasks, equal weights; docs that tasks share are counted once"


def test_a_duel_of_languages_has_the_error_of_its_questions(store: Path) -> None:
    rows = {row.task: row for row in compare_models(find_models(["one", "two"], store)).rows}
    gaps = np.mean([TWO[task] - ONE[task] for task in LANGUAGES], axis=0)
    assert rows["qa"].duel.difference.value == pytest.approx(gaps.mean())
    assert rows["qa"].duel.difference.stderr == pytest.approx(error_of(gaps), rel=1e-3)
    assert rows["all tasks"].duel.difference.stderr == pytest.approx(error_of(gaps) / GUESS, rel=1e-3)
    assert "questions that tasks share counted once" in str(rows["qa"].note)


def test_the_board_counts_a_question_once(store: Path) -> None:
    entries = read_records([store]).entries
    items = ItemScores()
    groups = benchmarks(run.record for entry in entries for run in entry.runs)
    (coverage,) = make_board(entries, items, Duels(entries, items), groups).groups
    for standing, right in zip(coverage.standings, (TWO, ONE), strict=True):
        assert standing.stderr == pytest.approx(error_of(np.mean(list(right.values()), axis=0)) / GUESS)
    gaps = np.mean([TWO[task] - ONE[task] for task in LANGUAGES], axis=0)
    assert gaps.mean() / error_of(gaps) > 2.1
    assert [standing.rank for standing in coverage.standings] == [(1, 1), (2, 2)]


def with_failed(right: np.ndarray, docs: list[int]) -> np.ndarray:
    found = right.copy()
    found[docs] = math.nan
    return found


def test_docs_that_failed_on_one_side_are_named_with_what_they_could_hide(tmp_path: Path) -> None:
    a, b = ONE["qa_cs"].copy(), TWO["qa_cs"].copy()
    write_run(tmp_path, "a", {"qa_cs": choice("qa_cs", a)})
    write_run(tmp_path, "b", {"qa_cs": choice("qa_cs", with_failed(b, list(range(60))))})
    (row,) = compare_models(find_models(["a", "b"], tmp_path)).rows
    rest = (b - a)[60:]
    assert row.duel.difference.value == pytest.approx(rest.mean())
    assert row.reach is not None
    assert row.reach.low == pytest.approx((rest.sum() + (0 - a[:60]).sum()) / N)
    assert row.reach.high == pytest.approx((rest.sum() + (1 - a[:60]).sum()) / N)
    done = command("compare", "a", "b", "--results", tmp_path)
    said = " ".join(done.stdout.split())
    low, high = (f"{100 * end:+.2f} pp".replace("-", "−") for end in (row.reach.low, row.reach.high))
    assert f"qa_cs: Left out: 60 docs that failed on one side; with them B − A could lie anywhere from {low}" in said
    assert f"to {high}, of either sign." in said
    (flat,) = json.loads(command("compare", "a", "b", "--results", tmp_path, "--json").stdout)["rows"]
    assert (flat["failed_low"], flat["failed_high"]) == (row.reach.low, row.reach.high)


def test_a_sweep_says_what_docs_that_failed_at_its_end_could_hide(tmp_path: Path) -> None:
    rows = {step: answers(30 + step, 0.2)["qa_cs"] for step in (100, 200, 300, 400, 500)}
    rows[500] = with_failed(rows[500], [3, 5, 8])
    write_training(tmp_path, "run", {step: {"qa_cs": choice("qa_cs", row)} for step, row in rows.items()})
    entries = read_records([tmp_path]).entries
    training = make_training("run", entries, ItemScores())
    (curve,) = training.main_curves
    assert curve.reach is not None
    assert curve.verdict is not None
    assert curve.verdict.findings is not None
    first = rows[(100, 200, 300, 400, 500)[curve.verdict.findings.since]]
    kept = ~np.isnan(rows[500])
    worst = ((rows[500] - first)[kept].sum() - first[~kept].sum()) / N
    assert curve.reach.low == pytest.approx(worst)
    assert curve.reach.high == pytest.approx(worst + 3 / N)
    assert "Left out: 3 docs that failed at one end of the newest part; with them what it bought" in curve.sentence


def test_without_failed_docs_nothing_is_said(store: Path) -> None:
    assert {row.reach for row in compare_models(find_models(["one", "two"], store)).rows} == {None}


def test_ranks_rest_on_the_questions_weighted_as_the_mean_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two languages of unequal size that share a benchmark's weight by their docs, beside a task of its own."""
    group = [{"name": "qa", "tasks": ["qa_cs", "qa_de"], "weight_by_size": True}]
    files = dict.fromkeys(("qa_cs", "qa_de"), "qa/qa.yaml")
    rng = np.random.default_rng(5)
    alone = {model: (rng.random(80) < 0.6).astype(float) for model in ("one", "two")}
    for model, right in (("one", ONE), ("two", TWO)):
        items = {
            "qa_cs": choice("qa_cs", right["qa_cs"], QUESTIONS),
            "qa_de": choice("qa_de", right["qa_de"][:100], QUESTIONS[:100]),
            "rest": choice("rest", alone[model]),
        }
        write_run(tmp_path, model, items, groups=group, files=files)
    seen = []

    def spy(values: object, covariance: object, **more: object) -> object:
        seen.append((np.asarray(values), np.asarray(covariance)))
        return rank_intervals(values, covariance, **more)

    monkeypatch.setattr("benchbench.leaderboard.board.rank_intervals", spy)
    entries = read_records([tmp_path]).entries
    items = ItemScores()
    make_board(entries, items, Duels(entries, items), benchmarks(run.record for e in entries for run in e.runs))
    (values, sigma), names = seen[-1], [entry.name for entry in entries]
    first, second = names.index("one"), names.index("two")
    cs, de = TWO["qa_cs"] - ONE["qa_cs"], (TWO["qa_de"] - ONE["qa_de"])[:100]
    gap = 0.5 * (0.75 * cs.mean() + 0.25 * de.mean()) + 0.5 * (alone["two"] - alone["one"]).mean()
    assert values[second] - values[first] == pytest.approx(gap / GUESS)
    pulls = 0.75 * (cs - cs.mean()) / N
    pulls[:100] += 0.25 * (de - de.mean()) / 100
    shared, rest = float(pulls @ pulls), float((alone["two"] - alone["one"]).var(ddof=1) / 80)
    variance = sigma[first, first] + sigma[second, second] - 2 * sigma[first, second]
    assert variance == pytest.approx(0.25 * (shared + rest) / GUESS**2, rel=5e-3)


def test_the_largest_of_two_groups_with_a_task_is_its_benchmark() -> None:
    groups = {"groups": [
        {"name": "stem", "tasks": ["a", "b"], "weight_by_size": True},
        {"name": "mmlu", "tasks": ["a", "b", "c"], "weight_by_size": False},
    ]}  # fmt: skip
    found = benchmarks([recorded({**record(), **groups})])
    assert [group.name for group in found] == ["mmlu", "stem"]
    assert weights_of({"a": 10, "b": 30, "c": 60, "d": 5}, found) == pytest.approx(
        {"a": 1 / 6, "b": 1 / 6, "c": 1 / 6, "d": 1 / 2}
    )


def test_clusters_of_two_tasks_that_happen_to_have_one_name_are_two(tmp_path: Path) -> None:
    """Passages are numbered in each task: passage 3 of one is not passage 3 of the other."""
    numbers = [str(i // 3) for i in range(N)]
    for step in (100, 200, 300):
        right = answers(step, 0.2)
        items = {task: choice(task, right[task], numbers) for task in ("qa_cs", "qa_de")}
        write_run(tmp_path, f"run@step{step}", items, series="run", step=step, tokens_seen=None)
    training = make_training("run", read_records([tmp_path]).entries, ItemScores())
    assert training.overall is not None
    assert training.overall.series is not None
    alone = [curve.series for curve in training.main_curves if curve.series is not None]
    expected = sum(float(series.covariance[-1, -1]) for series in alone) / 4 / GUESS**2
    assert float(training.overall.series.covariance[-1, -1]) == pytest.approx(expected)

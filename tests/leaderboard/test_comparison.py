"""Duels from run folders: which items pair, what is refused, and how tasks are put together."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import benchbench
from benchbench.core.errors import ArgumentError, StoreError
from benchbench.leaderboard.board import make_board
from benchbench.leaderboard.comparison import ALL_TASKS, CompareOptions, Comparison, compare_models
from benchbench.leaderboard.duels import DUEL_COLUMNS, Duels, flat
from benchbench.leaderboard.metrics import metric_of
from benchbench.leaderboard.paired import ItemScores
from benchbench.leaderboard.records import read_records
from benchbench.stats.duel import duel, duel_of_estimates
from benchbench.stats.influence import Estimate
from benchbench.store.find import find_models
from tests.leaderboard.make import measured, metric, task
from tests.stats.test_pairs import A, B


def compared(root: Path, *names: str, wanted: CompareOptions | None = None) -> Comparison:
    return compare_models(find_models(list(names), root), wanted)


def test_two_models_are_compared_on_their_items(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"toy": task(list(A))})
    measured(tmp_path, "b", {"toy": task(list(B))})
    (row,) = compared(tmp_path, "a", "b").rows
    assert row.duel == duel(A, B, [None] * 100, seed=1234, delta=0.005)
    assert (row.a, row.b, row.task, row.metric, row.outcome) == ("a", "b", "toy", "acc", "better")
    assert row.p_adjusted == row.q == row.duel.p
    (back,) = compared(tmp_path, "b", "a").rows
    assert (back.outcome, back.duel.p) == ("worse", row.duel.p)


def test_docs_without_a_score_on_one_side_are_left_out_and_counted(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"toy": task([1.0, None, 0.0, 1.0])})
    measured(tmp_path, "b", {"toy": task([1.0, 1.0, 1.0, None])})
    (row,) = compared(tmp_path, "a", "b").rows
    assert (row.duel.n, row.dropped, row.duel.score_a, row.duel.score_b) == (2, 2, 0.5, 1.0)


def test_clusters_go_into_the_duel(tmp_path: Path) -> None:
    names = [f"p{i // 2}" for i in range(100)]
    measured(tmp_path, "a", {"toy": task(list(A), clusters=names)})
    measured(tmp_path, "b", {"toy": task(list(B), clusters=names)})
    (row,) = compared(tmp_path, "a", "b").rows
    assert (row.duel.method, row.duel.n_clusters) == ("clustered t", 50)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"num_fewshot": 5}, "0 shots against 5. Run both with the same --num-fewshot."),
        ({"data_hash": "d2"}, "the documents (or the shots drawn from them) differ."),
        ({"data_hash": "d2", "scores": [1.0, 0.0]}, "3 docs against 2. Run both with the same --limit"),
        ({"prompt_hash": "p2"}, "the prompts differ."),
        ({"version": 2}, "task version 1 against 2. Run the older one again."),
        ({"metric": metric(kwargs={"ignore_case": True})}, "acc is computed differently (normalisation, filters"),
        ({"filters": [{"name": "strict", "steps": []}]}, "acc is computed differently"),
    ],
)
def test_what_does_not_pair_is_refused_with_what_differs(tmp_path: Path, change: dict, says: str) -> None:
    measured(tmp_path, "a", {"toy": task([1.0, 0.0, 1.0])})
    measured(tmp_path, "b", {"toy": {**task([1.0, 0.0, 1.0]), **change}})
    with pytest.raises(StoreError, match="a and b cannot be compared on toy: ") as caught:
        compared(tmp_path, "a", "b")
    assert says in str(caught.value)


def test_one_refused_task_leaves_the_others(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"x": task([1.0, 0.0]), "y": task([1.0, 0.0])})
    measured(tmp_path, "b", {"x": task([1.0, 0.0], version=2), "y": task([1.0, 0.0])})
    found = compared(tmp_path, "a", "b")
    assert [row.task for row in found.rows] == ["y"]
    assert [(r.task, r.reason[:14]) for r in found.refused] == [("x", "task version 1")]


def test_the_newest_pair_of_runs_that_fits_is_taken(tmp_path: Path) -> None:
    early, late = {"finished": "2026-01-01"}, {"finished": "2026-03-01"}
    measured(tmp_path, "a", {"toy": task([1.0, 0.0])}, run_id="old", provenance=early)
    measured(tmp_path, "a", {"toy": task([0.0, 0.0], num_fewshot=5)}, run_id="new", provenance=late)
    measured(tmp_path, "b", {"toy": task([1.0, 1.0])})
    (row,) = compared(tmp_path, "a", "b").rows
    assert row.duel.score_a == 0.5


def test_models_without_a_common_task_are_a_sentence(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"x": task([1.0])})
    measured(tmp_path, "b", {"y": task([1.0])})
    with pytest.raises(StoreError, match="no task and metric in common: a has x; b has y"):
        compared(tmp_path, "a", "b")


def test_arguments_that_make_no_comparison_are_refused(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"x": task([1.0])})
    measured(tmp_path, "b", {"x": task([1.0])})
    for names, wanted, says in (
        (["a"], None, "two models or more"),
        (["a", "a"], None, "mean the same run"),
        (["a", "b"], CompareOptions(delta=0.0), "--delta is a margin above 0"),
        (["a", "b"], CompareOptions(metrics=("acx",)), r"no metric|Did you mean acc\? There are acc"),
    ):
        with pytest.raises(ArgumentError, match=says):
            compared(tmp_path, *names, wanted=wanted)


def test_three_models_are_three_pairs_with_holm_within_the_task(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, share in (("a", 0.4), ("b", 0.5), ("c", 0.7)):
        measured(tmp_path, name, {"toy": task([float(x) for x in rng.random(200) < share])})
    found = compared(tmp_path, "a", "b", "c")
    assert [(row.a, row.b) for row in found.rows] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = sorted(row.duel.p or 0 for row in found.rows)
    assert min(row.p_adjusted or 0 for row in found.rows) == pytest.approx(3 * raw[0])
    assert min(row.q or 0 for row in found.rows) == pytest.approx(min(3 * raw[0], 1.5 * raw[1], raw[2]))


def test_a_corpus_metric_is_compared_by_its_influence_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    psi = [x - x.mean() for x in rng.normal(size=(2, 50))]
    made = {
        name: task(
            [0.0] * 50, influence=list(x), value=value, metric=metric("bleu", "bleu"), output_type="generate_until"
        )
        for name, x, value in zip("ab", psi, (20.0, 21.0), strict=True)
    }
    for name, t in made.items():
        measured(tmp_path, name, {"toy": t})
    (row,) = compared(tmp_path, "a", "b").rows
    by_hand = duel_of_estimates(Estimate(20.0, psi[0]), Estimate(21.0, psi[1]), delta=0.5, scale=100.0)
    assert row.duel.scale == 100, "one segment can differ by the whole range"
    assert (row.duel.score_a, row.duel.score_b) == pytest.approx((20.0, 21.0))
    assert row.duel.p == pytest.approx(by_hand.p)
    assert row.duel.interval == pytest.approx(by_hand.interval)


def test_a_corpus_metric_of_an_older_run_is_refused(tmp_path: Path) -> None:
    bleu = task([0.0, 1.0], value=20.0, metric=metric("bleu", "bleu"), output_type="generate_until")
    for name in ("a", "b"):
        measured(tmp_path, name, {"toy": bleu})
    with pytest.raises(StoreError, match="have no score 'bleu_influence'"):
        compared(tmp_path, "a", "b")


def test_perplexities_are_compared_as_ratios(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(-3, 1, (2, 60))
    spec = metric("perplexity", "perplexity", higher_is_better=False)
    for name, scores in (("a", x), ("b", y)):
        measured(tmp_path, name, {"toy": task(list(scores), metric=spec, output_type="loglikelihood")})
    (row,) = compared(tmp_path, "a", "b").rows
    assert row.is_log
    assert row.duel.score_a == pytest.approx(-x.mean())
    assert math.exp(row.duel.difference.value) == pytest.approx(math.exp(-y.mean()) / math.exp(-x.mean()))
    assert (row.duel.delta, row.duel.higher_is_better, row.duel.scale) == (0.005, False, 1)


def test_a_median_cannot_be_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        measured(tmp_path, name, {"toy": task([1.0, 0.0], metric=metric(aggregation="median"))})
    with pytest.raises(StoreError, match="acc is a median"):
        compared(tmp_path, "a", "b")


def test_all_tasks_are_put_on_the_scale_from_chance_to_best(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"x": task(list(A), chance=0.25), "y": task(list(A), chance=0.5)})
    measured(tmp_path, "b", {"x": task(list(B), chance=0.25), "y": task(list(B), chance=0.5)})
    row = compared(tmp_path, "a", "b").rows[-1]
    assert (row.task, row.is_group, row.q) == (ALL_TASKS, True, None)
    assert row.duel.score_a == pytest.approx(((0.45 - 0.25) / 0.75 + (0.45 - 0.5) / 0.5) / 2)
    assert row.duel.difference.value == pytest.approx((0.1 / 0.75 + 0.1 / 0.5) / 2)


def test_a_group_is_the_mean_of_its_tasks(tmp_path: Path) -> None:
    groups = [{"name": "g", "tasks": ["x", "y"], "weight_by_size": True}]
    measured(tmp_path, "a", {"x": task(list(A)), "y": task([0.0] * 300)}, groups=groups)
    measured(tmp_path, "b", {"x": task(list(B)), "y": task([0.0] * 300)}, groups=groups)
    row = next(row for row in compared(tmp_path, "a", "b").rows if row.task == "g")
    assert row.duel.difference.value == pytest.approx(0.1 / 4)
    assert "weighted by size" in (row.note or "")


def test_a_metric_without_a_best_score_is_left_out_of_all_tasks(tmp_path: Path) -> None:
    bits = task([1.0, 2.0, 1.5], metric=metric("bpb_gold", higher_is_better=False))
    for name in ("a", "b"):
        guessed = {"x": task(list(A), chance=0.25), "y": task(list(B), chance=0.5)}
        measured(tmp_path, name, {**guessed, "w": task(list(A)), "z": bits})
    row = compared(tmp_path, "a", "b").rows[-1]
    assert row.note is not None
    assert row.note.startswith("mean of 2 tasks, each from chance (0) to the best score (1), benchmarks count alike")
    assert row.note.endswith("; left out, for their chance is not known or they have no best score: w, z")


def test_a_bounded_metric_of_which_less_is_better_is_in_no_mean(tmp_path: Path) -> None:
    brier = metric("brier_score", "brier_score", higher_is_better=False)
    for name, shift in (("a", 0.1), ("b", 0.3)):
        tasks = {"x": task(list(A), chance=0.25), "y": task(list(B), chance=0.5)}
        measured(tmp_path, name, {**tasks, "z": task([shift, 0.5, 0.4], metric=brier)})
    row = compared(tmp_path, "a", "b").rows[-1]
    assert row.task == ALL_TASKS
    assert row.note is not None
    assert row.note.startswith("mean of 2 tasks")
    assert row.note.endswith("they have no best score: z")
    entries = read_records([tmp_path]).entries
    board = make_board(entries, ItemScores(), Duels(entries, ItemScores()))
    assert board.left_out == ("z",)
    assert [variant.task for variant in board.groups[0].variants] == ["x", "y"]


def test_a_metric_without_a_range_has_a_margin_relative_to_the_scores(tmp_path: Path) -> None:
    bits = metric("bpb_gold", higher_is_better=False)
    for name, level in (("a", 1.0), ("b", 3.0)):
        measured(tmp_path, name, {"x": task([level, level + 0.5], metric=bits)})
    (row,) = compared(tmp_path, "a", "b").rows
    assert row.duel.delta == pytest.approx(0.005 * (1.25 + 3.25) / 2)


def test_delta_is_half_a_percent_of_the_metric_s_range(tmp_path: Path) -> None:
    run = measured(tmp_path, "a", {"x": task([1.0]), "y": task([1.0], metric=metric("bleu", "bleu"))})
    record = run.record()
    assert metric_of(record, "x", "acc").delta == 0.005
    assert metric_of(record, "y", "bleu").delta == 0.5


def test_pandas_users_get_the_same_rows_in_stable_columns(tmp_path: Path) -> None:
    measured(tmp_path, "a", {"x": task(list(A)), "y": task([1.0, 0.0])})
    measured(tmp_path, "b", {"x": task(list(B)), "y": task([1.0, 0.0], version=2)})
    with pytest.warns(UserWarning, match="not compared: a and b on y: task version 1 against 2"):
        frame = benchbench.compare("a", "b", results=tmp_path)
    assert frame.dtypes.astype(str).to_dict() == DUEL_COLUMNS
    row = frame.iloc[0]
    assert (row.verdict, row.right_to_wrong, row.wrong_to_right) == ("better", 5, 15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (known,) = compared(tmp_path, "a", "b").rows
    assert frame.astype(object).where(frame.notna(), None).to_dict("records")[0] == flat(known)
    assert "right_to_wrong" in (benchbench.compare.__doc__ or "")


def test_every_column_is_explained() -> None:
    text = benchbench.compare.__doc__ or ""
    assert [name for name in DUEL_COLUMNS if name not in text] == []

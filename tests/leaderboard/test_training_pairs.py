"""Trainings compared: the same docs, axes, verdicts, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchbench import compare_sweeps
from benchbench.core.errors import ArgumentError, StoreError
from benchbench.leaderboard.chart import picture
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.training_pair import figures
from benchbench.leaderboard.training_pairs import PairOptions, compare_trainings, find_trainings
from tests.cli.command import benchbench
from tests.leaderboard.make import measured, task

DOCS = 600
STEPS = (1000, 2000, 4000, 8000)


def scores(share: float, seed: int = 0) -> list[float]:
    """Right on the easiest `share` of the docs, in an order that all checkpoints share."""
    order = np.random.default_rng(seed).permutation(DOCS)
    return (order < share * DOCS).astype(float).tolist()


def training(root, name, curve, *, steps=STEPS, tokens=None, **changes):
    for step, share in zip(steps, curve, strict=True):
        more = {} if tokens is None else {"tokens_seen": tokens * step}
        made = {"quiz": task(scores(share), **changes), "sums": task(scores(share, 1), **changes)}
        measured(root, f"{name}@step{step}", made, run_id=f"{name}{step}", series=name, step=step, **more)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("two")
    training(place, "slow", (0.30, 0.40, 0.50, 0.60), tokens=10)
    training(place, "fast", (0.45, 0.60, 0.72, 0.80), tokens=10)
    training(place, "late", (0.30, 0.40), steps=(90_000, 99_000))
    training(place, "other", (0.3, 0.4, 0.5, 0.6), data_hash="d2")
    return place


def trainings(root):
    return find_trainings(("slow", "fast"), read_records([root]))


def with_size(runs):
    """The same runs of a model of seven parameters."""
    return tuple(
        replace(run, record=replace(run.record, backend=replace(run.record.backend, num_parameters=7))) for run in runs
    )


def compared(root, *names, **options):
    return compare_trainings(find_trainings(names, read_records([root])), PairOptions(**options))


def test_the_better_training_is_named_with_what_it_saves(root):
    row = next(row for row in compared(root, "slow", "fast").rows if row.task == "quiz")
    assert row.verdict.outcome == "better"
    assert row.verdict.since == 1000
    assert row.verdict.last.value == pytest.approx(0.2)
    assert row.verdict.saved.share == pytest.approx(0.25, abs=0.01), "fast has .60 at 2,000, slow at 8,000"
    assert row.verdict.saved.low < 0.25 < row.verdict.saved.high
    assert "quiz acc: fast is better than slow from step 1k on (+20.00 pp at step 8k" in row.sentence
    assert "fast reaches slow's final score at 25% of slow's steps (95 % CI" in row.sentence


def test_turned_around_it_is_worse_and_the_saving_is_the_same(root):
    row = next(row for row in compared(root, "fast", "slow").rows if row.task == "quiz")
    assert row.verdict.outcome == "worse"
    assert row.verdict.last.value == pytest.approx(-0.2)
    assert "fast reaches slow's final score at 25%" in row.sentence


def test_interpolation_is_marked_and_adds_error(tmp_path):
    training(tmp_path, "slow", (0.30, 0.40, 0.50, 0.60))
    training(tmp_path, "odd", (0.30, 0.50, 0.52, 0.62), steps=(1000, 1500, 3000, 8000))
    row = next(row for row in compared(tmp_path, "slow", "odd").rows if row.task == "quiz")
    assert [(p.place, p.interpolated) for p in row.verdict.points] == [
        (1000, False), (1500, True), (2000, True), (3000, True), (4000, True), (8000, False)
    ]  # fmt: skip
    assert {p.bend for p in row.verdict.points if not p.interpolated} == {0.0}
    assert max(p.bend for p in row.verdict.points) > 0.001


def test_tokens_and_flops_are_axes(root):
    assert compared(root, "slow", "fast", by="tokens").rows[0].pair.a == (10_000, 20_000, 40_000, 80_000)
    row = compared(root, "slow", "fast", by="tokens").rows[0]
    assert "of slow's tokens" in row.sentence
    with pytest.raises(ArgumentError, match="how many parameters slow has is not recorded"):
        compared(root, "slow", "fast", by="flops")
    counted = [(name, [replace(e, runs=with_size(e.runs)) for e in es]) for name, es in trainings(root)]
    assert compare_trainings(counted, PairOptions("flops")).rows[0].pair.a == tuple(6 * 7 * t for t in row.pair.a)


def test_three_trainings_are_three_pairs_and_share_the_error(root):
    training(root, "third", (0.3, 0.4, 0.5, 0.6))
    found = compared(root, "slow", "fast", "third")
    assert {(row.a, row.b) for row in found.rows} == {("slow", "fast"), ("slow", "third"), ("fast", "third")}
    assert {round(row.verdict.level, 6) for row in found.rows} == {round(0.05 / 3 / 2, 6)}, "two tasks, no mean of them"


@pytest.mark.parametrize(
    ("names", "options", "what"),
    [
        (("slow",), {}, "two trainings at least"),
        (("slow", "slow"), {}, "not compared with itself"),
        (("slow", "fats"), {}, "'fats' is no training here; .*Did you mean"),
        (("slow", "late"), {}, "no part of the axis in common: 1,000 to 8,000 and 90,000 to 99,000"),
        (("slow", "other"), {}, "quiz: its docs, prompt, shots or version differ"),
        (("slow", "late"), {"by": "tokens"}, "does not tell how many tokens.*--tokens-per-step"),
        (("slow", "fast"), {"tasks": ("quizz",)}, "share no task 'quizz'"),
        (("slow", "fast"), {"metric": "f1"}, "no f1"),
    ],
)
def test_what_cannot_be_compared_gets_a_sentence(root, names, options, what):
    with pytest.raises((ArgumentError, StoreError), match=what):
        compared(root, *names, **options)


def test_two_checkpoints_are_enough_for_a_large_difference_and_say_what_is_not_known(tmp_path):
    training(tmp_path, "slow", (0.30, 0.40), steps=(1000, 2000))
    training(tmp_path, "fast", (0.60, 0.70), steps=(1000, 2000))
    row = compared(tmp_path, "slow", "fast").rows[0]
    assert row.verdict.outcome == "better"
    assert "Too few checkpoints of slow and fast to tell their noise" in row.sentence


@pytest.mark.slow
def test_command_frame_and_picture(root, tmp_path):
    found = benchbench("sweep", "compare", "slow", "fast", "--json", "--to", tmp_path / "p.svg", "--output", root)
    assert found.returncode == 0, found.stderr
    rows = json.loads(found.stdout)["rows"]
    assert {row["task"] for row in rows} == {"quiz", "sums"}
    assert rows[0]["saved"]["faster"] == "b"
    assert (tmp_path / "p.svg").read_text().count("<polyline") == 6
    text = benchbench("sweep", "compare", "slow", "fast", "--output", root, columns=200)
    assert "fast is better than slow" in text.stdout
    frame = compare_sweeps("slow", "fast", results=root)
    assert len(frame) == 8
    assert set(frame["outcome"]) == {"better"}
    row = compared(root, "slow", "fast").rows[0]
    assert b"difference" in picture(row.panels, ".svg")
    assert figures(row)["points"][-1]["difference"] == pytest.approx(0.2)


def test_bad_input_on_the_command_line_is_a_sentence(root):
    found = benchbench("sweep", "compare", "slow", "fast", "--tokens-per-step", "2x", "--output", root)
    assert found.returncode == 2
    assert "whole numbers above 0 were expected" in found.stderr
    assert "Traceback" not in found.stderr

import json

import numpy as np
import pytest

from tests.cli.command import benchbench

TASKS = ["demo_choice_cs", "demo_choice_fr", "demo_translation", "demo_trivia"]


def items(run, task, metric):
    done = benchbench("results", "items", run, "--task", task, "--json")
    assert done.returncode == 0, done.stderr
    return {row["doc_id"]: row[metric] for row in map(json.loads, done.stdout.splitlines())}


def test_a_short_demo_trains_and_scores_ends_in_curves_and_is_used_again(tmp_path):
    places = ["--out", tmp_path / "runs" / "demo", "--output", tmp_path / "results"]
    done = benchbench("demo", *places, "--steps", 2)
    assert done.returncode == 0, done.stderr
    assert "Training 2 steps in process" in done.stderr
    assert "step 2/2: loss" in (tmp_path / "runs" / "demo" / "training.log").read_text()
    assert "demo  3 checkpoints, step 0 to 2" in done.stdout
    assert all(f"{task} " in done.stdout for task in TASKS)
    assert " ".join(done.stdout.split()).count("(n=62): ") == 2
    assert f"benchbench run --model {tmp_path}/runs/demo/checkpoint-2 --tasks demo" in done.stderr

    again = benchbench("demo", *places, "--steps", 2, "--json")
    assert again.returncode == 0, again.stderr
    assert "already holds the 3 checkpoints" in again.stderr
    value = json.loads(again.stdout)
    assert sorted({curve["task"] for curve in value["curves"]}) == TASKS
    assert all([point["step"] for point in curve["points"]] == [0, 1, 2] for curve in value["curves"])
    assert [verdict["task"] for verdict in value["verdicts"]] == ["4 tasks", *TASKS]

    named = benchbench("run", "--model", tmp_path / "runs" / "demo" / "checkpoint-2", "--tasks", "demo", *places[2:])
    assert "already complete" in named.stderr


def test_no_steps_and_a_foreign_folder_are_sentences(tmp_path):
    none = benchbench("demo", "--out", tmp_path / "demo", "--steps", 0)
    assert none.returncode == 2
    assert "--steps is 0; it must be 1 or more." in none.stderr
    (tmp_path / "notes.txt").write_text("mine")
    foreign = benchbench("demo", "--out", tmp_path, "--steps", 1)
    assert foreign.returncode == 2
    assert "holds something that is no demo" in foreign.stderr
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_the_trained_model_gets_more_right_than_the_untrained_one(tmp_path):
    output = ["--output", tmp_path / "results"]
    demo = benchbench("demo", "--out", tmp_path / "demo", *output, "--json")
    assert demo.returncode == 0, demo.stderr
    outcomes = {verdict["task"]: verdict["outcome"] for verdict in json.loads(demo.stdout)["verdicts"]}
    assert not set(outcomes.values()) & {None, "regressed", "too little data"}
    run = ["run", "--tasks", "demo", *output, "--json", "--model"]
    trained, untrained = (benchbench(*run, tmp_path / "demo" / f"checkpoint-{step}") for step in (600, 0))
    assert trained.returncode == untrained.returncode == 0, trained.stderr + untrained.stderr
    values = [json.loads(done.stdout) for done in (trained, untrained)]
    after, before = ({(row["task"], row["metric"]): row["value"] for row in value["rows"]} for value in values)

    for task in ("demo_choice_cs", "demo_choice_fr"):
        assert after[task, "acc"] >= 0.6
        assert before[task, "acc"] <= 0.45
        assert after[task, "bpb_gold"] < before[task, "bpb_gold"] / 2
    assert after["demo_trivia", "exact_match"] >= 0.5
    assert before["demo_trivia", "exact_match"] == 0
    assert after["demo_translation", "bleu"] >= 40
    assert before["demo_translation", "bleu"] < 5

    for task, metric in (("demo_choice_cs", "acc"), ("demo_choice_fr", "acc"), ("demo_trivia", "exact_match")):
        one, two = (items(value["run"], task, metric) for value in values)
        assert one.keys() == two.keys()
        difference = np.array([one[doc] - two[doc] for doc in sorted(one)])
        assert difference.mean() / (difference.std(ddof=1) / np.sqrt(difference.size)) > 3, task

"""One model under several prompts of a task, from the run folders on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from benchbench.cli.results import app
from benchbench.core.errors import ArgumentError, StoreError
from benchbench.leaderboard.prompts import lines, prompt_tables
from benchbench.runner.run import run
from benchbench.store.find import find_models
from tests.runner.toy import QUIZ, make_world, settings

PROMPTS = {"asked": {"doc_to_text": "{{ question }}"}, "polite": {"doc_to_text": "Prosím, {{ question }}"}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scripted model that was asked the quiz three ways, and the writing task in one."""
    folder = make_world(tmp_path_factory.mktemp("world"), quiz=40)
    file = folder / "tasks" / "toy_quiz.yaml"
    file.write_text(yaml.safe_dump({**QUIZ, "prompts": PROMPTS}, allow_unicode=True), encoding="utf-8")
    for prompt in ("polite", "default", "asked"):
        run(settings(folder, tasks="toy_quiz", prompt=prompt))
    run(settings(folder, tasks="toy_write"))
    return folder


def model(world: Path) -> Any:
    return find_models(["hash"], world / "results")[0]


def test_each_prompt_has_its_row_and_the_best_is_named_with_how_many_it_is_of(world: Path) -> None:
    [table] = prompt_tables(model(world))
    assert (table.task, table.metric, table.n) == ("toy_quiz", "acc", 40)
    rows = list(lines(table))
    assert [row.get("prompt") for row in rows[:3]] == ["default", "asked", "polite"]
    recorded = {
        run.record.settings["prompt"]: row.value
        for run in model(world).runs
        for row in run.record.rows_of("toy_quiz")
        if row.metric == "acc"
    }
    assert {row["prompt"]: row["value"] for row in rows[:3]} == recorded
    mean, best, held_out = rows[3:]
    assert mean["value"] == pytest.approx(sum(recorded.values()) / 3)
    assert (best["what"], best["prompts"], best["value"]) == ("best, optimistic", 3, max(recorded.values()))
    assert best["ci_low"] is None, "an interval would say that it is an estimate"
    assert recorded[best["prompt"]] == best["value"]
    assert held_out["value"] <= best["value"]
    assert held_out["ci_low"] < held_out["value"] < held_out["ci_high"]


def test_the_values_are_those_of_the_stored_items(world: Path) -> None:
    [table] = prompt_tables(model(world))
    assert table.summary is not None
    folders = [run.folder for run in model(world).runs if "toy_quiz" in run.record.tasks]
    means = [sum(float(item.scores["acc"] or 0) for item in folder.items("toy_quiz")) / 40 for folder in folders]
    assert sorted(table.summary.values) == pytest.approx(sorted(means))


def test_runs_on_other_documents_are_no_variants(world: Path, tmp_path: Path) -> None:
    other = make_world(tmp_path, quiz=12)
    file = other / "tasks" / "toy_quiz.yaml"
    file.write_text(yaml.safe_dump({**QUIZ, "prompts": PROMPTS}, allow_unicode=True), encoding="utf-8")
    run(settings(other, tasks="toy_quiz", prompt="asked"))
    run(settings(other, tasks="toy_quiz", limit=5))
    with pytest.raises(StoreError, match="--prompt NAME"):
        prompt_tables(find_models(["hash"], other / "results")[0])


def test_what_does_not_exist_is_named(world: Path) -> None:
    with pytest.raises(ArgumentError, match="no task 'toy_quizz'"):
        prompt_tables(model(world), task="toy_quizz")
    with pytest.raises(ArgumentError, match="it has acc"):
        prompt_tables(model(world), metric="bleu")
    with pytest.raises(StoreError, match="under one prompt only"):
        prompt_tables(model(world), task="toy_write")


def test_the_command_says_what_the_best_is(world: Path) -> None:
    place = ["--output", str(world / "results")]
    done = CliRunner().invoke(app, ["prompts", "hash", *place])
    assert done.exit_code == 0, (done.output, done.exception)
    said = " ".join(done.output.split())
    assert "mean of 3 prompts" in said
    assert "best of 3, optimistic (" in said
    assert "best of 3, chosen on other docs" in said
    assert "not ranked and not comparable" in said
    table = json.loads(CliRunner().invoke(app, ["prompts", "hash", *place, "--json"]).output)
    assert [row["what"] for row in table["rows"]].count("prompt") == 3

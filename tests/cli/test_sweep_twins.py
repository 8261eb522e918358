"""Checkpoints in fewer bits: made by real torchao where it is there, compared from the store, refused in sentences."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from benchbench.backends.models.quantise import quantise
from benchbench.cli.sweep_twins import with_variants
from benchbench.core.errors import ArgumentError, BackendError
from benchbench.core.settings import changed
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.training_pairs import find_trainings
from benchbench.leaderboard.twins import twin_rows
from tests import models
from tests.cli.command import benchbench
from tests.leaderboard.make import measured, task
from tests.runner.sweep.series import on_list
from tests.runner.toy import make_world

STEPS, DOCS = tuple(range(1000, 9000, 1000)), 1000


def training(root, name, losses, seed=0):
    order = np.random.default_rng(seed).permutation(DOCS)
    for step, loss in zip(STEPS, losses, strict=True):
        share = 0.3 + 0.3 * step / STEPS[-1] - loss
        scores = (order < share * DOCS).astype(float).tolist()
        measured(root, f"{name}@step{step}", {"quiz": task(scores)}, run_id=f"{name}{step}", series=name, step=step)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("twins")
    training(place, "run", np.zeros(8))
    training(place, "run+int4", np.linspace(0.0, 0.1, 8))
    training(place, "run+int8", np.full(8, 0.004))
    return place


def test_a_loss_that_grows_is_found_and_one_that_does_not_is_not(root):
    base, *others = find_trainings(["run", "run+int4", "run+int8"], read_records([root]))
    four, eight = twin_rows(base, others)
    assert (four.grows, eight.grows) == (True, False)
    assert four.series.values[-1] == pytest.approx(-0.1)
    assert "run+int4 costs +0.00 pp" in four.sentence
    assert "and −10.00 pp (95 % CI −" in four.sentence
    assert "at 8k: the loss grows (adjusted p = .00" in four.sentence
    assert "no change of the loss is shown" in eight.sentence


@pytest.mark.slow
def test_the_command_finds_the_variants_by_their_names(root, tmp_path):
    done = benchbench("sweep", "twins", "run", "--to", tmp_path / "t.svg", "--output", root, columns=120)
    assert done.returncode == 0, done.stderr
    assert "run+int8" in done.stdout
    assert (tmp_path / "t.svg").exists()
    facts = json.loads(benchbench("sweep", "twins", "run", "--json", "--output", root).stdout)
    assert [one["grows"] for one in facts] == [True, False]
    none = benchbench("sweep", "twins", "run+int8", "--output", root)
    assert none.returncode == 2
    assert "there is no variant of run+int8 here" in none.stderr


def test_variants_are_sweeps_of_their_own_and_others_are_refused(tmp_path):
    (tmp_path / "list.jsonl").write_text("")
    settings = on_list(make_world(tmp_path), tmp_path / "list.jsonl", tmp_path / "results")
    with pytest.raises(ArgumentError, match="'int2' is none of int8, int4"):
        with_variants(settings, "int2")
    with pytest.raises(ArgumentError, match="in the engine hf, not scripted"):
        with_variants(settings, "int8")
    made = with_variants(changed(settings, backend="hf"), "int8,int4,int8")
    assert [one.run.model.model_args for one in made] == [(), (("torchao", "int8"),), (("torchao", "int4"),)]
    assert made[1].name.endswith("+int8")


def test_torchao_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BackendError, match="needs the package torchao: pip install torchao"):
        quantise(None, "int8")


@pytest.mark.slow
def test_real_torchao_rounds_checkpoints_on_the_cpu(tmp_path):
    pytest.importorskip("torchao")
    for step in (10, 20):
        models.tiny_llama(tmp_path / "checkpoints" / f"step-{step}", seed=step)
    world = make_world(tmp_path / "world")
    words = ["--tasks", "toy_quiz", "--include-path", world / "tasks", "--data-root", world / "hub"]
    words += ["--output", tmp_path / "results"]
    done = benchbench("sweep", "--model", tmp_path / "checkpoints", "--variants", "int8,int4", *words)
    assert done.returncode == 0, done.stderr
    facts = json.loads(benchbench("sweep", "twins", "checkpoints", "--json", "--output", tmp_path / "results").stdout)
    assert {one["variant"] for one in facts} == {"checkpoints+int8", "checkpoints+int4"}
    runs = [run for run in read_records([tmp_path / "results"]).entries for run in run.runs]
    assert len({run.record.weights for run in runs}) >= 3, "rounded weights are no twins of the plain ones"

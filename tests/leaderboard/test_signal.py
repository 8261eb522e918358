"""Tasks that tell checkpoints apart are kept, with the docs that a budget gives them, as a suite that loads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import typer

from benchbench.cli.sweep import app
from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.records import read_records
from benchbench.leaderboard.signal import signals, suite_file
from benchbench.stats.allocation import allocate, resolution
from benchbench.stats.series import series_of_items
from benchbench.tasks.index import TaskIndex
from tests.cli.command import benchbench
from tests.leaderboard.make import measured, task

STEPS, DOCS = (1000, 2000, 4000, 6000, 8000), 500


def scores(share, seed):
    rng = np.random.default_rng(seed)
    return (rng.permutation(DOCS) < share * DOCS).astype(float).tolist()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    place = tmp_path_factory.mktemp("signal")
    for k, step in enumerate(STEPS):
        tasks = {"demo_trivia": task(scores(0.2 + 0.13 * k, 1)), "demo_cloze": task(scores(0.25, 100 + k))}
        measured(place, f"run@step{step}", tasks, run_id=f"r{step}", series="run", step=step)
    return place


def test_the_task_that_rises_is_kept_and_the_one_at_chance_is_not(root):
    rows = signals(read_records([root]))
    assert [(row.task, row.is_chosen) for row in rows] == [("demo_trivia", True), ("demo_cloze", False)]
    assert rows[0].ratio > 5
    assert rows[0].monotonicity == 1.0
    assert signals(read_records([root]), 100)[0].share_of_budget == 100


@pytest.mark.slow
def test_the_suite_loads_where_it_was_written(root, tmp_path):
    to = tmp_path / "mine" / "suites.yaml"
    to.parent.mkdir()
    done = benchbench("sweep", "signal", "--to", to, "--budget", 200, "--output", root, columns=120)
    assert done.returncode == 0, done.stderr
    assert "kept" in done.stdout
    assert "--limit 200 --random-docs" in to.read_text()
    assert [one.name for one in TaskIndex([to.parent]).select("signal").tasks] == ["demo_trivia"]
    facts = json.loads(benchbench("sweep", "signal", "--json", "--output", root).stdout)
    assert facts[0]["task"] == "demo_trivia"


def test_docs_are_shared_so_that_the_variance_is_least():
    spreads, totals, weights = [0.5, 0.1, 0.3], [10_000] * 3, [1.0] * 3
    found = np.array(allocate(spreads, totals, weights, 900))
    assert found.tolist() == [500, 100, 300]
    least = (np.square(spreads) / found).sum()
    for a in range(3):
        for b in range(3):
            other = found.astype(float)
            other[a], other[b] = other[a] + 20 * (a != b), other[b] - 20 * (a != b)
            assert (np.square(spreads) / other).sum() >= least - 1e-12


def test_what_a_task_cannot_use_goes_to_the_others():
    assert allocate([0.5, 0.5], [100, 10_000], [1.0, 1.0], 1000) == (100, 900)
    assert allocate([0.5, 0.5], [100, 200], [1.0, 1.0], 1000) == (100, 200)
    with pytest.raises(ValueError, match="1 docs for 2 tasks"):
        allocate([0.5, 0.5], [100, 200], [1.0, 1.0], 1)


def test_few_checkpoints_say_nothing():
    assert resolution(series_of_items([1, 2, 3], [scores(0.5, k) for k in range(3)])) is None


def test_bad_input_gets_a_sentence(root, tmp_path):
    measured(tmp_path, "m@step1", {"quiz": task([1.0, 0.0])}, series="m", step=1)
    with pytest.raises(ArgumentError, match="no training here has four checkpoints"):
        signals(read_records([tmp_path]))
    with pytest.raises(ArgumentError, match="there is no suite to write"):
        suite_file("s", [row for row in signals(read_records([root])) if not row.is_chosen])
    command = typer.main.get_command(app).get_command(None, "signal")
    for words in (("--to", str(tmp_path / "x.yaml")), ("--budget", "0"), ("--name", "a b")):
        with pytest.raises(ArgumentError, match=words[0]):
            command.main(words, standalone_mode=False)

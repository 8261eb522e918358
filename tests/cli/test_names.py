"""One model, one name: however its place is typed, whatever else is called the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import benchbench as package
from tests.cli.command import World, benchbench
from tests.runner.sweep.series import scripted_list


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def table(path: Path, salt: int = 1) -> Path:
    """A scripted model that answers the whole quiz; another salt makes other weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"continuation": f" {n}", "loglikelihood": -1 - (n * salt) % 7} for n in range(1, 37)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def run(world: World, model: object, *more: object) -> str:
    """`run` on the quiz. Returns what is said on stderr."""
    done = world.run(*more, model=f"scripted:{model}", tasks="toy_quiz")
    assert done.returncode == 0, done.stderr
    return done.stderr


def listed(world: World) -> list[dict]:
    return [json.loads(line) for line in world.ask("ls", "--json").stdout.splitlines()]


def test_a_model_has_one_name_however_its_path_is_typed(world: World, tmp_path: Path, monkeypatch) -> None:
    place = table(tmp_path / "models" / "gamma")
    monkeypatch.chdir(tmp_path)
    for typed in ("models/gamma", "./models/gamma", "models/../models/gamma", place):
        run(world, typed)
    monkeypatch.chdir(tmp_path / "models")
    run(world, "../models/gamma")
    runs = package.load_runs(world.results)
    assert set(runs.model) == set(runs.series) == {"gamma"}
    assert len(set(runs.run)) == 1, "the same weights asked the same: one run"
    record = json.loads(next(world.results.rglob("run.json")).read_text())
    assert record["provenance"]["location"] == str(place)
    assert (record["series"], record["step"], record["tokens_seen"]) == ("gamma", None, None)
    assert "checkpoint" not in record


def test_two_models_of_one_name_are_kept_apart_in_every_list(world: World, tmp_path: Path) -> None:
    for i, name in enumerate(("runA", "runB"), 1):
        run(world, table(tmp_path / name / "final", i))
    assert {fact["model"] for fact in listed(world)} == {"runA/final", "runB/final"}
    assert set(package.load_runs(world.results).model) == {"runA/final", "runB/final"}
    done = benchbench("compare", "runA/final", "runB/final", "--output", world.results)
    assert "B = runB/final  against  A = runA/final" in done.stdout, done.stderr
    refused = benchbench("compare", "final", "runB/final", "--output", world.results)
    assert refused.returncode == 2
    assert "'final' fits runs of 2 different weights: final/" in refused.stderr
    assert str(tmp_path / "runA" / "final") in refused.stderr


def test_the_same_weights_under_two_names_are_told(world: World, tmp_path: Path) -> None:
    run(world, table(tmp_path / "one"))
    assert "note" not in world.ask("ls").stdout.splitlines()[0]
    run(world, tmp_path / "one", "--name", "best")
    facts = {fact["model"]: fact["note"] for fact in listed(world)}
    assert facts == {"one": "same weights as best", "best": "same weights as one"}
    assert world.ask("ls").stdout.splitlines()[0].split()[-1] == "note"
    assert "same weights as best" in " ".join(benchbench("results", "ls", world.results, columns=200).stdout.split())


def test_a_model_is_called_as_the_user_says(world: World, tmp_path: Path) -> None:
    place = table(tmp_path / "run" / "checkpoint-500")
    run(world, place, "--name", "my mix")
    (row,) = package.load_runs(world.results)[lambda f: f.metric == "acc"].itertuples()
    assert (row.model, row.series, row.step) == ("my mix", "my mix", 500)
    assert "already complete" in run(world, place, "--name", "my mix")
    table(tmp_path / "other", 2)
    done = world.run("--name", "my mix", model=f"scripted:{tmp_path / 'other'}", tasks="toy_quiz")
    assert done.returncode == 2
    assert "--name 'my mix' already stands for other weights in" in done.stderr
    assert str(place) in done.stderr
    for empty in ("", "  "):
        done = world.run("--name", empty)
        assert (done.returncode, "--name is empty" in done.stderr) == (2, True)


class Sweeps(World):
    def sweep(self, *more: object) -> str:
        """`sweep` on the quiz. Returns what is said on stdout."""
        usual = ("--tasks", "toy_quiz", "--include-path", self.path / "tasks", "--data-root", self.path / "hub")
        done = benchbench("sweep", "--backend", "scripted", *usual, "--output", self.results, *more)
        assert done.returncode == 0, done.stderr
        return done.stdout


def test_a_series_is_called_as_the_user_says(tmp_path: Path) -> None:
    world, checkpoints = Sweeps(tmp_path), scripted_list(tmp_path, 2)
    said = world.sweep("--checkpoints", checkpoints, "--name", "mix")
    assert said.startswith("mix  2 checkpoints, step 10 to 20")
    assert world.sweep("--checkpoints", checkpoints, "--name", "mix").startswith("mix  2"), "it goes on"
    assert set(package.load_runs(world.results).model) == {"mix@step10", "mix@step20"}
    other = tmp_path / "other.jsonl"
    other.write_text('{"step": 30, "path": "hash,salt=99"}\n')
    done = benchbench("sweep", "--backend", "scripted", "--checkpoints", other, "--name", "mix", "--tasks", "toy_quiz",
                      "--include-path", world.path / "tasks", "--output", world.results)  # fmt: skip
    assert done.returncode == 2
    assert "--name 'mix' already stands for a training that lies elsewhere" in done.stderr
    done = world.run("--name", "mix", tasks="toy_quiz")
    assert "--name 'mix' already stands for a series of checkpoints" in done.stderr
    several = benchbench("sweep", "-m", "a", "-m", "b", "--name", "mix")
    assert "--name names one series, but there are several --model" in several.stderr


def test_checkpoints_that_tell_tokens_alone_are_ordered_by_tokens_and_it_is_said(tmp_path: Path) -> None:
    world = Sweeps(tmp_path)
    lines = [{"tokens": n * 10**9, "path": f"hash,salt={n}"} for n in (300, 100)]
    (tmp_path / "viking.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = world.sweep("--checkpoints", tmp_path / "viking.jsonl").splitlines()[0]
    assert said == "viking  2 checkpoints, 100 to 300 billion tokens; ordered by tokens, for their names tell no steps"
    shown = json.loads(benchbench("sweep", "show", "--json", "--output", world.results).stdout)
    points = shown["curves"][0]["points"]
    assert [(point["step"], point["tokens_seen"]) for point in points] == [(None, 100 * 10**9), (None, 300 * 10**9)]
    assert Path(points[0]["run"]).parent.name == "viking@tokens100000000000"

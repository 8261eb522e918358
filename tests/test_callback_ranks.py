"""The callback in trainings of several processes: real torchrun, real Trainer, gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import benchbench
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.session import CheckpointFinished
from tests import models
from tests.runner.sweep.series import impatient, on_folder, separate_run
from tests.runner.toy import make_world, part_bytes

pytestmark = pytest.mark.slow
REPO = Path(__file__).resolve().parent.parent
LIMIT = 300
"""Seconds; a training whose processes wait for each other for ever would take more."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return models.tiny_llama(tmp_path_factory.mktemp("start") / "model", bos=False)


def launch(world, start, folder, *, processes=2, **job):
    """The training's output, and its exit code."""
    folder.mkdir(parents=True)
    given = {"world": str(world), "start": str(start), "folder": str(folder / "tiny"), **job}
    given.setdefault("results", str(folder / "results"))
    (folder / "job.json").write_text(json.dumps(given))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*command, "-m", "tests.ranks", str(folder / "job.json")],
        check=False,
        cwd=REPO,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    return done.stdout + done.stderr, done.returncode


def told(folder, rank=0):
    return json.loads((folder / "tiny" / f"told-{rank}.json").read_text())


def trained(world, start, folder, **job):
    text, code = launch(world, start, folder, **job)
    assert code == 0, text[-4000:]
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["whole in each", "spread by FSDP"])
def pair(request, world, start, tmp_path_factory):
    """The same training without the callback and with it."""
    folder = tmp_path_factory.mktemp("pair")
    alone = trained(world, start, folder / "alone", fsdp=request.param)
    both = trained(world, start, folder / "both", fsdp=request.param, callback={"every": 2})
    return alone, both


def test_final_weights_and_random_states_are_those_of_a_training_without_it(pair):
    alone, both = pair
    one, other = (torch.load(folder / "tiny" / "last.pt") for folder in pair)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    for rank in (0, 1):
        assert told(alone, rank)["random"] == told(both, rank)["random"]
        assert told(alone, rank)["modes"] == told(both, rank)["modes"]
        assert told(alone, rank)["spread"] == told(both, rank)["spread"]


def test_each_step_is_scored_once_and_every_process_logs_it(pair):
    _, both = pair
    rows = benchbench.load_runs(both / "results")
    assert sorted(set(rows.step)) == [2, 4]
    assert len(json.loads((both / "tiny" / "scored.json").read_text())) == 2
    assert [entry["step"] for entry in told(both)["log"]] == [2, 4]
    assert told(both)["log"] == told(both, 1)["log"]
    assert told(both)["warnings"] == []


def test_it_scores_as_a_run_of_the_saved_checkpoint_does(world, pair, tmp_path):
    _, both = pair
    settings = on_folder(world, both / "tiny", tmp_path)
    paths = json.loads((both / "tiny" / "scored.json").read_text())
    assert len(paths) == 2
    for path in map(Path, paths):
        record = json.loads((path / "run.json").read_text())
        alone = separate_run(settings, str(both / "tiny" / f"checkpoint-{record['step']}"), tmp_path)
        assert alone.path.name == path.name
        assert part_bytes(alone.path) == part_bytes(path)


def test_a_process_beside_scores_what_the_training_saves(world, start, pair, tmp_path):
    alone, _ = pair
    spread = told(alone)["spread"]
    folder = trained(world, start, tmp_path / "run", fsdp=spread, callback={"every": 2, "blocking": False})
    one, other = (torch.load(path / "tiny" / "last.pt") for path in (alone, folder))
    assert all(torch.equal(one[name], other[name]) for name in one)
    scored = [Path(path) for path in json.loads((folder / "tiny" / "scored.json").read_text())]
    assert [json.loads((path / "run.json").read_text())["step"] for path in scored] == [2, 4]
    seen = []
    sweep(on_folder(world, folder / "tiny", folder / "results"), on_event=seen.append, readiness=impatient())
    finished = [event.result for event in seen if isinstance(event, CheckpointFinished)]
    assert {one.path for one in finished} == set(scored)
    assert all(one.already_complete for one in finished)
    (said,) = told(folder)["warnings"]
    assert "goes on with step" in said
    assert "benchbench sweep resume" in said
    assert told(folder, 1)["warnings"] == []


def test_what_fails_in_the_first_process_is_a_sentence_and_the_training_goes_on(world, start, tmp_path):
    (tmp_path / "file").write_text("a file, not a folder")
    job = {"callback": {"every": 2}, "results": str(tmp_path / "file")}
    folder = trained(world, start, tmp_path / "run", **job)
    assert [text.partition(":")[0] for text in told(folder)["warnings"]] == [
        "step 2 was not scored",
        "step 4 was not scored",
    ]
    assert told(folder, 1)["warnings"] == []


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"callback": {"every": 2}, "tasks": "no_such_task"}, "no_such_task"),
        ({"callback": {"every": 2}, "fault": "crash"}, "ZeroDivisionError"),
    ],
    ids=["a wrong name", "a fault of ours"],
)
def test_what_ends_the_training_ends_all_of_its_processes(world, start, tmp_path, job, said):
    text, code = launch(world, start, tmp_path / "run", **job)
    assert code != 0
    assert said in text
    assert not (tmp_path / "run" / "tiny" / "told-1.json").exists()

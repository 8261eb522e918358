"""The process beside a training: what it is asked, and what is said of what it has not done."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchbench.core.errors import BackendError
from benchbench.runner.record import now
from benchbench.runner.settings import to_json
from benchbench.runner.sweep import beside as place
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.beside import LIST, LOG, Beside, training_goes_on
from tests.runner.sweep.series import base, impatient, mpt_series
from tests.runner.toy import make_world


class Process:
    """Stands for the one that scores."""

    pid = 4711

    def __init__(self, code=None):
        self.stdin, self.code = io.BytesIO(), code

    def poll(self):
        return self.code

    def wait(self):
        return 0


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    return mpt_series(tmp_path_factory.mktemp("runs") / "tiny", (2, 4))


@pytest.fixture
def begun(world, training, tmp_path, monkeypatch):
    """Beside a training whose two checkpoints are there; the process is `Process`."""
    monkeypatch.setattr(Beside, "_begin", lambda self: Process())
    found = Beside.of(base(world, tmp_path / "results", tasks="toy_quiz"), training, step=0)
    for step in (2, 4):
        found.wanted.add(step)
        found.add(step, training / f"checkpoint-{step}", 1000 * step)
    return found


def test_what_is_listed_is_what_a_sweep_of_the_list_scores(begun, training):
    lines = [json.loads(line) for line in (training / LIST).read_text().splitlines()]
    assert lines == [
        {"step": step, "path": str(training / f"checkpoint-{step}"), "tokens": 1000 * step} for step in (2, 4)
    ]
    assert begun.unscored() == [2, 4]
    asked = begun.folder.settings()
    assert (asked.watch, asked.listed, asked.task_groups) == (True, training / LIST, ("toy_quiz",))
    result = sweep(asked, keep_watching=lambda: False, readiness=impatient())
    assert [done.step for done in result.done] == [2, 4]
    assert {done.series for done in result.done} == {"tiny"}
    assert begun.unscored() == []
    assert begun.leave() is None
    assert [one.record.step for one in begun.wait()] == [2, 4]
    assert begun.folder.settings().until == 4


def test_the_end_of_a_training_says_what_is_not_scored_and_how_to_go_on(begun):
    begun.wanted.add(6)
    text = begun.leave()
    assert text.startswith(
        "Not scored yet: steps 2, 4, 6. The training did not save step 6. Process 4711 goes on with "
    )
    assert f"`benchbench sweep resume {begun.folder.path.name} --results {begun.folder.output}`" in text
    assert begun._process.stdin.closed


def test_what_the_training_deleted_is_named(begun, training, tmp_path):
    begun.asked[2] = (tmp_path / "gone", now())
    assert "It has deleted step 2 already: a larger save_total_limit keeps it longer." in begun.leave()


def test_a_process_that_has_ended_is_told_in_its_own_words(begun, training):
    begun._process = Process(code=1)
    (begun.folder.path / LOG).write_text("starting\nno room on cuda:7.\n")
    with pytest.raises(BackendError, match=r"has ended \(no room on cuda:7\); `benchbench sweep resume tiny-"):
        begun.add(4, training / "checkpoint-4", None)
    assert "The process that scores has ended (no room on cuda:7)" in begun.leave()


def test_a_training_begun_anew_forgets_what_another_listed_and_one_that_goes_on_does_not(begun, world, training):
    again = Beside.of(begun.settings.run, training, step=2)
    assert [json.loads(line)["step"] for line in (training / LIST).read_text().splitlines()] == [2]
    assert again.unscored() == []
    Beside.of(begun.settings.run, training, step=0)
    assert (training / LIST).read_text() == ""


def test_scores_of_an_earlier_training_in_the_folder_do_not_count(begun, training, monkeypatch):
    sweep(begun.folder.settings(), keep_watching=lambda: False, readiness=impatient())
    monkeypatch.setattr(place, "now", lambda: "2999-01-01T00:00:00+00:00")
    begun.add(4, training / "checkpoint-4", None)
    assert begun.unscored() == [4]


def test_the_process_is_none_of_those_that_train(world, training, tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "TORCHELASTIC_RUN_ID", "ACCELERATE_USE_FSDP", "FSDP_VERSION"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("MODEL_CACHE", "here")
    seen = {}
    monkeypatch.setattr(subprocess, "Popen", lambda command, **given: seen.update(given, command=command) or Process())
    found = Beside.of(base(world, tmp_path / "results", tasks="toy_quiz"), training, step=0)
    found.add(2, training / "checkpoint-2", None)
    assert not {"RANK", "WORLD_SIZE", "MASTER_ADDR"} & seen["env"].keys()
    assert not [name for name in seen["env"] if name.startswith(("TORCHELASTIC_", "ACCELERATE_", "FSDP_"))]
    assert seen["env"]["MODEL_CACHE"] == "here"
    assert seen["command"][1:] == ["-m", "benchbench", "sweep", "beside", str(found.folder.path)]
    assert to_json(found.folder.settings()) == to_json(found.settings)


def test_it_goes_on_as_long_as_the_other_end_of_its_input_is_held(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(read) as held:
        monkeypatch.setattr(sys, "stdin", held)
        assert training_goes_on()
        os.close(write)
        assert not training_goes_on()


def test_a_relative_folder_is_written_down_as_it_is_reached_from_anywhere(world, training, tmp_path, monkeypatch):
    monkeypatch.chdir(training.parent)
    found = Beside.of(base(world, tmp_path / "results", tasks="toy_quiz"), Path("tiny"), step=0)
    assert found.settings.listed == training / LIST

"""What takes minutes: kills, a training that writes while we watch, and a real training in two formats."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from benchbench.backends.engines import ModelOptions
from benchbench.cli.sweep_view import trainings_of
from benchbench.extensions.demo.training import DemoSettings, train
from benchbench.runner.checkpoint import Readiness
from benchbench.runner.settings import RunSettings, SweepSettings
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.session import CheckpointFinished, CheckpointSkipped, CheckpointStarted
from benchbench.store.find import find_sweep
from benchbench.tasks.settings import RenderSettings
from tests import models
from tests.composer import composer_file
from tests.conftest import REPO
from tests.runner.sweep.series import impatient, on_folder, on_list, results, scripted_list, separate_run
from tests.runner.toy import QUIZ, comparable, make_world, part_bytes

pytestmark = pytest.mark.slow
KILLS = 20


def test_twenty_kills_at_random_moments_change_nothing(tmp_path):
    """Each process is killed a random while after it has begun to write; the last is let through."""
    world = make_world(tmp_path / "world", quiz=30, write=12)
    listed = scripted_list(tmp_path, 8, delay=0.02)
    settings = on_list(world, listed, tmp_path / "whole")
    expected = results(sweep(settings, readiness=impatient()).folder)
    output, rng, moments = tmp_path / "killed", random.Random(5), []
    command = [sys.executable, "-m", "tests.runner.sweep.killed", str(world), str(listed), str(output)]
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    while len(moments) < KILLS:
        before = bytes_in(output)
        process = subprocess.Popen(command, env=environment, cwd=REPO)
        while process.poll() is None and bytes_in(output) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.8))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            moments.append(bytes_in(output))
        process.wait()
        if process.returncode == 0:  # it got through: begin anew, kills are still to come
            assert results_in(output) == expected
            shutil.rmtree(output)
    assert len(set(moments)) > KILLS / 2, "the kills fell on different moments"
    assert subprocess.run(command, env=environment, cwd=REPO, check=False).returncode == 0
    assert results_in(output) == expected
    assert not list(output.rglob("*.tmp"))


def bytes_in(folder):
    """Size of everything that was written so far."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def results_in(output):
    return results(find_sweep("latest", output))


def write_slowly(source: Path, target: Path, seconds: float) -> None:
    """As a training writes: file after file, the weights in pieces, the trainer's state last."""
    target.mkdir(parents=True)
    names = sorted((path.name for path in source.iterdir()), key=lambda name: name == "trainer_state.json")
    for name in names:
        data = (source / name).read_bytes()
        with (target / name).open("wb") as file:
            for start in range(0, len(data), max(1, len(data) // 5)):
                file.write(data[start : start + max(1, len(data) // 5)])
                file.flush()
                time.sleep(seconds / len(names) / 5)


def test_a_watch_beside_a_slow_writer_scores_every_checkpoint_once_and_whole(tmp_path):
    world = make_world(tmp_path / "world")
    ready, run = tmp_path / "ready", tmp_path / "csmpt"
    steps = (1, 2, 3, 4, 5, 6, 7, 8)
    for step in steps:
        path = models.tiny_mpt(ready / f"checkpoint-{step}", seed=step)
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "num_input_tokens_seen": step}))

    def training():
        for step in steps:
            write_slowly(ready / f"checkpoint-{step}", run / f"checkpoint-{step}", seconds=1.5)

    writer = threading.Thread(target=training)
    seen = []
    settings = on_folder(world, run, tmp_path / "results", watch=True, poll=0.1, until=8, order="newest")
    writer.start()
    result = sweep(settings, on_event=seen.append, readiness=Readiness(settle=1.0))
    writer.join()
    finished = [event.checkpoint.step for event in seen if isinstance(event, CheckpointFinished)]
    assert sorted(finished) == list(steps)
    assert not [event for event in seen if isinstance(event, CheckpointSkipped)]
    swept = results(result.folder)
    for step in steps:
        alone = separate_run(settings, str(ready / f"checkpoint-{step}"), tmp_path / "alone")
        record, theirs = comparable(alone.record), swept[step][0]
        for one in (record, theirs):
            one |= {"model": "", "series": "", "rows": [{**row, "model": ""} for row in one["rows"]]}
            one["settings"] = {**one["settings"], "model": ""}
            one["backend"] = {**one["backend"], "model": ""}
        assert theirs == record
        assert swept[step][1] == part_bytes(alone.path)


def test_a_watch_beside_a_live_training_scores_every_checkpoint_once_and_whole(tmp_path):
    """A process trains and saves slowly, as onto a slow disk; we sweep while it does, and again when it has ended."""
    run, log, steps = tmp_path / "tiny", tmp_path / "log.jsonl", 8
    command = [sys.executable, "-m", "tests.runner.sweep.slow_training", str(run), str(steps), "1.5"]
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    settings = SweepSettings(
        RunSettings(ModelOptions(""), output=tmp_path / "live", render=RenderSettings(limit=6)),
        (str(run),),
        ("demo_choice_cs,demo_trivia",),
        order="oldest",
        watch=True,
        poll=0.1,
        until=steps,
    )
    seen = []

    def note(event):
        if isinstance(event, CheckpointStarted | CheckpointFinished | CheckpointSkipped):
            seen.append((time.time(), training.poll() is None, event))

    with log.open("wb") as file:
        run.mkdir()
        training = subprocess.Popen(command, env=environment, cwd=REPO, stdout=file, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: any(run.glob("checkpoint-*")), training)
            live = sweep(settings, on_event=note, readiness=Readiness())
            training.wait(600)
        finally:
            training.kill()
    assert training.returncode == 0, log.read_text()
    whole = {one["step"]: one["whole"] for one in map(json.loads, log.read_text().splitlines())}
    assert list(whole) == list(range(steps + 1))
    assert not [event for _, _, event in seen if isinstance(event, CheckpointSkipped)]
    finished = [(alive, event.checkpoint.step) for _, alive, event in seen if isinstance(event, CheckpointFinished)]
    assert sorted(step for _, step in finished) == list(whole)
    started = [(when, event.checkpoint.step) for when, _, event in seen if isinstance(event, CheckpointStarted)]
    assert [step for when, step in started if when < whole[step]] == [], "begun before its last file was written"
    assert any(alive for alive, _ in finished), "the training went on while we scored"
    after = replace(settings, run=replace(settings.run, output=tmp_path / "after"), watch=False, until=None)
    assert results(live.folder) == results(sweep(after, readiness=impatient()).folder)


def wait_for(there, process):
    """Until something is there; not if the process that is to make it ends before."""
    while not there():
        assert process.poll() is None, "the training ended early"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A tiny MPT trained for real: eight checkpoints after the untrained one, every second one in Composer's format."""
    folder = tmp_path_factory.mktemp("trained")
    settings = DemoSettings(steps=120, saves=8)
    paths = train(settings, folder / "hf", on_progress=lambda progress: None).checkpoints
    run = folder / "tinympt"
    for number, path in enumerate(paths):
        step = int(path.name.partition("-")[2])
        if number % 2:
            tokens = step * settings.tokens_per_step
            composer_file(path, run / f"ep0-ba{step}-rank0.pt", batch=step, tokens=tokens)
        else:
            shutil.copytree(path, run / path.name)
    return run, paths


def demo_settings(run, output, tokenizer, **changes):
    options = ModelOptions("", tokenizer=str(tokenizer))
    settings = RunSettings(options, output=output, render=RenderSettings(limit=20))
    return SweepSettings(settings, (str(run),), ("demo",), **changes)


def test_half_transformers_half_composer_gives_what_separate_runs_give(trained, tmp_path):
    run, paths = trained
    settings = demo_settings(run, tmp_path / "results", paths[0])
    done = sweep(settings, readiness=impatient()).done
    assert [one.step for one in done] == [0, 15, 30, 45, 60, 75, 90, 105, 120]
    assert [one.tokens_seen for one in done] == [1024 * one.step for one in done]
    assert len({one.target.endswith(".pt") for one in done}) == 2
    swept = {one.step: one for one in done}
    for path in sorted(run.iterdir()):
        alone = separate_run(settings, str(path), tmp_path / "alone")
        one = swept[alone.record.step]
        theirs = json.loads((tmp_path / "results" / one.run / "run.json").read_bytes())
        assert comparable(theirs) == comparable(alone.record)
        assert part_bytes(tmp_path / "results" / one.run) == part_bytes(alone.path)


def test_a_composer_file_is_the_same_run_as_its_conversion(trained, tmp_path):
    run, paths = trained
    settings = demo_settings(run, tmp_path / "results", paths[0])
    file = next(path for path in sorted(run.iterdir()) if path.suffix == ".pt")
    step = int(file.name.split("-")[1].removeprefix("ba"))
    converted = next(path for path in paths if path.name == f"checkpoint-{step}")
    one, two = (separate_run(settings, str(path), tmp_path / "results") for path in (file, converted))
    assert one.record.run_id == two.record.run_id
    assert two.record.provenance.reused == two.record.work.docs


def test_the_curve_ends_in_a_verdict_per_task(trained, tmp_path):
    run, paths = trained
    folder = sweep(demo_settings(run, tmp_path / "results", paths[0]), readiness=impatient()).folder
    (found,) = trainings_of(folder)
    assert found.main_curves
    steps = (0, 15, 30, 45, 60, 75, 90, 105, 120)
    assert all(curve.verdict is not None and curve.verdict.steps == steps for curve in found.main_curves)
    assert found.smooth
    outcomes = {curve.verdict.outcome for curve in found.smooth.values()}
    assert outcomes <= {"improving", "no detectable improvement"}


def test_a_later_checkpoint_answers_ten_times_sooner_than_a_fresh_lm_eval_process(trained, tmp_path):
    """From weights loaded to first answer, against process start to first answer, on the same docs."""
    run, paths = trained
    world = make_world(tmp_path / "world", quiz=100)
    options = ModelOptions("", tokenizer=str(paths[0]))
    settings = on_folder(world, run, tmp_path / "results", task_groups=("toy_quiz",))
    settings = replace(settings, run=replace(settings.run, model=options))
    done = sweep(settings, readiness=impatient()).done
    later = sorted(one.timing["first"] for one in done if one.step != 120)
    raw = {**QUIZ, "dataset_path": "json", "metadata": {"version": 1}}
    raw["dataset_kwargs"] = {"data_files": {"test": str(world / "hub/toy/quiz/default/test.jsonl")}}
    tasks = tmp_path / "lm_eval"
    tasks.mkdir()
    for name in ("version", "group", "training_split"):
        raw.pop(name)
    (tasks / "toy_quiz.yaml").write_text(yaml.safe_dump(raw))
    fresh = []
    for _ in range(2):
        ended = subprocess.run(
            [sys.executable, "-m", "tests.runner.sweep.fresh_lm_eval", str(paths[0]), str(tasks), str(time.time())],
            env={**os.environ, "PYTHONPATH": str(REPO)},
            cwd=REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-2000:]
        fresh.append(float(ended.stdout.splitlines()[-1]))
    print(f"first answer: lm-eval {min(fresh):.2f} s, later checkpoints {later[0]:.3f} to {later[-1]:.3f} s")
    # The least on both sides: what a machine busy with something else adds says nothing about either.
    assert later[0] * 10 <= min(fresh)

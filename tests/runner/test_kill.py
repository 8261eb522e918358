"""kill -9 at any moment, the same command again: the results are the same bytes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchbench.store.folder import RunFolder
from tests.conftest import REPO
from tests.runner.toy import comparable, make_world, part_bytes

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}
SECONDS = 0.6
"""How long the run itself takes, start-up apart: 132 requests, four at a time."""


def command(world: Path, output: Path, delay: float = 0.015) -> list[str]:
    options = {
        "--model": f"scripted:hash,delay={delay}",
        "--tasks": "toy",
        "--include-path": world / "tasks",
        "--data-root": world / "hub",
        "--output": output,
    }
    return [sys.executable, "-m", "benchbench", "run", *[str(part) for pair in options.items() for part in pair]]


def start(world: Path, output: Path, delay: float = 0.015) -> "subprocess.Popen[bytes]":
    # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command(world, output, delay),
        env=ENV,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=restore,  # noqa: PLW1509
    )


def finish(world: Path, output: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    done = subprocess.run(command(world, output), env=ENV, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    (path,) = [found.parent for found in output.glob("*/*/plan.json")]
    return part_bytes(path), comparable(RunFolder(path).record())


def kill_in_the_middle(world: Path, output: Path, rng: random.Random) -> bool:
    """Kills a run at a random moment after it has written its plan; False if it got through before."""
    process = start(world, output)
    deadline = time.monotonic() + 600
    while not list(output.glob("*/*/.lock")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(rng.uniform(0, SECONDS * 1.2))
    process.kill()
    process.communicate()
    return process.returncode == -signal.SIGKILL


def check_kills(world: Path, kills: int, seed: int) -> None:
    make_world(world, quiz=38, write=18)
    expected = finish(world, world / "whole")
    rng, done, round_ = random.Random(seed), 0, 0
    while done < kills:
        round_ += 1
        output = world / f"killed{round_}"
        for _ in range(rng.choice([1, 1, 2, 3])):
            if not kill_in_the_middle(world, output, rng):
                break
            done += 1
        assert finish(world, output) == expected
    assert round_ > 1


def test_six_kills_at_random_moments_change_nothing(tmp_path):
    check_kills(tmp_path, 6, seed=1)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_nothing(tmp_path):
    check_kills(tmp_path, 50, seed=2)


def check_calls(world: Path, first: int, step: int) -> int:
    make_world(world)
    arguments = [sys.executable, "-m", "tests.runner.crash", str(world), str(first), str(step)]
    done = subprocess.run(arguments, env=ENV, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(kill["killed"] for kill in kills), done.stderr
    assert [kill["call"] for kill in kills if not kill["same"]] == [], done.stderr
    return len(kills)


def test_a_kill_at_every_seventh_system_call_changes_nothing(tmp_path):
    assert check_calls(tmp_path, 3, 7) >= 5


@pytest.mark.slow
def test_a_kill_at_every_third_system_call_changes_nothing(tmp_path):
    """At any: `python -m tests.runner.crash FOLDER 1 1`."""
    assert check_calls(tmp_path, 1, 3) >= 13


def test_a_second_process_on_the_same_run_says_who_holds_it_and_the_first_goes_on(tmp_path):
    world = make_world(tmp_path, quiz=60)
    output = world / "results"
    first = start(world, output)
    while not list(output.glob("*/*/items/*/live.jsonl")):
        assert first.poll() is None
        time.sleep(0.005)
    first.send_signal(signal.SIGSTOP)  # it must not be through before the second has looked
    second = subprocess.run(command(world, output), env=ENV, capture_output=True, text=True, check=False)
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate()
    assert second.returncode == 2, second.stderr
    assert f"is being written by process {first.pid} on" in second.stderr
    assert "Traceback" not in second.stderr
    assert first.returncode == 0, said.decode()


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path):
    world = make_world(tmp_path, quiz=60)
    process = start(world, world / "results", delay=0.3)
    while not list((world / "results").glob("*/*/items/*/live.jsonl")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert b"Stopped. The same command goes on from here." in said
    assert b"Traceback" not in said
    assert not list((world / "results").glob("*/*/.lock"))

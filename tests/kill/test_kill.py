"""Whatever stops a command, the same one comes to the same files. More of each: `python -m tests.kill`."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.kill.rounds import strays
from tests.kill.works import SCRIPTED, run_of
from tests.runner.toy import make_world

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}
BENCHBENCH = [sys.executable, "-m", "benchbench"]


PARTS = (
    "moments:engine", "moments:score", "moments:pull", "calls:score", "calls:pull", "clock:run", "clock:pull",
    "memory:run", "memory:score",
)  # fmt: skip


def told(*options: str) -> list[dict]:
    """What `python -m tests.kill` says, a line for each folder."""
    command = [sys.executable, "-m", "tests.kill", *options]
    done = subprocess.run(command, env=ENV, cwd=REPO, capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr[-4000:]
    assert [line for line in lines if line["wrong"]] == []
    assert done.returncode == 0, done.stderr[-4000:]
    return lines


@pytest.mark.slow
def test_whatever_stops_a_command_it_goes_on_to_the_same_bytes() -> None:
    """Kills in the middle of a batch, of a score and of a pull; a clock that goes back by a year; too little memory."""
    lines = told(*PARTS, "--kills", "3", "--step", "8")
    hit = Counter(f"{line['kind']}:{line['work']}" for line in lines for said in line["killed"] if said[-3:] != ": 0")
    assert {part for part in PARTS if not hit[part]} == set()


@pytest.mark.slow
def test_a_killed_build_leaves_the_old_site_or_the_new_one_and_the_next_is_whole() -> None:
    assert len(told("calls:leaderboard", "--step", "6")) >= 3


def start(world: Path, output: Path, *before: str) -> subprocess.Popen[str]:
    command = [*before, *BENCHBENCH, *run_of("scripted:hash,delay=0.02")(world, output)]
    # A shell starts background jobs with Ctrl-C ignored, and children inherit that.
    restore = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        command,
        env=ENV,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore,  # noqa: PLW1509
    )


def finished(world: Path, output: Path) -> dict:
    process = start(world, output)
    _, said = process.communicate()
    assert process.returncode == 0, said
    assert strays(output) == []
    return SCRIPTED.seen(output)


@pytest.mark.slow
def test_a_kill_while_python_starts_leaves_nothing(tmp_path: Path) -> None:
    """With each signal; its moment lies between the start of the process and its first file."""
    make_world(tmp_path)
    began = time.monotonic()
    expected = finished(tmp_path, tmp_path / "whole")
    seconds, rng, killed = time.monotonic() - began, random.Random(1), []
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP) * 4:
        process = start(tmp_path, tmp_path / "killed")
        time.sleep(rng.uniform(0, 0.7 * seconds))
        process.send_signal(number)
        process.communicate()
        killed.append(process.returncode)
        if process.returncode == 0:  # the machine is faster than when it was timed
            seconds *= 0.8
    assert sum(code != 0 for code in killed) >= 6, killed
    assert finished(tmp_path, tmp_path / "killed") == expected


def can_be_another_host() -> bool:
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--uts", "sh", "-c", "hostname another-host"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
def test_a_process_of_another_host_holds_the_run_until_it_is_killed(tmp_path: Path) -> None:
    if not can_be_another_host():
        pytest.skip("needs root and util-linux: unshare --uts sh -c 'hostname another-host'")
    make_world(tmp_path)
    elsewhere = ("unshare", "--uts", "sh", "-c", 'hostname another-host && exec "$@"', "sh")
    expected, output = finished(tmp_path, tmp_path / "whole"), tmp_path / "shared"
    first = start(tmp_path, output, *elsewhere)
    while not list(output.glob("*/*/items/*/live.jsonl")):
        assert first.poll() is None, first.communicate()
        time.sleep(0.002)
    first.send_signal(signal.SIGSTOP)  # it must not be through before the second has looked
    second = start(tmp_path, output)
    _, said = second.communicate()
    assert second.returncode == 2
    assert f"is being written by process {first.pid} on another-host, since " in said
    first.kill()
    first.communicate()
    (lock,) = output.glob("*/*/.lock")
    assert "another-host" in lock.read_text(encoding="utf-8")
    assert finished(tmp_path, output) == expected

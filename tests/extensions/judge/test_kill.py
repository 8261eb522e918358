"""The kernel stops the command in the middle of judging: the same command comes to the same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import REPO
from tests.extensions.judge.world import finished, lines, world

pytestmark = pytest.mark.slow


def command(folder: Path, *words: str) -> list[str]:
    place = ["--include-path", str(folder / "tasks"), "--data-root", str(folder / "hub")]
    return [sys.executable, "-m", "benchbench", *words, *place, "--output", str(folder / "results"), "--json"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])}


def killed(line: list[str], folder: Path, after: int) -> None:
    """Starts the command and kills it when so many judgements are kept."""
    running = subprocess.Popen(line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while running.poll() is None and time.monotonic() < until:
        kept = sum(len(log.read_bytes().splitlines()) for log in folder.glob("results/judgements/*/judgements.jsonl"))
        if kept >= after:
            running.send_signal(signal.SIGKILL)
            break
        time.sleep(0.01)
    assert running.wait(60) == -signal.SIGKILL


def done(line: list[str]) -> dict[str, object]:
    found = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    value: dict[str, object] = json.loads(found.stdout)
    return value


@pytest.mark.parametrize("verb", ["score", "arena"])
def test_kills_in_mid_judging_change_nothing(tmp_path, verb):
    folders = [world(tmp_path / name, docs=60) for name in ("whole", "killed")]
    judge = lines(tmp_path / "judge.jsonl", {"text": "[[7]]" if verb == "score" else "[[C]]"})
    words = ["score", "latest", "--metric", "judge"] if verb == "score" else ["arena", "hash", "hash,salt=2"]
    for folder in folders:
        finished(folder, "hash,salt=2")
        finished(folder)
    whole, torn = (command(folder, *words, "--judge", f"scripted:{judge},delay=0.03") for folder in folders)
    expected = done(whole)
    for after in (5, 40, 70):
        killed(torn, folders[1], after)
    found = done(torn)
    if verb == "score":
        rows = [
            [(r["metric"], r["value"], r["ci_low"], r["n"]) for r in one["scored"][0]["rows"]]
            for one in (expected, found)
        ]  # type: ignore[index]
        assert rows[0] == rows[1]
    else:
        assert found["standings"] == expected["standings"]
        assert found["biases"] == expected["biases"]

"""A sweep that draws into every logger there is, killed with -9 again and again, with checkpoints out of order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from benchbench.runner.logs.rows import row_of
from benchbench.store.find import all_runs
from tests.extensions.log.readers import INSTALLED, environment, held, places, same, wandb_records
from tests.runner.toy import make_world

KILLS = [
    ("tensorboard", "logged"), ("wandb", "inside"), ("wandb", "logged"), ("mlflow", "inside"), ("mlflow", "logged"),
    ("trackio", "begun"), ("trackio", "logged"),
]  # fmt: skip
STEPS = [(30, 10), (30, 10, 40), (30, 10, 40, 20)]
"""What the list of checkpoints holds at each start: the newest come first, and older ones appear later."""


@pytest.mark.slow
def test_every_value_is_there_once_and_on_its_step_after_kills(tmp_path):
    if not INSTALLED:
        pytest.skip("needs a logger: pip install 'benchbench-eval[wandb,tensorboard,trackio]' mlflow")
    world, listed = make_world(tmp_path / "world"), tmp_path / "training.jsonl"
    kills = [kill for kill in KILLS if kill[0] in INSTALLED]
    assert len(kills) >= 1
    words = [
        *("sweep", "--checkpoints", str(listed), "--backend", "scripted", "--tasks", "toy", "--watch", "--poll", "0.2"),
        *("--include-path", str(world / "tasks"), "--data-root", str(world / "hub"), "--until", "40"),
        *("--results", str(tmp_path / "results")),
        *(word for name in INSTALLED for word in ("--log", places(tmp_path)[name])),
    ]
    for start, (name, when) in enumerate([*kills, ("none", "never")]):
        steps = STEPS[min(start, len(STEPS) - 1)]
        lines = [{"step": step, "path": f"hash,salt={step}", "tokens": 1000 * step} for step in steps]
        listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
        command = [sys.executable, "-m", "tests.extensions.log.killed", name, when, *words]
        env = os.environ | environment(tmp_path)
        done = subprocess.run(command, check=False, env=env, capture_output=True, text=True, timeout=900)
        assert done.returncode == (0 if when == "never" else -signal.SIGKILL), done.stderr[-3000:]
    rows = [row_of(run) for run in all_runs(tmp_path / "results")]
    assert sorted(row.step for row in rows) == [10, 20, 30, 40]
    expected = {("training", name, row.step): value for row in rows for name, value in row.values.items()}
    assert {name for _, name, _ in expected} >= {
        *(f"benchbench/{name}{end}" for name in ("toy_quiz/acc", "toy_quiz/bpb_gold") for end in ("", "_low", "_high")),
        "benchbench/toy_write/exact_match",
        "benchbench/tokens",
    }
    for name in INSTALLED:
        with pytest.MonkeyPatch.context() as patch:
            for variable, value in environment(tmp_path).items():
                patch.setenv(variable, value)
            found = held(name, tmp_path)
        assert {key: len(values) for key, values in found.items()} == dict.fromkeys(expected, 1), name
        assert all(same(found[key][0], value) for key, value in expected.items()), name
    if "wandb" in INSTALLED:
        own = [one["history"]["step"]["num"] for one in wandb_records(tmp_path) if one["type"] == "history"]
        assert own == sorted(set(own))

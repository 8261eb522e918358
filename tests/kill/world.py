"""A world for the works: tasks, rows, a tiny model, a finished run to score, runs to show, a site of fewer of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.kill.child import Child
from tests.kill.works import inputs
from tests.models import tiny_llama
from tests.runner.toy import make_world


def make(folder: Path) -> Path:
    """Writes it into `folder` and returns that."""
    make_world(folder, quiz=38, write=18)
    tiny_llama(folder / "model")
    for salt in range(3):
        done(
            folder,
            "run",
            "--model",
            f"scripted:hash,salt={salt}",
            "--tasks",
            "toy",
            *inputs(folder),
            "--output",
            folder / "three",
        )
    runs = sorted((folder / "three").iterdir())
    shutil.copytree(runs[0], folder / "before-score" / runs[0].name)
    for run in runs[:2]:
        shutil.copytree(run, folder / "two" / run.name)
    done(folder, "leaderboard", "--results", folder / "two", "--out", folder / "before-leaderboard")
    return folder


def done(folder: Path, *arguments: object) -> None:
    """A command that must end well."""
    said = folder / "made.said"
    child = Child(list(map(str, arguments)), said)
    assert child.code() == 0, said.read_text(encoding="utf-8")

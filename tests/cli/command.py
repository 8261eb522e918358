"""The command as a person starts it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.forks import benchbench
from tests.runner.toy import make_world


class World:
    """Toy tasks and data, and the options that name them."""

    def __init__(self, folder: Path) -> None:
        self.path = make_world(folder)
        self.results = folder / "results"

    def run(self, *more: object, model: str = "scripted:hash", tasks: str = "toy") -> subprocess.CompletedProcess[str]:
        """`benchbench run` on the toy tasks; an option among `more` stands instead of the usual one."""
        usual = {"--model": model, "--tasks": tasks, "--include-path": self.path / "tasks"}
        usual |= {"--data-root": self.path / "hub", "--output": self.results}
        options = [part for name, value in usual.items() if name not in more for part in (name, value)]
        return benchbench("run", *options, *more)

    def ask(self, verb: str, *more: object) -> subprocess.CompletedProcess[str]:
        """`benchbench results VERB`."""
        return benchbench("results", verb, *more, "--output", self.results)

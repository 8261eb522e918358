"""What nobody caught is a sentence, a file to send and exit code 70; what was computed stays."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchbench.cli import bug
from benchbench.cli.bug import without_secrets
from benchbench.cli.main import BUG, NO_MEMORY
from tests.cli.command import World
from tests.conftest import REPO

SENTENCE = re.compile(
    r"This is a bug in benchbench: (?P<what>.+)\. Please report it\. Attach the file (?P<file>benchbench-bug-\S+\.txt)\. "
    r"What was computed is kept: the same command goes on from there\.\n"
)

ENGINE = '''
"""An engine of another package, which does after two docs what BOOM says."""
import os, sys, threading
from dataclasses import replace
from benchbench.backends.engines import Engine
from benchbench.backends.scripted import ScriptedBackend

class Chained(RuntimeError):
    def __str__(self):
        raise ValueError("has no words")

class Boom(ScriptedBackend):
    def __init__(self, options):
        super().__init__(replace(options, model="hash,batch=1"))
        self.info = replace(self.info, name="boom")

    def loglikelihood(self, requests, **more):
        for number, response in enumerate(super().loglikelihood(requests, **more)):
            if number == 6 and "BOOM" in os.environ:
                boom(os.environ["BOOM"])
            yield response

def boom(what):
    key = os.environ.get("MY_ODD_NAME", "")
    if what == "key":
        raise KeyError(f"said {key!r} and Bearer abc.def-123")
    if what == "chained":
        try:
            {}["inner"]
        except KeyError:
            raise Chained
    if what == "thread":
        thread = threading.Thread(target=boom, args=("key",))
        thread.start()
        thread.join()
        return
    if what == "group":
        raise ExceptionGroup("several", [OSError(13, "denied"), ValueError(2)])
    raise {"eof": EOFError, "memory": MemoryError, "deep": RecursionError, "ctrl-c": KeyboardInterrupt,
           "cancelled": __import__("asyncio").CancelledError, "assert": AssertionError}[what]()

ENGINE = Engine(name="boom", opener="boomengine:Boom")
'''


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "boomengine.py").write_text(ENGINE)
    info = folder / "boomengine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boomengine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[benchbench.engines]\nboom = boomengine:ENGINE\n")
    return folder


class Breaking(World):
    """Runs on the engine that breaks, in a folder of its own."""

    def __init__(self, folder: Path, plugin: Path) -> None:
        super().__init__(folder)
        self.folder, self.plugin = folder, plugin

    def go(self, what: str | None) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(REPO), str(self.plugin)])
        environment = {**os.environ, "PYTHONPATH": path, "MY_ODD_NAME": "swordfish-1"}
        environment |= {} if what is None else {"BOOM": what}
        line = ["--backend", "boom", "--model", "m", "--tasks", "toy_quiz", "--include-path", str(self.path / "tasks")]
        line += ["--data-root", str(self.path / "hub"), "--output", str(self.results), "--json"]
        return subprocess.run(
            [sys.executable, "-m", "benchbench", "run", *line],
            env=environment, cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, plugin: Path) -> Breaking:
    return Breaking(tmp_path, plugin)


@pytest.mark.parametrize("what", ["key", "chained"])
def test_a_bug_is_a_sentence_with_a_file_and_loses_nothing(world: Breaking, what: str) -> None:
    done = world.go(what)
    found = SENTENCE.search(done.stderr)
    assert done.returncode == BUG == 70
    assert found is not None, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    report = (world.folder / found["file"]).read_text()
    assert "swordfish" not in report + done.stderr
    assert "abc.def" not in report + done.stderr
    assert "boomengine.py" in report
    assert {"key": "KeyError", "chained": "inner"}[what] in report
    assert not list(world.results.rglob(".lock"))
    (live,) = world.results.rglob("live.jsonl")
    assert len(live.read_text().splitlines()) == 2, "docs of which all answers were in"
    if what == "key":
        again = world.go(None)
        assert again.returncode == 0, again.stderr
        assert '"n": 12' in again.stdout


def test_a_bug_in_a_thread_is_one_too(world: Breaking) -> None:
    done = world.go("thread")
    assert done.returncode == BUG
    assert SENTENCE.search(done.stderr) is not None
    assert "Traceback" not in done.stderr
    assert '"rows"' in done.stdout, "the run itself went through"


def test_what_is_no_bug_keeps_its_own_code(world: Breaking) -> None:
    memory = world.go("memory")
    assert memory.returncode == 1
    assert NO_MEMORY in memory.stderr
    stopped = world.go("ctrl-c")
    assert stopped.returncode == 130
    assert "Traceback" not in memory.stderr + stopped.stderr
    assert not list(world.folder.glob("benchbench-bug-*"))

"""benchbench's command line in forks of one process that has imported it: a command costs no start-up.

`benchbench(…)` is used as `subprocess.run` would be. What only a process of its own can show (how fast it starts, what
it imports, what a closed pipe does to it) is tested with one.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO

REPO = Path(__file__).parents[1]
HEAVY = (
    "benchbench.cli.run", "benchbench.runner.run", "benchbench.runner.evaluate", "benchbench.runner.sweep",
    "benchbench.backends.scripted", "benchbench.backends.hf.backend", "benchbench.scoring.score",
    "benchbench.tasks.prepare", "benchbench.tasks.rows", "benchbench.store.frames", "benchbench.leaderboard.board",
    "pandas", "pyarrow.parquet", "scipy.stats", "rich.table", "rich.progress", "jinja2.sandbox", "regex", "duckdb",
    "sacrebleu", "torch", "transformers", "datasets",
)  # fmt: skip
"""What commands spend their first seconds on."""

LATE = ("BENCHBENCH_", "COLUMNS", "PYTEST_", "NO_COLOR", "PATH", "PWD", "TORCHINDUCTOR_", "KMP_")
"""Beginnings of names in the environment that matter to no import of `HEAVY`; torch sets the last two itself."""


class Forks:
    """The process that forks, and what it is told."""

    def __init__(self) -> None:
        self.environment = dict(os.environ)
        path = os.pathsep.join([str(REPO), os.environ.get("PYTHONPATH", "")])
        line = [sys.executable, "-m", "tests.forks"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(line, env={**os.environ, "PYTHONPATH": path}, stdin=pipe, stdout=pipe)
        atexit.register(self.close)

    def run(self, arguments: Sequence[str], environment: dict[str, str], out: str, err: str) -> int:
        """The exit code of `benchbench ARGUMENTS`, negative for a signal; its words go into the files."""
        asked = json.dumps([[*arguments], environment, str(Path.cwd()), out, err])
        return int(_exchange(self._process.stdin, self._process.stdout, asked))

    def close(self) -> None:
        """Ends it."""
        with suppress(OSError):
            self._process.kill()
        self._process.wait()


def _exchange(to: IO[bytes] | None, back: IO[bytes] | None, line: str) -> bytes:
    assert to is not None
    assert back is not None
    to.write(line.encode() + b"\n")
    to.flush()
    return back.readline()


@cache
def _forks(_: int) -> Forks:
    return Forks()


def benchbench(*arguments: object, columns: int = 80) -> subprocess.CompletedProcess[str]:
    """Runs `benchbench ARGUMENTS` as if in a process of its own, and in one where the environment has changed."""
    words, environment = list(map(str, arguments)), {**os.environ, "COLUMNS": str(columns)}
    forks = _forks(os.getpid())
    names = {name for name, _ in set(environment.items()) ^ set(forks.environment.items())}
    if any(not name.startswith(LATE) for name in names):
        return in_own_process(words, environment)
    with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
        code = forks.run(words, environment, out.name, err.name)
        said = [Path(file.name).read_text(encoding="utf-8") for file in (out, err)]
    return subprocess.CompletedProcess(["benchbench", *words], code, *said)


def in_own_process(words: Sequence[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The same by `python -m benchbench`."""
    path = os.pathsep.join([str(REPO), environment.get("PYTHONPATH", "")])
    line = [sys.executable, "-m", "benchbench", *words]
    return subprocess.run(line, env={**environment, "PYTHONPATH": path}, capture_output=True, text=True, check=False)


def import_heavy() -> None:
    """Once, for all processes that are forked from this one."""
    for name in HEAVY:
        import_module(name)


def become(line: Sequence[str], out: str, err: str, prepare: Callable[[], None] = lambda: None) -> None:
    """In a fork: after `prepare`, is the command `line`, whose words go into two files, and ends."""
    from benchbench.__main__ import main

    code: object = 3
    try:
        for number, path in enumerate((out, err), 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = list(line)
        prepare()
        main()
        code = 0
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def serve() -> None:
    """A fork for each line of stdin; its exit code is a line of stdout."""
    import_heavy()
    for asked in sys.stdin.buffer:
        line, environment, folder, out, err = json.loads(asked)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            become(["benchbench", *line], out, err)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(f"{code}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()

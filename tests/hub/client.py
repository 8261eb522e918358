"""Commands of benchbench in a process of their own, whose Hub is the one of the tests.

`huggingface_hub`, `datasets` and `transformers` read HF_ENDPOINT when they are imported; a spawned process does that
once for all commands of a module of tests.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    text: str
    """Everything that it printed."""


class Client:
    """The process. `home` holds its cache of the Hub."""

    def __init__(self, url: str, home: Path) -> None:
        told = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_DATASETS_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "COLUMNS": "200",
        }
        before = {name: os.environ.get(name) for name in told}
        os.environ.update(told)
        try:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"))
            self._pool.submit(time.time).result()
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name)
                else:
                    os.environ[name] = value

    def __call__(self, *words: object, token: str | None = None) -> Said:
        """One command of benchbench."""
        return self.do(command, tuple(map(str, words)), token)

    def do(self, function: Callable[..., T], *arguments: object) -> T:
        """A function of a module, there."""
        return self._pool.submit(function, *arguments).result(timeout=120)

    def close(self) -> None:
        """Ends the process."""
        self._pool.shutdown(cancel_futures=True)


def command(words: tuple[str, ...], token: str | None) -> Said:
    """Runs in the process of the clients, which has loaded the libraries; each command is a fork of it."""
    import datasets

    from benchbench.cli import data, run, sweep
    from benchbench.runner import evaluate

    _ = datasets.load_dataset, data, run, sweep, evaluate
    with TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            _benchbench(words, token, printed.fileno())
        _, status = os.waitpid(child, 0)
        printed.seek(0)
        return Said(os.waitstatus_to_exitcode(status), printed.read().decode())


def _benchbench(words: tuple[str, ...], token: str | None, printed: int) -> NoReturn:
    """The command; the process ends with its code."""
    from benchbench.cli.main import main

    for stream in (1, 2):
        os.dup2(printed, stream)
    os.environ.pop("HF_TOKEN", None)
    if token is not None:
        os.environ["HF_TOKEN"] = token
    sys.argv = ["benchbench", *words]
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    code: object = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0 if code is None else 1)

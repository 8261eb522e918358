"""Starts the process that has math-verify and talks to it: one JSON line there, one back."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from benchbench.core.errors import BackendError
from benchbench.core.types import Json
from benchbench.extensions.mathematics import EQUALITIES, Equality, Pair

WORKER = Path(__file__).with_name("worker.py")
SECONDS = 10.0
"""That the comparison of one pair may take."""
MEMORY = 4 << 30
"""Bytes of address space that it may take; math-verify itself takes about one GiB."""
START = 120.0
"""Seconds for importing sympy on a slow disk."""
_LETTERS: Mapping[str, Equality] = dict(zip("edust", EQUALITIES, strict=True))
_KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class MathProcess:
    """A running process."""

    def __init__(self, jobs: int) -> None:
        """Starts it. BackendError where math-verify is not installed, or does not work."""
        self._jobs, self._rest = jobs, b""
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self._process = subprocess.Popen(  # noqa: S603 - our own python and file
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**environment, "OMP_NUM_THREADS": "1"},
        )
        told = self._line(START)
        if "ready" not in told:
            self.close()
            raise BackendError(
                f"math_verify needs the package math-verify ({told.get('error')}). Install it: "
                "pip install 'benchbench-eval[math]'."
            )
        self.version = str(told["ready"])

    def compare(self, pairs: Sequence[Pair]) -> list[Equality]:
        """What each comparison came to, in their order. BackendError if the process died."""
        if not pairs:
            return []
        block = {
            "pairs": [[_clean(pair.gold), _clean(pair.answer)] for pair in pairs],
            "seconds": SECONDS,
            "memory": MEMORY,
            "jobs": self._jobs,
        }
        stdin = self._process.stdin
        if stdin is None:
            raise AssertionError("the process was started without a pipe")
        with suppress(BrokenPipeError):
            stdin.write(json.dumps(block).encode("ascii") + b"\n")
            stdin.flush()
        told = self._line(START + SECONDS * len(pairs))
        letters = str(told.get("found", ""))
        if len(letters) != len(pairs):
            raise BackendError(f"math-verify's process answered {len(letters)} of {len(pairs)} pairs and ended.")
        return [_LETTERS[letter] for letter in letters]

    def _line(self, seconds: float) -> dict[str, Json]:
        """The next line; empty where none comes."""
        stdout = self._process.stdout
        if stdout is None:
            raise AssertionError("the process was started without a pipe")
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                block = os.read(stdout.fileno(), 1 << 16) if selector.select(seconds) else b""
                if not block:
                    return {"error": "its process ended without a word, or is silent"}
                self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Json] = json.loads(line)
        return found

    def close(self) -> None:
        """Ends it."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.kill()
        self._process.wait()


def _clean(text: str) -> str:
    """Without half characters, which no parser reads."""
    return text.encode("utf-8", "replace").decode("utf-8")

"""What the sandbox costs: 1,000 small programs in it, and as plain subprocesses of the same Python.

    python -m tests.extensions.programs.speed [--programs 1000] [--jobs 2] [--python PATH]

Both run `jobs` at a time, in turn and three times, and the best of each counts: the machine may have other work.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchbench.extensions.programs import Limits, Program
from benchbench.extensions.programs.runs import run_programs
from benchbench.extensions.programs.sandbox import Sandbox

SOURCE = "def add(a, b):\n    return a + b\n\nassert add(1, 2) == 3\n"
ROUNDS = 3


def main() -> None:
    """Prints milliseconds per program of each way, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--python", type=Path)
    asked = parser.parse_args()
    sandbox = Sandbox(Limits(), asked.python)
    part = max(1, asked.programs // ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        file.write_text(SOURCE)

        def plain(*flags: str) -> None:
            def one(_: int) -> None:
                subprocess.run([sandbox.interpreter, *flags, file], check=True, capture_output=True)

            with ThreadPoolExecutor(asked.jobs) as pool:
                list(pool.map(one, range(part)))

        def inside() -> None:
            assert all(one.passed for one in run_programs(sandbox, [Program(SOURCE)] * part, asked.jobs))

        ways: dict[str, Callable[[], None]] = {
            "in the sandbox": inside,
            "python program.py": plain,
            "python -I -S -B program.py": lambda: plain("-I", "-S", "-B"),
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(ROUNDS):
            for name, way in ways.items():
                began = time.perf_counter()
                way()
                best[name] = min(best[name], (time.perf_counter() - began) / part)
    sandbox.close()
    for name, seconds in best.items():
        print(f"{name:28} {1000 * seconds:7.1f} ms a program   ratio {best['in the sandbox'] / seconds:.2f}")


if __name__ == "__main__":
    main()

"""Sweeps in a process of their own, to be killed: `python -m tests.runner.sweep.killed WORLD LIST OUTPUT`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchbench.runner.sweep import sweep
from tests.runner.sweep.series import impatient, on_list

if __name__ == "__main__":
    world, listed, output = map(Path, sys.argv[1:4])
    sweep(on_list(world, listed, output), readiness=impatient())

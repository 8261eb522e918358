"""Whether, and by what, programs that a model wrote are run."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from benchbench.core.errors import ArgumentError
from benchbench.core.settings import Setting

FLAG = "--allow-code-execution"


def usual_jobs() -> int:
    """As many as there are processors for us."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class ProgramOptions:
    """Settings of metrics that run programs. ArgumentError if a value makes no sense."""

    allow_code_execution: Annotated[
        bool,
        Setting(
            "Run programs that the model wrote: code that nobody has read, on this machine, in a bubblewrap sandbox.",
            panel="Programs",
            identity=False,
            record=False,
        ),
    ] = False
    program_jobs: Annotated[
        int | None,
        Setting(
            "Programs that run at a time. Default: one per processor.", panel="Programs", identity=False, record=False
        ),
    ] = None
    program_python: Annotated[
        Path | None,
        Setting(
            "The Python that Python programs run on, with nothing but its standard library. Default: ours.",
            panel="Programs",
            identity=False,
            record=False,
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.program_jobs is not None and self.program_jobs < 1:
            raise ArgumentError(f"--program-jobs is {self.program_jobs}; it must be 1 or more.")

"""`benchbench demo`: train a tiny model and score its checkpoints as they appear. No network, no downloads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchbench.cli.main import VerbApp
from benchbench.core.errors import BenchbenchError

app = VerbApp()


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--to", "--out", help="Folder for the checkpoints.")] = Path("runs/demo"),
    steps: Annotated[int | None, typer.Option(help="Training steps. Default: about a minute's worth.")] = None,
    output: Annotated[Path, typer.Option("--results", "--output", help="Results folder.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train a tiny Czech and French model in the background, and score each checkpoint as soon as it is there.

    The checkpoints stay. The same command again uses them instead of training.
    """
    _share_cores()
    from benchbench.backends.engines import ModelOptions
    from benchbench.cli.sweep import execute
    from benchbench.extensions.demo.training import DemoSettings, begin, find_finished
    from benchbench.runner.settings import RunSettings, SweepSettings

    settings = DemoSettings() if steps is None else DemoSettings(steps=steps)
    run = RunSettings(model=ModelOptions(""), output=output)
    sweep = SweepSettings(run, models=(str(out),), task_groups=("demo",), order="oldest")
    if find_finished(out, settings.identity(), settings.saved_steps) is not None:
        _say(f"{out} already holds the {len(settings.saved_steps)} checkpoints of this demo; they are used again.")
        execute(sweep, as_json=as_json)
    else:
        begin(out, settings.identity())
        watched = SweepSettings(
            run, sweep.models, sweep.task_groups, order="oldest", watch=True, poll=1.0, until=settings.steps
        )
        with _training(out, settings.steps) as training:
            execute(watched, as_json=as_json, keep_watching=training.goes_on)
    _say(_next_steps(out, output, settings.steps))


def _share_cores() -> None:
    """Half the cores each for training and scoring; read when torch is loaded, and by the process we start."""
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    # Threads that spin while they wait cost most of the time where the cores are shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@dataclass(frozen=True, slots=True)
class _Training:
    """The process that trains."""

    process: subprocess.Popen[str]
    log: Path

    def goes_on(self) -> bool:
        """Whether it runs. BenchbenchError, in its own words, if it failed."""
        code = self.process.poll()
        if code is None:
            return True
        if code != 0:
            lines = self.log.read_text(encoding="utf-8").strip().splitlines() or [f"it ended with code {code}"]
            raise BenchbenchError(f"the training of the demo failed: {lines[-1].removeprefix('error: ')}")
        return False


@contextmanager
def _training(out: Path, steps: int) -> Iterator[_Training]:
    """Training in a process of its own, which does not outlive the block."""
    log = out / "training.log"
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "benchbench.extensions.demo.training", str(out), str(steps)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )
    _say(f"Training {steps} steps in process {process.pid}; its log is {log}.")
    try:
        yield _Training(process, log)
    finally:
        process.terminate()
        process.wait()


def _next_steps(out: Path, output: Path, steps: int) -> str:
    place = "" if output == Path("results") else f" --results {output}"
    return "\n".join(
        (
            "\nTry next:",
            f"  benchbench sweep plot{place}",
            f"  benchbench sweep plot{place} --to curves.svg",
            f"  benchbench run --model {out}/checkpoint-{steps} --tasks demo{place}    # one model's table",
            "  benchbench tasks render demo_trivia --doc 3",
        )
    )


def _say(text: str) -> None:
    from rich.text import Text

    from benchbench.cli.console import stderr
    from benchbench.core.format import clean_lines

    stderr().print(Text(clean_lines(text)), soft_wrap=True)

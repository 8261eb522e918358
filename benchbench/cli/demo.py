"""`benchbench demo`: train a tiny model, evaluate its last checkpoint. No network, no downloads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from benchbench.demo.training import DemoSettings, Progress, Trained

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoints.")] = Path("runs/demo"),
    steps: Annotated[int | None, typer.Option(help="Training steps. Default: about a minute's worth.")] = None,
    output: Annotated[Path, typer.Option(help="Results folder.")] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train a tiny Czech and French model for about a minute and evaluate it on the demo tasks.

    The checkpoints stay. The same command again uses them instead of training.
    """
    # Threads that spin while they wait cost most of the time where the cores are shared. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from benchbench.backends import ModelOptions
    from benchbench.cli.run import execute
    from benchbench.demo.training import DemoSettings, train
    from benchbench.runner.settings import RunSettings

    settings = DemoSettings() if steps is None else DemoSettings(steps=steps)
    with _watching_training(settings) as on_progress:
        trained = train(settings, out, on_progress=on_progress)
    last = trained.checkpoints[-1]
    _say(_summary(trained, out))
    execute(RunSettings(model=ModelOptions(model=str(last)), tasks="demo", output=output), as_json=as_json)
    _say(_next_steps(trained, output))


class _Watcher:
    """Shows training on stderr: a bar on a terminal, a line per checkpoint elsewhere."""

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        from benchbench.cli.console import stderr

        self._console = stderr()
        self.bar = Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._id = self.bar.add_task("training", total=steps)

    def __call__(self, progress: Progress) -> None:
        """Shows one training step."""
        numbers = f"loss {progress.loss:.2f}, {progress.tokens_per_second:,.0f} tokens/s"
        self.bar.update(self._id, completed=progress.step, description=f"training: {numbers}")
        if progress.saved is not None and not self._console.is_terminal:
            _say(f"step {progress.step}/{progress.steps}: {numbers}, saved {progress.saved}")


@contextmanager
def _watching_training(settings: DemoSettings) -> Iterator[_Watcher]:
    watcher = _Watcher(settings.steps)
    with watcher.bar:
        yield watcher


def _summary(trained: Trained, out: Path) -> str:
    count = len(trained.checkpoints)
    if trained.reused:
        return f"{out} already holds the {count} checkpoints of this demo; they are used again."
    return f"Trained. {count} checkpoints in {out}, the untrained model is {trained.checkpoints[0].name}."


def _next_steps(trained: Trained, output: Path) -> str:
    place = "" if output == Path("results") else f" --output {output}"
    return "\n".join(
        (
            "\nTry next:",
            f"  benchbench run --model {trained.checkpoints[0]} --tasks demo{place}    # the untrained model",
            f"  benchbench results ls{place}",
            "  benchbench tasks render demo_trivia --doc 3",
        )
    )


def _say(text: str) -> None:
    from rich.text import Text

    from benchbench.cli.console import clean_lines, stderr

    stderr().print(Text(clean_lines(text)), soft_wrap=True)

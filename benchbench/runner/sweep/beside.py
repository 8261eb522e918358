"""A sweep in a process of its own beside a training: it scores the checkpoints that the training lists, as they come.

It ends when the training does and nothing is left to score: it notices by a pipe, which also closes where the training
is killed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchbench.core.errors import BackendError
from benchbench.runner.record import now
from benchbench.runner.run import RunResult
from benchbench.runner.settings import RunSettings, SweepSettings
from benchbench.runner.sweep.folder import SweepWriter
from benchbench.runner.sweep.listed import read_list
from benchbench.store.files import make_folder, write_whole
from benchbench.store.find import Done

LIST = "benchbench.jsonl"
"""The list of checkpoints, in the training's folder: `benchbench sweep --checkpoints` reads it as well."""
LOG = "beside.log"
"""What the process says, in the sweep's folder."""
POLL = 2.0
"""Seconds between two looks at the list."""
LAUNCHERS = (
    "RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE",
    "ROLE_WORLD_SIZE", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT",
)  # fmt: skip
LAUNCHER_PREFIXES = ("TORCHELASTIC_", "ACCELERATE_", "FSDP_")
"""Variables of the environment that make a process one of several that train: this one is none of them."""


@dataclass(slots=True)
class Beside:
    """The process, and what it was asked to score."""

    folder: SweepWriter
    settings: SweepSettings
    training: Path
    wanted: set[int] = field(default_factory=set)
    """Steps whose scores are wanted; the training saves their checkpoints and asks."""
    asked: dict[int, tuple[Path, str]] = field(default_factory=dict)
    """Step → where its checkpoint lies, and since when it does."""
    _lines: dict[int, dict[str, object]] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, run: RunSettings, training: Path, *, step: int) -> Beside:
        """A sweep of the training in `training`, which stands at `step`: what was listed up to there is kept.

        StoreError where a folder cannot be written. The process begins with the first checkpoint.
        """
        training = training.absolute()
        settings = SweepSettings(
            run=replace(run, tasks=None, series=None),
            models=(str(training),),
            task_groups=(run.tasks,),
            listed=training / LIST,
            name=run.series,
            watch=True,
            poll=POLL,
        )
        make_folder(training)
        found = cls(SweepWriter.create(settings), settings, training)
        if (training / LIST).is_file():
            for one in read_list(training / LIST, ""):
                if one.step is not None and one.step <= step:
                    found._note(one.step, Path(one.location), one.tokens_seen)
        found._write()
        return found

    def add(self, step: int, checkpoint: Path, tokens: int | None) -> None:
        """Asks for a checkpoint that was saved. BackendError where the process has ended."""
        self._note(step, checkpoint, tokens)
        self.asked[step] = (checkpoint, now())
        self._write()
        if self._process is None:
            self._process = self._begin()
        elif self._process.poll() is not None:
            raise BackendError(
                f"the process that scores the checkpoints has ended ({self._last_words()}); {self._how_to_go_on()}"
            )

    def unscored(self) -> list[int]:
        """The steps that are wanted and have no results yet."""
        return sorted(self.wanted - {one.step for one in self._done()})

    def leave(self) -> str | None:
        """The training is over: the process goes on to the last checkpoint and ends. What is not scored, as sentences;
        None where all is.
        """
        if self.asked:  # whoever goes on with this sweep later is not to wait for more
            SweepWriter.create(replace(self.settings, until=max(self.asked)))
        ended = self._process is not None and self._process.poll() is not None
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        left = self.unscored()
        unsaved = [step for step in left if step not in self.asked]
        gone = [step for step in left if step in self.asked and not self.asked[step][0].exists()]
        waiting = [step for step in left if step not in (*unsaved, *gone)]
        said = [f"The training did not save {_steps(unsaved)}."] if unsaved else []
        said += [f"It has deleted {_steps(gone)} already: a larger save_total_limit keeps it longer."] if gone else []
        if waiting and ended:
            said.append(f"The process that scores has ended ({self._last_words()}); {self._how_to_go_on()}")
        elif waiting:
            number = self._process and self._process.pid
            said.append(f"Process {number} goes on with {_steps(waiting)}. If it is stopped, {self._how_to_go_on()}")
        return " ".join([f"Not scored yet: {_steps(left)}.", *said]) if left else None

    def wait(self) -> list[RunResult]:
        """Waits until the process has ended, and gives what is scored of what was asked for, by step."""
        if self._process is not None:
            self._process.wait()
        return [RunResult(run.path, run.record()) for run in map(self.folder.run_of, self._done())]

    def _done(self) -> list[Done]:
        """Of what was asked for; not what an earlier training in the same folder has left."""
        asked = {step: since for step, (_, since) in self.asked.items()}
        done = self.folder.all_done()
        return [one for one in done if one.step is not None and one.finished >= asked.get(one.step, "~")]

    def _note(self, step: int, checkpoint: Path, tokens: int | None) -> None:
        told: dict[str, object] = {} if tokens is None else {"tokens": tokens}
        self._lines[step] = {"step": step, "path": str(checkpoint.absolute()), **told}

    def _write(self) -> None:
        lines = [json.dumps(self._lines[step]) + "\n" for step in sorted(self._lines)]
        write_whole(self.training / LIST, "".join(lines).encode())

    def _begin(self) -> subprocess.Popen[bytes]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in LAUNCHERS and not name.startswith(LAUNCHER_PREFIXES)
        }
        command = [sys.executable, "-m", "benchbench", "sweep", "beside", str(self.folder.path.absolute())]
        with (self.folder.path / LOG).open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - ourselves
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C is the training's
            )

    def _last_words(self) -> str:
        lines = (self.folder.path / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1].strip().rstrip(".") if lines else "it said nothing"

    def _how_to_go_on(self) -> str:
        return (
            f"`benchbench sweep resume {self.folder.path.name} --results {self.folder.output}` scores what is left. "
            f"Its log: {self.folder.path / LOG}"
        )


def training_goes_on() -> bool:
    """In that process: whether the training still holds the other end of its standard input."""
    ready, _, _ = select.select([sys.stdin.fileno()], [], [], 0)
    return not ready


def _steps(steps: Sequence[int]) -> str:
    return f"step{'' if len(steps) == 1 else 's'} {', '.join(map(str, steps))}"

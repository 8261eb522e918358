"""Series of checkpoints for tests, of tiny real models and of scripted ones, and ways to score them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchbench.backends.engines import ModelOptions
from benchbench.core.settings import changed
from benchbench.runner.checkpoint import Readiness
from benchbench.runner.run import RunResult, run
from benchbench.runner.settings import RunSettings, SweepSettings
from benchbench.runner.sweep.folder import SweepWriter
from tests import models
from tests.runner.toy import comparable, part_bytes

AT_ONCE = 0.0
"""Settling time for checkpoints that nobody writes."""


def mpt_series(folder: Path, steps: tuple[int, ...]) -> Path:
    """`checkpoint-<step>` folders of a tiny MPT with other weights at each step, named as by transformers' Trainer."""
    for step in steps:
        path = models.tiny_mpt(folder / f"checkpoint-{step}", seed=step)
        state = {"global_step": step, "num_input_tokens_seen": 1000 * step}
        (path / "trainer_state.json").write_text(json.dumps(state))
    return folder


def scripted_list(folder: Path, steps: int, **options: Any) -> Path:
    """A list file of scripted models: another salt at each step."""
    more = "".join(f",{name}={value}" for name, value in options.items())
    lines = [{"step": 10 * n, "path": f"hash,salt={n}{more}", "tokens": 1000 * n} for n in range(1, steps + 1)]
    path = folder / "checkpoints.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def base(world: Path, output: Path, **changes: Any) -> RunSettings:
    """The toy tasks of `world`, without a model."""
    values: dict[str, Any] = {
        "model": ModelOptions(""),
        "include_paths": (world / "tasks",),
        "data_root": world / "hub",
        "output": output,
    }
    return changed(RunSettings(ModelOptions("")), **{**values, **changes})


def on_folder(world: Path, folder: Path, output: Path, **changes: Any) -> SweepSettings:
    """A sweep over the checkpoints in `folder` on the toy tasks."""
    values = {"run": base(world, output), "models": (str(folder),), "task_groups": ("toy",)}
    return SweepSettings(**{**values, **changes})


def on_list(world: Path, listed: Path, output: Path, **changes: Any) -> SweepSettings:
    """A sweep over a list of scripted models on the toy tasks."""
    run_settings = base(world, output, model=ModelOptions("", backend="scripted"))
    values = {"run": run_settings, "models": ("series",), "task_groups": ("toy",), "listed": listed}
    return SweepSettings(**{**values, **changes})


def impatient() -> Readiness:
    """Trusts a checkpoint that was written just now."""
    return Readiness(settle=AT_ONCE)


def separate_run(settings: SweepSettings, location: str, output: Path, **changes: Any) -> RunResult:
    """What `benchbench run` makes of one checkpoint, in a model of its own."""
    from dataclasses import replace

    model = replace(settings.run.model, model=location)
    return run(changed(settings.run, model=model, tasks=settings.task_groups[0], output=output, **changes))


def results(folder: SweepWriter) -> dict[int, tuple[dict[str, Any], dict[str, bytes]]]:
    """Step → (the run's record without provenance, its parts) of every unit that is done."""
    found = {}
    for done in folder.all_done():
        path = folder.output / done.run
        found[done.step] = (comparable(json.loads((path / "run.json").read_bytes())), part_bytes(path))
    return found

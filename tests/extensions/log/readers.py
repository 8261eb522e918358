"""What loggers hold, read back by their own readers: (series, curve, step) → every value that is there."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

NEEDED = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "trackio": ("trackio",),
}
"""Logger → the modules without which its tests are skipped."""
INSTALLED = [name for name, modules in NEEDED.items() if all(importlib.util.find_spec(one) for one in modules)]
Held = dict[tuple[str, str, int], list[float]]


def skip_without(name: str) -> None:
    """Skips the test where the logger is not installed."""
    if name not in INSTALLED:
        pytest.skip(f"needs {' and '.join(NEEDED[name])}: pip install 'benchbench-eval[{name}]' (for mlflow: mlflow)")


def places(folder: Path) -> dict[str, str]:
    """Logger → what `--log` takes, with everything below `folder`; `environment` goes with it."""
    return {
        "tensorboard": f"tensorboard:{folder / 'tb'}",
        "wandb": "wandb:project",
        "mlflow": f"mlflow:sqlite:///{folder / 'mlflow.db'}",
        "trackio": "trackio:project",
    }


def environment(folder: Path) -> dict[str, str]:
    """Variables by which loggers keep what they write below `folder`, and send nothing."""
    home = {name: str(folder / "home") for name in ("HOME", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR")}
    quiet = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "1"}
    return {**home, **quiet, "WANDB_DIR": str(folder), "TRACKIO_DIR": str(folder / "trackio")}


def held(name: str, folder: Path) -> Held:
    """All that the logger holds of the places above."""
    found: Held = defaultdict(list)
    {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio}[name](folder, found)
    return dict(found)


def same(one: float, other: float) -> bool:
    """Equal, as far as TensorBoard's 32 bits go."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9)


def _tensorboard(folder: Path, found: Held) -> None:
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    for run in (folder / "tb" / "benchbench").iterdir():
        accumulator = EventAccumulator(str(run), size_guidance={SCALARS: 0}).Reload()
        for tag in accumulator.Tags()["scalars"]:
            for event in accumulator.Scalars(tag):
                found[run.name, tag, event.step].append(event.value)


@cache
def wandb_records(folder: Path) -> list[dict]:
    """The records of every offline run directory, oldest first, as W&B itself shows them."""
    records = []
    for file in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        lines = subprocess.run(command, check=False, capture_output=True, text=True).stdout.splitlines()
        records += [{**json.loads(line), "file": file} for line in lines]
    return records


def _wandb(folder: Path, found: Held) -> None:
    names = {}
    for record in wandb_records(folder):
        if record["type"] == "run":
            names[record["file"]] = record["run"]["display_name"]
        if record["type"] == "history":
            item: Mapping[str, float] = record["history"]["item"]
            for curve, value in item.items():
                if not curve.startswith("_") and curve != "benchbench/step":
                    found[names[record["file"]], curve, int(item["benchbench/step"])].append(value)


def _mlflow(folder: Path, found: Held) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            for curve in run.data.metrics:
                for metric in client.get_metric_history(run.info.run_id, curve):
                    found[run.info.run_name, curve, metric.step].append(metric.value)


def _trackio(folder: Path, found: Held) -> None:
    code = (
        "import json; from trackio.sqlite_storage import SQLiteStorage as s;"
        "print(json.dumps([[r['name'], s.get_logs('project', r['name'])] for r in s.get_run_records('project')]))"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for name, lines in json.loads(shown.stdout.splitlines()[-1]):
        for line in lines:
            for curve, value in line.items():
                if curve not in ("step", "timestamp"):
                    found[name.rpartition("-")[0], curve, line["step"]].append(value)

"""lm-eval, a data root, task files of our own making in its dialect."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchbench.core.record import Row
from tests.extensions.lm_eval.rows import FILES, make_data_root

Figures = dict[tuple[str, str], float]
"""(task or group, `metric,filter`) → value."""


@dataclass(frozen=True)
class World:
    """Where rows and task files lie."""

    data_root: Path
    files: Path

    def file(self, name: str) -> Path:
        """A task file of `rows.FILES`."""
        return self.files / f"{name}.yaml"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    pytest.importorskip("lm_eval", reason="needs lm-eval: pip install 'benchbench-eval[lm-eval]'")
    root = tmp_path_factory.mktemp("upstream")
    for name, task in FILES.items():
        (root / "files").mkdir(exist_ok=True)
        (root / "files" / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False), encoding="utf-8")
    return World(make_data_root(root / "hub"), root / "files")


def their_figures(world: World, names: Sequence[str], model: Any, num_fewshot: int | None = None) -> Figures:
    """What lm-eval itself says of these tasks: its loader, its requests, its evaluation."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    from benchbench.extensions.lm_eval.data import rows_from
    from benchbench.extensions.lm_eval.library import _registry

    logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
    manager = TaskManager(include_defaults=False, include_path=str(world.files))
    manager._index |= _registry(None)
    silent = io.StringIO()
    with (
        rows_from(world.data_root, "lm-eval", "train"),
        contextlib.redirect_stderr(silent),
        contextlib.redirect_stdout(silent),
    ):
        found = lm_eval.simple_evaluate(
            model=model, tasks=[*names], num_fewshot=num_fewshot, task_manager=manager, bootstrap_iters=0
        )
    return {
        (task, key): float(value)
        for task, values in found["results"].items()
        for key, value in values.items()
        if "," in key and "_stderr," not in key
    }


def our_figures(rows: Sequence[Row], theirs: Figures) -> dict[tuple[str, str], float | None]:
    """Our rows under lm-eval's keys: `metric,filter` is ours too where a task has several filters, else `metric`."""
    ours = {(row.task.removeprefix("lm_eval:"), row.metric): row.value for row in rows}
    return {(task, key): ours.get((task, key), ours.get((task, key.partition(",")[0]))) for task, key in theirs}

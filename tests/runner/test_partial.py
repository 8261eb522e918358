"""A data root that holds some of the data: what is there is run, what is missing is named with what fetches it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchbench.backends.engines import ModelOptions
from benchbench.core.errors import DataError
from benchbench.runner.events import Event, Note, ignore
from benchbench.runner.plan import make_plan
from benchbench.runner.settings import RunSettings
from benchbench.tasks.settings import RenderSettings
from tests.conftest import REPO

FIXTURES = REPO / "tests/parity/fixtures"


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """A data root with PIQA alone."""
    root = tmp_path / "root"
    (root / "baber").mkdir(parents=True)
    (root / "baber/piqa").symlink_to(FIXTURES / "baber/piqa", target_is_directory=True)
    return root


def settings(root: Path, tasks: str | None) -> RunSettings:
    render = RenderSettings(data_root=root, limit=2)
    return RunSettings(ModelOptions("hash", backend="scripted"), tasks=tasks, render=render)


def command(*words: object) -> tuple[int, str]:
    """Exit code and output of a command."""
    from benchbench.cli.main import app

    result = CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_the_default_suite_runs_what_is_there_and_names_the_rest(data_root: Path, tmp_path: Path) -> None:
    run = ("run", "--model", "scripted:hash", "--data-root", data_root, "--limit", 2, "--output", tmp_path / "results")
    code, said = command(*run)
    assert code == 3
    assert "168 of the 169 tasks lack data in" in said
    assert f"`benchbench data pull default --to {data_root}` fetches what is missing" in said
    assert len([*(tmp_path / "results/hash").glob("*/run.json")]) == 1
    assert command(*run)[0] == 3, "finished, and still without the others"


def test_nothing_of_the_default_suite_is_an_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"None of the 169 tasks of the default suite .*`benchbench data pull default"):
        make_plan(settings(tmp_path / "empty", None), ignore)


def test_tasks_that_were_named_are_not_left_out_but_all_that_lack_data_are_told(data_root: Path) -> None:
    told: list[Event] = []
    with pytest.raises(DataError) as caught:
        make_plan(settings(data_root, "piqa,hellaswag,sciq"), told.append)
    said = str(caught.value)
    assert said.startswith("hellaswag: its data are not at")
    assert "2 of the 3 tasks lack data there: hellaswag, sciq." in said
    assert f"`benchbench data pull hellaswag,sciq --to {data_root}` fetches all of it." in said
    assert not any(isinstance(event, Note) and "left out" in event.text for event in told)


def test_one_task_without_its_data_names_what_fetches_them(data_root: Path) -> None:
    with pytest.raises(DataError, match=f"`benchbench data pull sciq --to {data_root}` fetches it"):
        make_plan(settings(data_root, "sciq"), ignore)

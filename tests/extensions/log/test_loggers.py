"""Each logger for itself, read back by its own reader; what is refused, and how."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.runner.logs import loggers
from benchbench.runner.logs.follow import Logs
from benchbench.runner.logs.loggers import Batch, Place, open_logger
from benchbench.runner.logs.rows import LogRow
from tests.extensions.log import readers
from tests.extensions.log.readers import NEEDED, environment, held, places, same, skip_without, wandb_records


def row(step, value, **changes):
    """A row of three curves and the tokens."""
    name = "benchbench/toy_quiz/acc"
    values = {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.1, "benchbench/q/exact,strict": 1 / 3}
    values["benchbench/tokens"] = 1000.0 * step
    given = {
        "key": f"{step}-{value}",
        "series": "training",
        "step": step,
        "tokens": 1000 * step,
        "values": values,
        "ends": frozenset([f"{name}_low", f"{name}_high"]),
        "finished": datetime(2026, 11, 1, 12, step % 60, tzinfo=UTC),
    }
    return LogRow(**{**given, **changes})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder in which every logger keeps what it writes."""
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    if "wandb" in readers.INSTALLED:
        import wandb

        wandb.teardown()
    if "trackio" in readers.INSTALLED:
        import trackio.sqlite_storage
        import trackio.utils

        monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path / "trackio")
        monkeypatch.setattr(trackio.sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    wandb_records.cache_clear()
    yield tmp_path
    if "wandb" in readers.INSTALLED:
        wandb.teardown()


def opened(name, here, run=None):
    place = Place.read(places(here)[name] + ("" if run is None else f"#{run}"))
    return open_logger(place, here / "results")


def expected(*rows, name=""):
    curves = (lambda curve: curve.replace(",", "-")) if name == "mlflow" else str
    return {("training", curves(curve), one.step): value for one in rows for curve, value in one.values.items()}


def assert_holds(name, here, *rows):
    found, wanted = held(name, here), expected(*rows, name=name)
    assert {key: len(values) for key, values in found.items()} == dict.fromkeys(wanted, 1)
    assert all(same(found[key][0], value) for key, value in wanted.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_logger_holds_each_value_once_on_its_step_in_any_order(name, here):
    skip_without(name)
    rows = {step: row(step, step / 100) for step in (10, 20, 30, 40)}
    first = opened(name, here)
    run = first.run_for("training", None)
    assert first.log(Batch(run, "training", [rows[30]], [], 0))
    assert first.log(Batch(run, "training", [rows[10], rows[40]], [], 1))
    later = opened(name, here)
    assert later.run_for("training", run) == run
    assert later.log(Batch(run, "training", [rows[10], rows[20], rows[40]], [rows[10], rows[40]], 3))
    assert_holds(name, here, *rows.values())


def test_a_running_tensorboard_sees_what_came_late_and_what_was_overwritten(here):
    skip_without("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = opened("tensorboard", here)
    logger.log(Batch("benchbench/training", "training", [row(30, 0.3)], [], 0))
    watching = EventAccumulator(str(here / "tb" / "benchbench" / "training")).Reload()
    for changed in (row(10, 0.1), row(30, 0.5)):
        logger.log(Batch("benchbench/training", "training", [changed], [], 1))
        watching.Reload()
    seen = [(event.step, round(event.value, 6)) for event in watching.Scalars("benchbench/toy_quiz/acc")]
    assert seen == [(10, 0.1), (30, 0.5)]
    assert_holds("tensorboard", here, row(10, 0.1), row(30, 0.5))
    assert len(list((here / "tb" / "benchbench" / "training").iterdir())) == 2, "the newest, and the one before it"


@pytest.mark.slow
def test_wandb_is_told_the_axis_and_hides_ends_of_intervals(here):
    skip_without("wandb")
    logger = opened("wandb", here)
    logger.log(Batch("abc", "training", [row(30, 0.3)], [], 0))
    records = wandb_records(here)
    told = {
        one["metric"].get("name") or one["metric"]["glob_name"]: one["metric"]
        for one in records
        if one["type"] == "metric"
    }
    assert told["benchbench/*"]["step_metric"] == "benchbench/step"
    assert told["benchbench/toy_quiz/acc_low"]["step_metric"] == "benchbench/step"
    assert told["benchbench/toy_quiz/acc_low"]["options"]["hidden"]
    run = next(one["run"] for one in records if one["type"] == "run")
    assert (run["run_id"], run["project"], run["display_name"]) == ("abc", "project", "training")


@pytest.mark.slow
def test_the_run_of_wandb_that_is_open_in_the_training_is_taken_and_stays_open(here):
    skip_without("wandb")
    import wandb

    run = wandb.init(project="project", id="own", name="training", settings=wandb.Settings(console="off"))
    run.log({"loss": 2.0})
    logger = opened("wandb", here)
    assert logger.run_for("training", None) == "own"
    assert not logger.log(Batch("own", "training", [row(30, 0.3)], [], 0)), "it is kept when the training ends it"
    assert wandb.run is run
    run.log({"loss": 1.0})
    run.finish()
    lines = [one["history"]["item"] for one in wandb_records(here) if one["type"] == "history"]
    assert [line.get("loss") for line in lines] == [2.0, None, 1.0]
    assert lines[1]["benchbench/step"] == 30


@pytest.mark.parametrize("server", ["lacks the run", "has a row"])
def test_the_server_of_wandb_is_asked_what_it_has(here, monkeypatch, server):
    skip_without("wandb")
    import wandb

    rows = [row(10, 0.1), row(20, 0.2)]

    class Api:
        def __init__(self, timeout):
            pass

        def run(self, path):
            assert path == "project/abc"
            if server == "lacks the run":
                raise wandb.errors.CommError("Could not find run <Run project/abc (not found)>")
            has = {"_step": 0, "benchbench/step": 10, **rows[0].values}
            return SimpleNamespace(scan_history=lambda: iter([{"loss": 1.0}, has]))

    logger = opened("wandb", here)
    logger._is_offline = False
    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.setattr(wandb, "init", lambda **given: asked.append(given) or run)
    asked, drawn = [], []
    run = SimpleNamespace(
        define_metric=lambda *_, **__: None, log=lambda line, step: drawn.append(line), finish=lambda: None
    )
    assert logger.log(Batch("abc", "training", rows, rows, 2))
    assert [line["benchbench/step"] for line in drawn] == ([10, 20] if server == "lacks the run" else [20])
    assert (asked[0]["id"], asked[0]["resume"], asked[0]["project"]) == ("abc", "allow", "project")


@pytest.mark.slow
def test_mlflow_takes_the_run_of_the_training(here):
    skip_without("mlflow")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{here / 'mlflow.db'}")
    own = client.create_run(client.create_experiment("training"), run_name="training").info.run_id
    client.log_metric(own, "loss", 2.0, step=30)
    logger = opened("mlflow", here, run=own)
    logger.log(Batch(own, "training", [row(30, 0.3)], [], 0))
    assert client.get_metric_history(own, "loss")[0].value == 2.0
    assert client.get_metric_history(own, "benchbench/toy_quiz/acc")[0].step == 30
    assert client.get_run(own).info.status == "RUNNING"


def test_trackio_takes_the_run_of_the_training(here):
    skip_without("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    SQLiteStorage.bulk_log("project", "mine", [{"loss": 2.0}], steps=[30], run_id="id of mine")
    logger = opened("trackio", here, run="mine")
    for _ in range(2):
        logger.log(Batch("mine", "training", [row(30, 0.3)], [], 0))
    assert [one["name"] for one in SQLiteStorage.get_run_records("project")] == ["mine"]
    lines = SQLiteStorage.get_logs("project", "mine")
    assert sorted(str(line.get("loss")) for line in lines) == ["2.0", "None"]


def refused(text, here, match):
    with pytest.raises(ArgumentError, match=match):
        open_logger(Place.read(text), here / "results")


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_a_logger_that_is_not_installed_is_refused_with_the_command_that_installs_it(name, here, monkeypatch):
    monkeypatch.setattr(loggers.util, "find_spec", lambda module: None)
    refused(name, here, rf"is not installed here\. Install it: pip install 'benchbench-eval\[{name}\]'")


def test_wandb_refuses_what_the_person_has_to_put_right(here, monkeypatch):
    skip_without("wandb")
    import wandb

    refused("wandb:a/b/c", here, "expected wandb:PROJECT or wandb:ENTITY/PROJECT")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()
    refused("wandb", here, "W&B has no key. Give `wandb login`")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    refused("wandb", here, "switches W&B off")


def test_tensorboard_refuses_what_is_no_folder(here):
    skip_without("tensorboard")
    (here / "file").write_text("")
    refused(f"tensorboard:{here / 'file'}", here, "is a file; a folder was expected")
    refused(f"tensorboard:{here / 'file' / 'deep'}", here, "is a file; a folder was expected")
    refused(f"tensorboard:{here}#mine", here, f"Give the folder alone: --log tensorboard:{here}/mine")


@pytest.mark.slow
def test_mlflow_refuses_a_store_or_a_run_that_there_is_not(here):
    skip_without("mlflow")
    refused(f"mlflow:sqlite:///{here / 'mlflow.db'}#0123", here, "MLflow says: .*0123")
    refused(f"mlflow:{here / 'mlruns'}", here, "MLflow says: .*maintenance mode")
    refused("mlflow:nonsense://x", here, "MLflow says: .*nonsense")


def test_trackio_refuses_a_run_that_there_is_not(here):
    skip_without("trackio")
    refused("trackio:project#mine", here, "the project project has no run mine")


def told_by(asked, here, monkeypatch):
    """What is said where a row cannot be logged, and after how many seconds."""
    monkeypatch.setattr("benchbench.runner.logs.follow.row_of", lambda run: row(30, 0.3))
    told = []
    logs = Logs([asked], here / "results", told.append)
    began = time.monotonic()
    logs.add([None])
    return told, time.monotonic() - began


@pytest.mark.slow
def test_a_server_of_mlflow_that_does_not_answer_is_a_sentence(here, monkeypatch):
    skip_without("mlflow")
    told, seconds = told_by("mlflow:http://127.0.0.1:9", here, monkeypatch)
    assert len(told) == 1
    assert "mlflow:http://127.0.0.1:9 does not take results now" in told[0]
    assert seconds < 120


@pytest.mark.slow
def test_a_server_of_wandb_that_does_not_answer_is_a_sentence(here, monkeypatch):
    skip_without("wandb")
    import wandb

    for name, value in {"MODE": "online", "API_KEY": "0" * 40, "BASE_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    monkeypatch.setattr("benchbench.extensions.log.wandb.TIMEOUT", 3)
    wandb.teardown()
    told, seconds = told_by("wandb:me/project", here, monkeypatch)
    assert len(told) == 1
    assert "wandb:me/project does not take results now" in told[0]
    assert seconds < 120

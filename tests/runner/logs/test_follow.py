from dataclasses import replace

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.core.record import Row
from benchbench.core.settings import changed
from benchbench.runner.events import Note
from benchbench.runner.logs import follow, loggers
from benchbench.runner.logs.follow import Logs
from benchbench.runner.logs.loggers import Place, open_logger
from benchbench.runner.logs.rows import curve_name, row_of
from benchbench.runner.run import run
from benchbench.runner.sweep import sweep
from benchbench.store.find import all_runs
from benchbench.store.folder import RunFolder
from benchbench.store.lock import RunLock
from tests.runner.logs.fake import FakeLogger
from tests.runner.sweep.series import impatient, on_list, scripted_list
from tests.runner.toy import make_world, settings


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def swept(world, tmp_path_factory):
    """Three finished runs of a series; nothing was logged."""
    folder = tmp_path_factory.mktemp("swept")
    sweep(on_list(world, scripted_list(folder, 3), folder / "results"), readiness=impatient())
    return all_runs(folder / "results")


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(loggers, "LOGGERS", {"fake": "tests.runner.logs.fake:FakeLogger"})
    monkeypatch.setattr(follow, "PAUSE", 0.0)
    return FakeLogger.reset()


def expected(runs):
    return {(name, row.step, value) for row in map(row_of, runs) for name, value in row.values.items()}


def held(fake):
    assert set(fake.held.values()) <= {1}, "a value is there twice"
    return {point[1:] for point in fake.held}


def logged(output, runs, *asked):
    told = []
    logs = Logs(asked or ("fake",), output, told.append)
    logs.add(runs)
    logs.finish()
    return told


def test_each_metric_of_tasks_and_groups_has_its_curves(swept):
    row = row_of(next(run for run in swept if run.record().step == 20))
    record = next(run for run in swept if run.record().step == 20).record()
    assert (row.step, row.tokens, row.series) == (20, 2000, record.series)
    assert {name.split("/")[1] for name in row.values} == {"tokens", *(one.task for one in record.rows)}
    quiz = next(one for one in record.rows_of("toy_quiz") if one.metric == "acc")
    curves = ("benchbench/toy_quiz/acc", "benchbench/toy_quiz/acc_low", "benchbench/toy_quiz/acc_high")
    assert tuple(row.values[name] for name in curves) == (quiz.value, quiz.ci_low, quiz.ci_high)
    assert row.ends >= set(curves[1:])
    assert curves[0] not in row.ends
    assert "benchbench/toy_quiz/bpb_gold" in row.values
    assert row.values["benchbench/tokens"] == 2000


def test_a_group_has_curves_of_its_own_also_where_a_task_has_its_name(swept):
    record = swept[0].record()
    mean = Row(task="toy", metric="acc", value=0.5, ci_low=0.4, ci_high=0.6, is_group=True)
    named = (("toy", "benchbench/toy/acc"), ("toy_quiz", "benchbench/toy_quiz.group/acc"))
    assert [curve_name(replace(mean, task=name), record) for name, _ in named] == [curve for _, curve in named]


def test_a_second_time_nothing_is_logged(swept, fake, tmp_path):
    assert logged(tmp_path, swept) == []
    assert held(fake) == expected(swept)
    assert [row.step for row in fake.batches[0].rows] == [10, 20, 30]
    logged(tmp_path, swept)
    assert len(fake.batches) == 1


def test_what_came_later_goes_into_the_same_run(swept, fake, tmp_path):
    for one in swept:
        logged(tmp_path, [one])
    assert held(fake) == expected(swept)
    assert len({batch.run for batch in fake.batches}) == 1
    assert [batch.tries for batch in fake.batches] == [0, 1, 2]


@pytest.mark.parametrize("takes", [0, 5])
def test_a_logger_that_is_down_gets_everything_when_it_is_up(swept, fake, tmp_path, takes):
    told = []
    logs = Logs(("fake",), tmp_path, told.append)
    fake.trouble, fake.takes = ConnectionError("no route\nto host"), takes
    logs.add(swept[:1])
    logs.add(swept[1:2])
    assert len(told) == 1, "one sentence for one reason"
    assert "fake does not take results now: no route to host" in told[0]
    fake.trouble = None
    logs.add(swept[2:])
    assert held(fake) == expected(swept)
    assert told[1:] == ["fake works again: what had waited is logged."]


def test_what_a_command_could_not_log_the_next_one_does(swept, fake, tmp_path):
    fake.trouble = OSError("down")
    told = logged(tmp_path, swept)
    assert told[-1].startswith("3 results could not be logged to fake. Nothing is lost")
    fake.trouble = None
    assert logged(tmp_path, swept) == []
    assert held(fake) == expected(swept)
    assert [row.step for row in fake.batches[-1].again] == [10, 20, 30]
    assert [batch.tries for batch in fake.batches] == [3 * n for n in range(len(fake.batches))], "no number comes twice"


def test_after_trouble_the_logger_is_left_alone_for_a_while(swept, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "PAUSE", 1000.0)
    fake.trouble = OSError("down")
    logs = Logs(("fake",), tmp_path, lambda text: None)
    logs.add(swept)
    logs.retry()
    assert len(fake.batches) == 1
    logs.finish()
    assert len(fake.batches) == 2


def test_what_may_be_lost_is_asked_for_by_the_next_process(swept, fake, tmp_path):
    fake.is_durable = False
    logs = Logs(("fake",), tmp_path, lambda text: None)
    logs.add(swept)
    logs.add(swept)
    assert len(fake.batches) == 1, "this process knows that it was told"
    logged(tmp_path, swept)
    assert [row.step for row in fake.batches[1].again] == [10, 20, 30]
    assert held(fake) == expected(swept)


def test_two_places_have_two_ledgers(swept, fake, tmp_path):
    logged(tmp_path, swept, "fake", "fake#mine", "fake")
    assert sorted({batch.run for batch in fake.batches}) == ["mine", f"run of {row_of(swept[0]).series}, 0"]
    assert len(list(tmp_path.glob("logged/fake-*/ledger.jsonl"))) == 2


def test_another_process_at_the_same_logger_is_waited_for(swept, fake, tmp_path, monkeypatch):
    monkeypatch.setattr(follow, "PATIENCE", 0.1)
    logged(tmp_path, swept[:1])
    folder = next(tmp_path.glob("logged/fake-*"))
    with RunLock(folder):
        told = logged(tmp_path, swept)
    assert told[-1].startswith("3 results could not be logged")
    logged(tmp_path, swept)
    assert held(fake) == expected(swept)


def test_a_torn_ledger_costs_no_value(swept, fake, tmp_path):
    logged(tmp_path, swept)
    ledger = next(tmp_path.glob("logged/fake-*/ledger.jsonl"))
    ledger.write_bytes(ledger.read_bytes()[:-10])
    logged(tmp_path, swept)
    assert held(fake) == expected(swept)
    assert len(fake.batches[-1].rows) == 1


def test_a_damaged_run_is_named_and_the_others_are_logged(world, fake, tmp_path):
    paths = [run(settings(world, f"hash,salt={n}", output=tmp_path)).path for n in (1, 2)]
    (paths[0] / "run.json").write_text("{")
    (paths[0] / ".run.json.copy").unlink(missing_ok=True)
    told = logged(tmp_path, map(RunFolder, paths))
    assert len(told) == 1
    assert str(paths[0]) in told[0]
    assert held(fake) == expected([RunFolder(paths[1])])


def test_a_run_and_a_sweep_log_what_they_finish(world, fake, tmp_path):
    told = []
    done = run(settings(world, output=tmp_path / "one", logs=("fake",)), on_event=told.append)
    assert held(fake) == expected([RunFolder(done.path)])
    assert {step for _, _, step, _ in fake.held} == {0}, "no step is known"
    run(settings(world, output=tmp_path / "one", logs=("fake",)))
    assert len(fake.batches) == 1
    fake.reset()
    asked = on_list(world, scripted_list(tmp_path, 2), tmp_path / "many")
    sweep(changed(asked, run=changed(asked.run, logs=("fake",))), readiness=impatient())
    assert held(fake) == expected(all_runs(tmp_path / "many"))
    assert [len(batch.rows) for batch in fake.batches] == [1, 1], "each as soon as it is done"


def test_a_sweep_goes_on_where_a_logger_fails(world, fake, tmp_path):
    fake.trouble = OSError("down")
    asked = on_list(world, scripted_list(tmp_path, 2), tmp_path / "results")
    asked = changed(asked, run=changed(asked.run, logs=("fake",)))
    notes = []
    found = sweep(asked, readiness=impatient(), on_event=lambda e: notes.append(e) if isinstance(e, Note) else None)
    assert len(found.done) == 2
    assert sum("does not take results" in note.text for note in notes) == 1
    fake.trouble = None
    sweep(asked, readiness=impatient())
    assert held(fake) == expected(all_runs(tmp_path / "results"))


def test_of_failed_docs_that_are_asked_again_what_changed_is_drawn_again(swept, fake, tmp_path, monkeypatch):
    first = row_of(swept[0])
    logged(tmp_path, swept[:1])
    record = swept[0].record()
    better = dict(first.values) | {"benchbench/toy_quiz/acc": 1.0}
    rows = tuple(
        changed_row(row, better) if (row.task, row.metric) == ("toy_quiz", "acc") else row for row in record.rows
    )
    monkeypatch.setattr(RunFolder, "record", lambda self: replace_rows(record, rows))
    logged(tmp_path, swept[:1])
    logged(tmp_path, swept[:1])
    assert [row.values for row in fake.batches[1].rows] == [{"benchbench/toy_quiz/acc": 1.0}]
    assert len(fake.batches) == 2


def test_groups_of_tasks_that_overlap_draw_a_value_once(world, fake, tmp_path):
    asked = on_list(world, scripted_list(tmp_path, 1), tmp_path / "results", task_groups=("toy", "toy_quiz"))
    sweep(changed(asked, run=changed(asked.run, logs=("fake",))), readiness=impatient())
    runs = all_runs(tmp_path / "results")
    assert len(runs) == 2
    assert held(fake) == expected(runs)


def changed_row(row, values):
    return replace(row, value=values[f"benchbench/{row.task}/{row.metric}"])


def replace_rows(record, rows):
    return replace(record, rows=rows)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("wandb", Place("wandb")),
        ("wandb:me/project#a1b2", Place("wandb", "me/project", "a1b2")),
        ("mlflow#run", Place("mlflow", None, "run")),
        ("mlflow:http://host:5000", Place("mlflow", "http://host:5000")),
        ("tensorboard:runs/x", Place("tensorboard", "runs/x")),
    ],
)
def test_a_place_is_read_as_it_is_written(text, place):
    assert Place.read(text) == place
    assert Place.read(str(place)) == place


@pytest.mark.parametrize("text", ["", ":x", "wandb:", "wandb#", "wandb:#x"])
def test_a_place_without_a_part_is_refused(text):
    with pytest.raises(ArgumentError, match="written NAME"):
        Place.read(text)


def test_an_unknown_logger_is_refused_before_anything_is_scored(world, tmp_path):
    with pytest.raises(ArgumentError, match=r"no logger named 'wandbb'.*mlflow.*Did you mean wandb"):
        open_logger(Place("wandbb"), tmp_path)
    for ask in (
        lambda: run(settings(world, output=tmp_path / "one", logs=("wandbb",))),
        lambda: sweep(
            changed(s := on_list(world, scripted_list(tmp_path, 1), tmp_path / "one"), run=changed(s.run, logs=("x",)))
        ),
    ):
        with pytest.raises(ArgumentError, match="no logger named"):
            ask()
    assert not (tmp_path / "one").exists()


def test_one_run_does_not_take_several_series(world, tmp_path):
    asked = on_list(world, scripted_list(tmp_path, 1), tmp_path)
    with pytest.raises(ArgumentError, match="names one run, but there are several --model"):
        changed(asked, models=("a", "b"), listed=None, run=changed(asked.run, logs=("wandb:p#mine",)))


def test_loggers_are_no_part_of_who_a_run_or_sweep_is(world, tmp_path):
    asked = on_list(world, scripted_list(tmp_path, 1), tmp_path)
    logging = changed(asked, run=changed(asked.run, logs=("wandb",)))
    assert logging.sweep_id() == asked.sweep_id()
    assert logging.run.as_record() == asked.run.as_record()

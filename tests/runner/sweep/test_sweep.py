import json
import os
import shutil
import threading
import time

import pytest

import benchbench
from benchbench.backends.encode import Encoder
from benchbench.cli.sweep_view import trainings_of
from benchbench.core.errors import ArgumentError
from benchbench.runner.checkpoint import Readiness
from benchbench.runner.settings import from_json, to_json
from benchbench.runner.sweep import session as session_module
from benchbench.runner.sweep import sweep
from benchbench.runner.sweep.folder import SweepWriter, status_of
from benchbench.runner.sweep.session import CheckpointFinished, CheckpointSkipped
from benchbench.store.lock import RunLock
from tests import models
from tests.runner.sweep.series import (
    impatient,
    mpt_series,
    on_folder,
    on_list,
    results,
    scripted_list,
    separate_run,
)
from tests.runner.toy import comparable, make_world, part_bytes

STEPS = (5, 20, 100)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return mpt_series(tmp_path_factory.mktemp("runs") / "csmpt", STEPS)


@pytest.fixture
def copied(series, tmp_path):
    return shutil.copytree(series, tmp_path / "csmpt")


def test_a_sweep_gives_what_separate_runs_give_to_the_byte(world, series, tmp_path):
    settings = on_folder(world, series, tmp_path / "results")
    swept = results(sweep(settings, readiness=impatient()).folder)
    assert tuple(swept) == STEPS
    for step in STEPS:
        alone = separate_run(settings, str(series / f"checkpoint-{step}"), tmp_path / f"alone{step}")
        assert (comparable(alone.record), part_bytes(alone.path)) == swept[step]
    rows = benchbench.load_runs(tmp_path / "results")
    assert set(rows["step"]) == set(STEPS)
    assert (rows["tokens_seen"] == 1000 * rows["step"]).all()
    assert set(rows["model"]) == {f"csmpt@checkpoint-{step}" for step in STEPS}


def test_prompts_and_tokens_are_made_once_and_one_model_is_opened(world, series, tmp_path, monkeypatch):
    encoded, opened = [], []
    encode, open_backend = Encoder._encode, session_module.open_backend
    monkeypatch.setattr(
        Encoder, "_encode", lambda self, texts, special: encoded.extend(texts) or encode(self, texts, special)
    )
    monkeypatch.setattr(session_module, "open_backend", lambda options: opened.append(options) or open_backend(options))
    counts = []

    def note(event):
        if isinstance(event, CheckpointFinished):
            counts.append(len(encoded))

    sweep(on_folder(world, series, tmp_path / "results"), on_event=note, readiness=impatient())
    assert len(counts) == 3
    assert counts[0] > 0
    assert counts == [counts[0]] * 3
    assert len(opened) == 1


@pytest.mark.parametrize(("order", "expected"), [("newest", [100, 90, 80]), ("oldest", [10, 20, 30])])
def test_checkpoints_come_by_step_not_by_name(world, tmp_path, order, expected):
    seen = []

    def note(event):
        if isinstance(event, CheckpointFinished):
            seen.append(event.checkpoint.step)

    settings = on_list(world, scripted_list(tmp_path, 10), tmp_path / "results", order=order)
    sweep(settings, on_event=note, readiness=impatient())
    assert seen[:3] == expected
    assert len(seen) == 10


def test_what_is_done_is_not_done_again(world, tmp_path):
    settings = on_list(world, scripted_list(tmp_path, 3), tmp_path / "results")
    sweep(settings, readiness=impatient())
    again = []
    second = sweep(settings, on_event=again.append, readiness=impatient())
    assert not [event for event in again if isinstance(event, CheckpointFinished)]
    assert [done.step for done in second.done] == [10, 20, 30]


def test_what_a_killed_writer_left_behind_goes(world, tmp_path):
    settings = on_list(world, scripted_list(tmp_path, 2), tmp_path / "results")
    folder = SweepWriter.create(settings)
    unit = folder.path / "units" / "series@10"
    unit.mkdir(parents=True)
    strays = [folder.path / ".sweep.json.1.tmp", unit / ".state.json.1.tmp"]
    for stray in strays:
        stray.write_text("{")
    SweepWriter.create(settings)
    assert [stray.exists() for stray in strays] == [False, True], "another process may be at work on the unit"
    sweep(settings, readiness=impatient())
    assert not list(folder.path.rglob("*.tmp"))


def test_a_unit_that_another_process_works_on_is_left_to_it(world, tmp_path):
    settings = on_list(world, scripted_list(tmp_path, 2), tmp_path / "results")
    folder = SweepWriter.create(settings)
    unit = folder.path / "units" / "series@10"
    unit.mkdir(parents=True)
    with RunLock(unit):
        result = sweep(settings, readiness=impatient())
        assert [done.step for done in result.done] == [20]
        assert [unit.state for unit in status_of(folder, settings)] == ["running", "done"]
    ((checkpoint, why),) = result.skipped
    assert (checkpoint.step, "is being written by process" in why) == (10, True)
    assert [done.step for done in sweep(settings, readiness=impatient()).done] == [10, 20]


def test_a_task_that_changed_is_asked_anew_and_never_mixed_into_one_curve(tmp_path):
    world = make_world(tmp_path / "world")
    listed = scripted_list(tmp_path, 2)
    both = listed.read_text()
    settings = on_list(world, listed, tmp_path / "results", task_groups=("toy_quiz",))
    sweep(settings, readiness=impatient())
    file = world / "tasks" / "toy_quiz.yaml"
    file.write_text(file.read_text().replace("Otázka", "Úloha"))
    listed.write_text(both.splitlines()[1] + "\n")
    folder = sweep(settings, readiness=impatient()).folder
    assert {point.step for one in trainings_of(folder) for curve in one.curves for point in curve.points} == {20}
    listed.write_text(both)
    folder = sweep(settings, readiness=impatient()).folder
    assert {point.step for one in trainings_of(folder) for curve in one.curves for point in curve.points} == {10, 20}


def test_an_overwritten_checkpoint_is_scored_anew_and_never_with_old_answers(world, copied, tmp_path):
    settings = on_folder(world, copied, tmp_path / "results")
    before = results(sweep(settings, readiness=impatient()).folder)
    models.tiny_mpt(copied / "checkpoint-20", seed=7)
    after = results(sweep(settings, readiness=impatient()).folder)
    alone = separate_run(settings, str(copied / "checkpoint-20"), tmp_path / "alone")
    assert after[20] == (comparable(alone.record), part_bytes(alone.path))
    assert after[20][0]["run_id"] != before[20][0]["run_id"]
    assert {step: after[step] for step in (5, 100)} == {step: before[step] for step in (5, 100)}


def test_a_checkpoint_that_was_deleted_keeps_its_point(world, copied, tmp_path):
    settings = on_folder(world, copied, tmp_path / "results")
    sweep(settings, readiness=impatient())
    shutil.rmtree(copied / "checkpoint-5")
    assert [done.step for done in sweep(settings, readiness=impatient()).done] == list(STEPS)


def test_a_broken_checkpoint_is_reported_and_passed_over(world, copied, tmp_path):
    file = copied / "checkpoint-20" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    seen = []
    result = sweep(on_folder(world, copied, tmp_path / "results"), on_event=seen.append, readiness=impatient())
    assert [done.step for done in result.done] == [5, 100]
    (passed,) = [event for event in seen if isinstance(event, CheckpointSkipped)]
    assert "cut short" in passed.why
    assert [(checkpoint.step, why) for checkpoint, why in result.skipped] == [(20, passed.why)]


def test_another_architecture_in_between_gets_a_model_of_its_own(world, copied, tmp_path):
    shutil.rmtree(copied / "checkpoint-20")
    models.tiny_mpt(copied / "checkpoint-20", n_heads=6)
    settings = on_folder(world, copied, tmp_path / "results")
    swept = results(sweep(settings, readiness=impatient()).folder)
    for step in STEPS:
        alone = separate_run(settings, str(copied / f"checkpoint-{step}"), tmp_path / "alone")
        assert (comparable(alone.record), part_bytes(alone.path)) == swept[step]


def test_a_tokenizer_that_changes_is_refused_before_anything_is_computed(world, copied, tmp_path):
    models.tokenizer(copied / "checkpoint-20", vocab_size=300)
    with pytest.raises(ArgumentError, match=r"checkpoint-20 has another tokenizer than .*checkpoint-5.*--tokenizer"):
        sweep(on_folder(world, copied, tmp_path / "results"), readiness=impatient())
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("written", [300, 0])
def test_a_tokenizer_that_is_still_being_written_stops_nobody(world, copied, tmp_path, written):
    """Cut short it is no JSON, and while its other files are missing it is another one."""
    late = copied / "checkpoint-100"
    whole = (late / "tokenizer.json").read_bytes()
    (late / "tokenizer.json").write_bytes(whole[:written] if written else whole)
    (late / "tokenizer_config.json").rename(tmp_path / "kept.json")

    def write_the_rest():
        (late / "tokenizer.json").write_bytes(whole)
        (tmp_path / "kept.json").rename(late / "tokenizer_config.json")

    old = time.time() - 1000
    for path in [*copied.rglob("*")]:
        if path.is_file() and late not in path.parents:
            os.utime(path, (old, old))
    rest = threading.Timer(0.5, write_the_rest)
    rest.start()
    result = sweep(on_folder(world, copied, tmp_path / "results"), readiness=Readiness(settle=2.0))
    rest.join()
    assert sorted(done.step for done in result.done) == list(STEPS)
    assert result.skipped == ()


def test_a_tokenizer_that_is_broken_costs_only_its_checkpoint(world, copied, tmp_path):
    (copied / "checkpoint-20" / "tokenizer.json").write_text('{"half')
    result = sweep(on_folder(world, copied, tmp_path / "results"), readiness=impatient())
    assert [done.step for done in result.done] == [5, 100]
    ((checkpoint, why),) = result.skipped
    assert (checkpoint.step, "tokenizer" in why) == (20, True), why


def test_several_series_and_task_groups_are_units_of_their_own(world, series, tmp_path):
    other = mpt_series(tmp_path / "frmpt", (5, 10))
    settings = on_folder(
        world, series, tmp_path / "results", models=(str(series), str(other)), task_groups=("toy_quiz", "toy_write")
    )
    done = sweep(settings, readiness=impatient()).done
    assert len(done) == 2 * (3 + 2)
    assert {(one.series, one.step) for one in done} == {("csmpt", s) for s in STEPS} | {("frmpt", s) for s in (5, 10)}


def test_a_list_gives_steps_tokens_and_order_to_any_names(world, tmp_path):
    folder = tmp_path / "odd"
    for name, seed in (("final", 1), ("bábovka", 2)):
        models.tiny_mpt(folder / name, seed=seed)
    listed = tmp_path / "list.csv"
    listed.write_text("step,path,tokens\n900,odd/final,9e6\n300,odd/bábovka,\n")
    settings = on_folder(world, folder, tmp_path / "results", models=("cs",), listed=listed)
    done = sweep(settings, readiness=impatient()).done
    assert [(one.step, one.tokens_seen, one.series) for one in done] == [(300, None, "cs"), (900, 9_000_000, "cs")]
    rows = benchbench.load_runs(tmp_path / "results")
    assert set(rows["model"]) == {"cs@step900", "cs@step300"}
    assert set(rows["tokens_seen"].dropna()) == {9_000_000}


def test_two_trainings_in_folders_of_one_name_are_two_series(world, tmp_path):
    folders = [mpt_series(tmp_path / mix / "hf", (5,)) for mix in ("mix-a", "mix-b")]
    settings = on_folder(world, folders[0], tmp_path / "results", models=tuple(map(str, folders)))
    done = sweep(settings, readiness=impatient()).done
    assert [(one.series, one.checkpoint) for one in done] == [
        ("mix-a/hf", "mix-a/hf@checkpoint-5"),
        ("mix-b/hf", "mix-b/hf@checkpoint-5"),
    ]
    assert set(benchbench.load_runs(tmp_path / "results").series) == {"mix-a/hf", "mix-b/hf"}


def test_a_name_given_to_a_series_stands_for_one_training(world, series, copied, tmp_path):
    settings = on_folder(world, series, tmp_path / "results", name="mix", task_groups=("toy_quiz",))
    done = sweep(settings, readiness=impatient()).done
    assert {one.series for one in done} == {"mix"}
    assert [one.checkpoint for one in done] == [f"mix@checkpoint-{step}" for step in STEPS]
    assert sweep(settings, readiness=impatient()).done == done, "the same command goes on"
    longer = on_folder(world, series, tmp_path / "results", name="mix", task_groups=("toy_write",))
    assert len(sweep(longer, readiness=impatient()).done) == 3, "other tasks of the same training"
    elsewhere = on_folder(world, copied, tmp_path / "results", name="mix", task_groups=("toy_quiz",))
    with pytest.raises(ArgumentError, match="--name 'mix' already stands for a training that lies elsewhere"):
        sweep(elsewhere, readiness=impatient())


def test_a_checkpoint_with_two_readings_does_not_end_a_watch(world, copied, tmp_path):
    settings = on_folder(world, copied, tmp_path / "results", watch=True, poll=0.01, task_groups=("toy_quiz",))
    shutil.copytree(copied / "checkpoint-100", tmp_path / "late")

    def late(event):
        if isinstance(event, CheckpointFinished) and (tmp_path / "late").exists():
            (copied / "checkpoint-100-1").mkdir()
            (tmp_path / "late").rename(copied / "checkpoint-200")

    done = sweep(settings, on_event=late, keep_watching=lambda: False, readiness=impatient()).done
    assert [one.step for one in done] == [*STEPS, 200]


def test_settings_survive_the_way_over_disk(world, series, tmp_path):
    settings = on_folder(world, series, tmp_path / "results", watch=True, until=5, task_groups=("toy_quiz", None))
    again = from_json(json.loads(json.dumps(to_json(settings))))
    assert to_json(again) == to_json(settings)
    assert again.sweep_id() == settings.sweep_id()
    folder = SweepWriter.create(settings)
    assert folder.settings().sweep_id() == settings.sweep_id()


def test_scripted_models_can_be_swept_from_a_list(world, tmp_path):
    done = sweep(on_list(world, scripted_list(tmp_path, 3), tmp_path / "results"), readiness=impatient()).done
    assert [(one.step, one.tokens_seen) for one in done] == [(10, 1000), (20, 2000), (30, 3000)]
    assert len({one.model_identity for one in done}) == 3


def test_a_sweep_goes_on_where_its_results_lie_now(world, tmp_path):
    asked = on_list(world, scripted_list(tmp_path, 2), tmp_path / "old")
    first = sweep(asked).folder
    other = SweepWriter.create(on_list(world, tmp_path / "checkpoints.jsonl", tmp_path / "old", name="other"))
    (tmp_path / "old").rename(tmp_path / "new")
    moved = SweepWriter(tmp_path / "new" / "sweeps" / first.path.name)
    settings = moved.settings()
    assert settings.run.output == tmp_path / "new"
    heard = []
    again = sweep(settings, on_event=heard.append)
    assert again.folder.path == moved.path
    assert [path.name for path in sorted(moved.path.parent.iterdir())] == sorted([first.path.name, other.path.name])
    assert not (tmp_path / "old").exists()
    assert not any(isinstance(event, CheckpointFinished) for event in heard), "everything was done before"

"""A sweep whose results were damaged, or whose docs failed for a while."""

import pytest

from benchbench.runner.sweep import sweep
from benchbench.store.damage import damage_of_run, damage_of_sweep
from benchbench.store.files import copy_of, read_json, write_json
from tests.runner.sweep.series import impatient, on_list, scripted_list
from tests.runner.toy import make_world


@pytest.fixture
def swept(tmp_path):
    world = make_world(tmp_path, quiz=4, write=2)
    settings = on_list(world, scripted_list(tmp_path, 3), tmp_path / "results", task_groups=("toy_write",))
    return settings, sweep(settings, readiness=impatient())


def again(settings):
    return sweep(settings, readiness=impatient())


def test_damaged_runs_are_healed_by_the_same_sweep(swept):
    settings, first = swept
    runs = first.folder.runs()
    before = [run.record() for run in runs]
    (runs[0].path / "run.json").write_bytes(b"")
    (runs[1].path / "plan.json").write_bytes(b"{")
    next(runs[2].path.glob("items/*/*.parquet")).write_bytes(b"PAR1")
    second = again(settings)
    assert second.skipped == ()
    assert [run.record() for run in second.folder.runs()] == before
    assert not [one for run in second.folder.runs() for one in damage_of_run(run)]
    assert not list(damage_of_sweep(second.folder))


def test_one_run_that_cannot_be_read_does_not_keep_the_others_from_being_scored(swept):
    settings, first = swept
    runs = first.folder.runs()
    later = runs[1].path / "run.json"
    write_json(later, {**read_json(later), "schema_version": 99})
    copy_of(later).unlink()
    for run in (runs[0], runs[2]):
        (run.path / "run.json").unlink()
    second = again(settings)
    assert [(checkpoint.step, "schema version 99" in why) for checkpoint, why in second.failed] == [(20, True)]
    assert [run.finished for run in runs] == [True, True, True]
    assert read_json(later)["schema_version"] == 99


def test_what_is_healthy_is_not_done_again(swept):
    settings, first = swept
    stamps = [(run.path / "run.json").stat().st_mtime_ns for run in first.folder.runs()]
    second = again(settings)
    assert [(run.path / "run.json").stat().st_mtime_ns for run in second.folder.runs()] == stamps
    assert second.done == first.done

import json

import pytest

from benchbench.core.errors import StoreError
from benchbench.store.find import find_models
from benchbench.store.folder import RunWriter
from tests.store.make import finished_run, planned, record


def add(root, model, run_id="abc", *, weights="w1", finished="2026-01-02", **more):
    path = finished_run(root / model.replace("/", "--") / run_id)
    changed = record(run_id, model=model, **more)
    changed["backend"]["model_identity"] = weights
    changed["provenance"]["finished"] = finished
    (path / "run.json").write_text(json.dumps(changed))
    return path


def names(root, *typed):
    return [model.name for model in find_models(list(typed), root)]


def test_a_model_is_found_by_path_id_beginning_and_name(tmp_path):
    path = add(tmp_path, "BUT-FIT/csmpt7b", "abcdef")
    add(tmp_path, "other", "ffffff")
    for typed in (path, "abcdef", "abc", "BUT-FIT--csmpt7b/abcdef", "BUT-FIT/csmpt7b", "csmpt7b", "BUT-FIT--csmpt7b"):
        (model,) = find_models([str(typed)], tmp_path)
        assert (model.name, model.runs[0].folder.path.name) == ("BUT-FIT/csmpt7b", "abcdef"), typed


@pytest.mark.parametrize(
    "model", ["csmpt@step500", "csmpt@checkpoint-500", "csmpt@ep0-ba500-rank0", "org/csmpt@step500"]
)
def test_a_checkpoint_is_found_by_its_bare_step(tmp_path, model):
    add(tmp_path, model, "abc")
    add(tmp_path, "csmpt@step1500", "def", weights="w2")
    assert names(tmp_path, "csmpt@500", "csmpt@1500") == [model, "csmpt@step1500"]


def test_a_recorded_step_goes_before_the_name(tmp_path):
    add(tmp_path, "csmpt@final", "abc", checkpoint={"step": 130_000, "tokens_seen": None})
    assert names(tmp_path, "csmpt@130000") == ["csmpt@final"]


def test_all_runs_of_a_model_are_taken_newest_first(tmp_path):
    add(tmp_path, "m", "aaa", finished="2026-01-02")
    add(tmp_path, "m", "bbb", finished="2026-02-02")
    (model,) = find_models(["m"], tmp_path)
    assert [run.folder.path.name for run in model.runs] == ["bbb", "aaa"]
    assert model.tasks() == ["toy"]


def test_one_name_for_two_weights_is_refused(tmp_path):
    add(tmp_path, "m", "aaa", weights="w1")
    add(tmp_path, "m", "bbb", weights="w2", finished="2026-02-02")
    with pytest.raises(StoreError) as refused:
        find_models(["m"], tmp_path)
    assert str(refused.value) == (
        "'m' fits runs of 2 different weights: m/bbb (finished 2026-02-02); m/aaa (finished 2026-01-02). Name a run, "
        "such as m/bbb."
    )


def test_equal_names_get_their_run_s_id(tmp_path):
    add(tmp_path, "m", "aaa", weights="w1")
    add(tmp_path, "m", "bbb", weights="w2")
    assert names(tmp_path, "aaa", "bbb") == ["m#aaa", "m#bbb"]


def test_an_unknown_name_is_a_sentence_with_what_there_is(tmp_path):
    add(tmp_path, "csmpt7b", "aaa")
    with pytest.raises(
        StoreError, match=r"no finished run or model 'csmqt7b' .*Did you mean csmpt7b\? There are csmpt7b"
    ):
        find_models(["csmqt7b"], tmp_path)
    with pytest.raises(StoreError, match="no finished runs in"):
        find_models(["m"], tmp_path / "csmpt7b" / "aaa" / "items")


def test_an_ambiguous_beginning_names_the_runs(tmp_path):
    add(tmp_path, "m", "abc1")
    add(tmp_path, "n", "abc2", weights="w2")
    with pytest.raises(StoreError, match="'abc' fits 2 runs: m/abc1, n/abc2"):
        find_models(["abc"], tmp_path)


def test_an_unfinished_run_is_refused_and_a_broken_one_passed_over(tmp_path):
    add(tmp_path, "m", "aaa")
    RunWriter(tmp_path / "m" / "ccc", planned()).close()
    (tmp_path / "x" / "bad").mkdir(parents=True)
    (tmp_path / "x" / "bad" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match="passed over"), pytest.raises(StoreError, match="is not finished"):
        find_models(["ccc"], tmp_path)


@pytest.mark.parametrize(
    ("text", "lacks"), [("{}", "model, backend, tasks"), ('{"tasks": {"toy": {}}}', "model, backend, groups")]
)
def test_a_record_that_says_too_little_is_passed_over_or_named(tmp_path, text, lacks):
    add(tmp_path, "m", "aaa")
    odd = tmp_path / "odd" / "zzz"
    odd.mkdir(parents=True)
    (odd / "run.json").write_text(text)
    with pytest.warns(UserWarning, match=f"passed over .*zzz: .*zzz/run.json lacks {lacks}"):
        assert names(tmp_path, "m") == ["m"]
    with pytest.raises(StoreError, match="damaged, or of another version"):
        find_models([str(odd)], tmp_path)


def at(location):
    """What a record says of a model that lay at `location`."""
    provenance = {"location": str(location), "home": str(location)}
    return {"settings": {"model": str(location), "revision": None}, "provenance": provenance}


def test_two_models_of_one_name_are_found_by_more_of_their_paths(tmp_path):
    for run in ("runA", "runB"):
        add(tmp_path, "final", run, weights=run, **at(f"/exp/{run}/final"))
    assert names(tmp_path, "runA/final", "runB/final") == ["runA/final", "runB/final"]
    with pytest.raises(StoreError) as refused:
        find_models(["final"], tmp_path)
    assert str(refused.value) == (
        "'final' fits runs of 2 different weights: final/runA (finished 2026-01-02, /exp/runA/final); final/runB "
        "(finished 2026-01-02, /exp/runB/final). Name a model, such as runA/final or runB/final, or a run, such as "
        "final/runA."
    )


def test_two_weights_of_one_step_are_refused_with_dates_and_run_ids(tmp_path):
    add(tmp_path, "run@step5", "old1", weights="w1", finished="2026-01-02T10:00:00", **at("/exp/run/step5"))
    add(tmp_path, "run@step5", "new1", weights="w2", finished="2026-01-03T11:30:00", **at("/exp/run/step5"))
    with pytest.raises(StoreError) as refused:
        find_models(["run@5"], tmp_path)
    said = str(refused.value)
    assert "run@step5/new1 (finished 2026-01-03T11:30:00, /exp/run/step5); run@step5/old1 (finished 2026-01-02T" in said
    assert said.endswith("Name a run, such as run@step5/new1.")
    assert names(tmp_path, "run@step5/new1", "old1") == ["run@step5#new1", "run@step5#old1"]


def test_a_checkpoint_is_found_by_the_series_that_the_record_says(tmp_path):
    add(tmp_path, "mine", "abc", series="mix", step=500, tokens_seen=None)
    assert names(tmp_path, "mix@500") == ["mine"]

import pytest

from benchbench.store.folder import RunFolder, RunWriter
from benchbench.store.reuse import reusable, same_compute
from tests.store.make import finished_run, item, plan, planned

W1 = plan()["compute"]


def test_items_of_the_same_weights_are_found_under_any_name(tmp_path):
    finished_run(tmp_path / "other-name" / "xyz")
    runs = same_compute(tmp_path, W1, but=tmp_path / "m" / "abc")
    assert reusable(runs, "toy", {"key1", "key99"}) == {"key1": item(1)}


def test_items_of_other_weights_are_never_found(tmp_path):
    finished_run(tmp_path / "m" / "abc", compute={**W1, "model_identity": "w2"})
    assert same_compute(tmp_path, W1, but=tmp_path / "m" / "new") == []


def test_items_of_an_unfinished_run_are_found(tmp_path):
    with RunWriter(tmp_path / "m" / "abc", planned()) as writer, writer.open_task("toy") as live:
        live.append(item(4))
    runs = same_compute(tmp_path, W1, but=tmp_path / "m" / "new")
    assert list(reusable(runs, "toy", {"key4"})) == ["key4"]


def test_failed_items_are_never_reused(tmp_path):
    with RunWriter(tmp_path / "m" / "abc", planned()) as writer:
        with writer.open_task("toy") as live:
            live.append(item(4, outcome="failed"))
        assert reusable([RunFolder(writer.path)], "toy", {"key4"}) == {}
        writer.seal("toy", [item(4, outcome="failed")])
        assert reusable([RunFolder(writer.path)], "toy", {"key4"}) == {}


def test_a_broken_neighbour_is_passed_over_with_a_warning(tmp_path):
    good = finished_run(tmp_path / "m" / "good")
    bad = finished_run(tmp_path / "m" / "bad")
    (bad / "items/toy/part-00000.parquet").write_bytes(b"PAR1 no")
    worse = finished_run(tmp_path / "m" / "worse")
    (worse / "plan.json").write_text("{")
    with pytest.warns(UserWarning, match="passed over"):
        runs = same_compute(tmp_path, W1, but=tmp_path / "m" / "new")
    assert [run.path for run in runs] == [bad, good]
    with pytest.warns(UserWarning, match="is damaged: its content is not that of its checksum"):
        assert list(reusable(runs, "toy", {"key0"})) == ["key0"]


def test_the_run_itself_is_not_its_own_source(tmp_path):
    path = finished_run(tmp_path / "m" / "abc")
    assert same_compute(tmp_path, W1, but=path) == []

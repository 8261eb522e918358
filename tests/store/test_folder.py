import os

import pytest

from benchbench.core.errors import StoreError
from benchbench.store.attempts import choose_attempt
from benchbench.store.folder import LIVE, PART, RunFolder, RunWriter
from tests.store.make import finished_run, item, plan, planned, record, recorded


def test_the_plan_is_there_before_anything_else_and_the_record_makes_it_finished(tmp_path):
    with RunWriter(tmp_path / "run", planned()) as writer:
        assert RunFolder(writer.path).plan().to_json() == {**plan(), "series": "m", "step": None, "tokens_seen": None}
        assert not writer.finished
        with pytest.raises(StoreError, match="not finished"):
            RunFolder(writer.path).record()
        writer.finish(recorded(record()))
    named = {"series": "m", "step": None, "tokens_seen": None}
    found = RunFolder(tmp_path / "run").record().to_json()
    assert len(found["provenance"].pop("checksum")) == 64
    assert found == {**record(), **named}


def test_items_written_before_a_kill_are_read_again(tmp_path):
    with RunWriter(tmp_path, planned()) as writer:
        live = writer.open_task("toy")
        live.append(item(2))
        live.append(item(0), reused=True)
        with (tmp_path / "items/toy" / LIVE).open("ab") as file:
            file.write(b'{"task": "toy", "doc_id": 1, "doc_')
        live.close()
    assert RunFolder(tmp_path).items("toy") == [item(0), item(2)]
    assert [reused for _, reused in RunFolder(tmp_path).live("toy")] == [True, False]


def test_the_last_line_of_a_doc_counts(tmp_path):
    with RunWriter(tmp_path, planned()) as writer, writer.open_task("toy") as live:
        live.append(item(0, outcome="failed"))
        live.append(item(0))
    assert RunFolder(tmp_path).items("toy") == [item(0)]


def test_sealing_replaces_the_lines_by_a_part(tmp_path):
    finished_run(tmp_path / "run")
    names = sorted(path.name for path in (tmp_path / "run").rglob("*") if path.is_file())
    copies = [".log.jsonl.copy", ".plan.json.copy", ".run.json.copy"]
    assert names == [*copies, "log.jsonl", PART, "plan.json", "run.json"]
    assert [i.doc_id for i in RunFolder(tmp_path / "run").items("toy")] == [0, 1, 2]


def test_a_kill_between_part_and_removal_of_the_lines_shows_each_item_once(tmp_path):
    path = finished_run(tmp_path / "run")
    with RunWriter(path, planned()) as writer:
        with writer.open_task("toy") as live:
            live.append(item(0))
        assert len(writer.items("toy")) == 3
        writer.drop_live("toy")
    assert not (path / "items/toy" / LIVE).exists()


def test_a_resumed_run_keeps_its_first_plan(tmp_path):
    with RunWriter(tmp_path, planned(model="first")) as writer:
        assert not writer.resumed
    with RunWriter(tmp_path, planned(model="second")) as writer:
        assert writer.resumed
        assert writer.plan().model == "first"


def test_a_disk_that_fills_while_sealing_keeps_the_lines(tmp_path, monkeypatch):
    with RunWriter(tmp_path, planned()) as writer:
        with writer.open_task("toy") as live:
            live.append(item(0))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(StoreError, match="disk is full"):
                writer.seal("toy", [item(0)])
        assert not writer.is_sealed("toy")
        assert writer.items("toy") == [item(0)]


def test_a_name_with_a_slash_stays_inside_the_run(tmp_path):
    assert RunFolder(tmp_path).task_folder("../../etc/x").parent == tmp_path / "items"


def test_attempts_are_numbered_and_the_newest_is_gone_on_with(tmp_path):
    assert choose_attempt(tmp_path, "abc", fresh=False) == tmp_path / "abc"
    assert choose_attempt(tmp_path, "abc", fresh=True) == tmp_path / "abc"
    (tmp_path / "abc").mkdir()
    (tmp_path / "abcd").mkdir()
    assert choose_attempt(tmp_path, "abc", fresh=False) == tmp_path / "abc"
    assert choose_attempt(tmp_path, "abc", fresh=True) == tmp_path / "abc-2"
    for number in range(3, 12):
        assert choose_attempt(tmp_path, "abc", fresh=True) == tmp_path / f"abc-{number}"
    assert choose_attempt(tmp_path, "abc", fresh=False) == tmp_path / "abc-11"

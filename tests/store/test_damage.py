"""What a stranger or a disk may have made of a run folder: refused or named, and nothing outside is touched."""

import json
import os

import pytest

from benchbench.core.errors import DamageError, StoreError, VersionError
from benchbench.store.damage import damage_of_run, restore
from benchbench.store.extra_scores import read_added, remove_added
from benchbench.store.files import encode_json, inside, read_json, write_json
from benchbench.store.find import SweepFolder, finished_runs
from benchbench.store.folder import LIVE, PART, RunFolder, RunWriter
from benchbench.store.frames import load_items, load_runs
from benchbench.store.lines import LineLog, encode_line, judged_lines, read_lines
from tests.store.make import finished_run, item, planned

ADDED = {"schema_version": 1, "task": "toy", "spec": {"name": "f1", "columns": []}, "rows": [], "made": {}}


def test_every_flipped_bit_of_a_record_is_found(tmp_path):
    path = tmp_path / "plan.json"
    write_json(path, {"a": 1, "provenance": {"host": "x"}})
    whole, unseen = path.read_bytes(), []
    for place in range(len(whole) * 8):
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            values = read_json(path)
        except DamageError:
            continue
        assert (values["a"], values["provenance"]["host"]) == (1, "x")
        unseen.append(place // 8)
    assert min(unseen) >= whole.index(b'"checksum"')
    assert len(unseen) < 200


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"[" * 200_000, "nested too deeply"), (b'{"a": 1' + b"0" * 5000 + b"}", "digits"), (b"[]", "no JSON object")],
)
def test_what_json_may_hold_and_a_record_does_not_is_a_sentence(tmp_path, content, words):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(DamageError, match=words):
        read_json(tmp_path / "run.json")


def test_a_link_a_pipe_or_a_folder_is_no_record(tmp_path):
    (tmp_path / "victim").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(DamageError, match=r"link to somewhere else|no plain file"):
            read_json(tmp_path / name)
        with pytest.raises(DamageError):
            list(read_lines(tmp_path / name))
    assert (tmp_path / "victim").read_text() == "{}"


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "out", "out/deeper", "."])
def test_names_from_a_file_stay_inside_its_folder(tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "out").symlink_to(tmp_path)
    assert inside(tmp_path / "run", "items", "x") == tmp_path / "run/items/x"
    with pytest.raises(DamageError, match="lies outside of"):
        inside(tmp_path / "run", name)


@pytest.mark.parametrize("name", ["log.jsonl", ".lock", "plan.json", "items", "items/toy", "items/toy/live.jsonl"])
def test_no_link_in_a_run_leads_a_writer_out_of_it(tmp_path, name):
    victim = tmp_path / "victim"
    (victim / "toy").mkdir(parents=True)
    for file in ("precious", "toy/precious"):
        (victim / file).write_text('{"torn": ')
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.symlink_to(victim if name in ("items", "items/toy") else victim / "precious")
    before = sorted(victim.rglob("*"))
    with pytest.raises(StoreError):
        _write_into(tmp_path / "run")
    assert (victim / "precious").read_text() == (victim / "toy/precious").read_text() == '{"torn": '
    assert sorted(victim.rglob("*")) == before


def _write_into(run):
    with RunWriter(run, planned()) as writer:
        writer.plan()
        writer.open_task("toy").append(item())


@pytest.mark.parametrize("part", ["/tmp/x.parquet", "../../plan.json", "x.parquet", "a/f1-0a1b2c3d.parquet", "", ".."])
def test_a_part_of_added_scores_is_a_file_beside_them(tmp_path, part):
    run = finished_run(tmp_path / "run")
    folder = run / "scores" / "toy"
    folder.mkdir(parents=True)
    write_json(folder / "f1.json", {**ADDED, "part": part})
    with pytest.raises(DamageError, match=r"`part` of .* is the name of a file beside it"):
        read_added(run)
    remove_added(run, "toy", "f1")
    assert (run / "plan.json").is_file()
    assert read_added(run) == []


def test_a_sweep_does_not_name_runs_outside_of_its_results(tmp_path):
    sweep = SweepFolder(tmp_path / "results" / "sweeps" / "s")
    (sweep.path / "units" / "a").mkdir(parents=True)
    finished_run(tmp_path / "elsewhere" / "abc")
    texts = ("series", "checkpoint", "target", "stamp", "asked", "run_id", "model_identity", "tokenizer_identity")
    done = {**dict.fromkeys(texts, "x"), "step": 1, "tokens_seen": None, "group": 0, "failed_share": 0, "timing": {}}
    write_json(sweep.path / "units/a/done.json", {**done, "finished": "", "run": "../elsewhere/abc"})
    with pytest.warns(UserWarning, match="lies outside of"):
        assert sweep.all_done() == []


def test_later_versions_are_refused_by_every_reader(tmp_path):
    run = RunFolder(finished_run(tmp_path / "m" / "run"))
    for name in ("plan.json", "run.json"):
        write_json(run.path / name, {**read_json(run.path / name), "schema_version": 2})
    (run.path / "scores" / "toy").mkdir(parents=True)
    write_json(run.path / "scores/toy/f1.json", {**ADDED, "part": None, "schema_version": 2})
    sweep = SweepFolder(tmp_path / "sweeps" / "s")
    sweep.path.mkdir(parents=True)
    write_json(sweep.path / "sweep.json", {"schema_version": 2, "settings": {}})
    for read in (run.plan, run.record, run.own_record, sweep.content, lambda: read_added(run.path)):
        with pytest.raises(VersionError, match=r"schema version 2 of .* reads version 1"):
            read()
    assert {one.remedy for one in damage_of_run(run)} == {"none"}


def test_damaged_runs_are_passed_over_by_what_reads_many(tmp_path):
    finished_run(tmp_path / "m" / "good")
    for number, content in enumerate([b"", b"{}", b"[" * 99_999, b'{"backend": 7}', b'{"step": 1' + b"0" * 999 + b"}"]):
        (finished_run(tmp_path / "m" / f"bad{number}") / "run.json").write_bytes(content)
    with pytest.warns(UserWarning, match="passed over"):
        assert [run.folder.path.name for run in finished_runs(tmp_path)] == ["good"]
    with pytest.warns(UserWarning, match="passed over"):
        assert set(load_runs(tmp_path)["run_id"]) == {"good"}


def test_a_missing_part_is_not_an_empty_one(tmp_path):
    run = RunFolder(finished_run(tmp_path / "m" / "run"))
    (run.path / "items/toy" / PART).unlink()
    with pytest.raises(DamageError, match=r"part-00000.parquet is missing"):
        run.items("toy")
    with pytest.warns(UserWarning, match=r"part-00000.parquet is missing"):
        load_items(run.path)


def test_a_folder_of_a_former_version_is_read_and_not_called_damaged(tmp_path):
    path = finished_run(tmp_path / "m" / "run")
    for copy in path.glob(".*.copy"):
        copy.unlink()
    for name in ("plan.json", "run.json"):
        values = read_json(path / name)
        for key in ("checksum", "parts"):
            values.get("provenance", {}).pop(key, None)
        (path / name).write_text(json.dumps(values))
    (path / "log.jsonl").write_text('{"event": "session"}\n')
    run = RunFolder(path)
    assert list(damage_of_run(run)) == []
    assert run.items("toy") == [item(0), item(1), item(2)]
    (path / "items/toy" / PART).write_bytes(b"PAR1")
    assert [one.path.name for one in damage_of_run(RunFolder(path))] == [PART]


def test_a_line_whose_digit_changed_is_passed_over(tmp_path):
    path = tmp_path / LIVE
    with LineLog(path) as log:
        for number in range(3):
            log.append({"doc_id": number})
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b":1", b":7"), lines[2], b'{"doc_id": 8}\n']))
    assert list(judged_lines(path)) == [{"doc_id": 0}, None, {"doc_id": 2}, None]
    old = tmp_path / "old"
    old.write_bytes(b'{"doc_id": 5}\n' + encode_line({"doc_id": 6}))
    assert list(read_lines(old)) == [{"doc_id": 5}, {"doc_id": 6}]


def test_restoring_gives_the_bytes_back(tmp_path):
    run = RunFolder(finished_run(tmp_path / "m" / "run"))
    sound = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for name in ("run.json", "plan.json", "log.jsonl", ".run.json.copy", ".log.jsonl.copy"):
        (run.path / name).write_bytes(b"torn")
        assert [one.path.name for one in restore(RunFolder(run.path))] == [name]
        assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == sound


def test_a_checksum_is_last_and_under_provenance_where_that_is_last():
    made = json.loads(encode_json({"a": 1, "provenance": {"b": 2}}))
    assert list(made) == ["a", "provenance"]
    assert list(made["provenance"]) == ["b", "checksum"]
    assert list(json.loads(encode_json({"provenance": {}, "a": 1}))) == ["provenance", "a", "checksum"]

import errno
import os
import stat

import pytest

from benchbench.core.errors import StoreError
from benchbench.store.files import make_folder, read_json, remove_strays, write_json, write_whole


def test_a_failed_write_leaves_the_old_file_and_no_stray(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    write_whole(path, b"old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="disk is full"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_file_larger_than_the_limit_is_a_sentence(tmp_path):
    import subprocess
    import sys

    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from benchbench.store.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_whole(Path(sys.argv[1]), b'x' * 5000)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "f")], capture_output=True, text=True, check=False
    )
    assert "StoreError: cannot write" in done.stderr
    assert "outgrow" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EROFS, "read-only"), (errno.EACCES, "permission denied"), (errno.EIO, "disk reports")]
)
def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch, number, words):
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match=words):
        write_whole(tmp_path / "run.json", b"x")


def test_a_read_only_folder_is_a_sentence_for_people_who_are_not_root(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreError, match="permission denied"):
        make_folder(tmp_path / "results")


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path):
    (tmp_path / "results").write_text("")
    with pytest.raises(StoreError, match="--results"):
        make_folder(tmp_path / "results" / "model")


@pytest.mark.parametrize("content", ["", "{", "[1]", '"text"', "\x00\xff"])
def test_a_damaged_json_file_is_a_sentence(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(StoreError, match="damaged"):
        read_json(tmp_path / "run.json")


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "run.json", {"value": float("nan")})


def test_strays_of_a_killed_writer_are_removed_and_nothing_else(tmp_path):
    for name in (".run.json.12.tmp", "items/toy/.part.parquet.9.tmp", "items/toy/live.jsonl", "notes.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    remove_strays(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["live.jsonl", "notes.tmp"]

"""What strangers may bring, damaged: no traceback, no hang, no gigabytes, no file outside, no connection.

A few tries of every kind, always the same ones; `make fuzz` makes thousands.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.cli import main
from tests.fuzz.edits import Copy, Cut, Drop, Edit, Flip, Instead, Put, Splice, Twice, Write, apply
from tests.fuzz.kinds import KINDS, Case, look
from tests.fuzz.known import KNOWN, Known
from tests.fuzz.search import Search
from tests.fuzz.values import BESIDE, Raw
from tests.fuzz.watch import KEY, SECRET, call
from tests.fuzz.worlds import make_beside

TRIES = int(os.environ.get("BENCHBENCH_FUZZ_TRIES", "4"))


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the sound worlds lie."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_a_result_or_a_sentence(kind: str, place: Path) -> None:
    found = Search(KINDS[kind], place, {one.fault for one in KNOWN if one.open}).run(TRIES, start=0)
    assert [(one.fault.name, one.case, one.fault.text[-1500:]) for one in found] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_sound_world_has_no_fault(kind: str, place: Path) -> None:
    command = KINDS[kind].commands[0]
    edit = Write("more", b"")  # names the model where a kind has several
    assert look(KINDS[kind], Case(command, (edit,)), place) == []


def _id(one: Known) -> str:
    return f"{one.kind}: {one.fault}"


def _expected(one: Known) -> pytest.MarkDecorator | tuple[()]:
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=one.open) if one.open else ()


@pytest.mark.parametrize("one", [pytest.param(one, marks=_expected(one), id=_id(one)) for one in KNOWN])
def test_an_input_that_led_to_a_fault(one: Known, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if one.open:  # it shows soon enough
        monkeypatch.setattr("tests.fuzz.watch.IDLE_SECONDS", 1)
        monkeypatch.setattr("tests.fuzz.watch.CPU_SECONDS", 3)
    assert [fault.text[-1500:] for fault in look(KINDS[one.kind], one.case, place)] == []


# The watch sees what it is there for.


def outside(box: Path) -> Path:
    return box.parent / "outside"


FAULTS: dict[str, Callable[[], object]] = {
    "traceback": lambda: 1 / 0,
    "status": lambda: sys.exit(70),
    "read": lambda: Path("../outside/file").read_text(),
    "write": lambda: Path("../outside/new").write_text("x"),
    "connection": lambda: socket.create_connection(("192.0.2.1", 9), timeout=0.1),
    "process": lambda: subprocess.run(["true"], check=True),
    "code": lambda: exec(compile("1", str(Path("x.py").absolute()), "exec")),
    "memory": lambda: len(b"x" * (700 << 20)),
    "secret": lambda: print(KEY),
}


@pytest.mark.parametrize("what", FAULTS)
def test_the_watch_notes(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "box").mkdir()
    outside(tmp_path / "box").mkdir()
    (outside(tmp_path / "box") / "file").write_text("x")
    monkeypatch.setattr(main, "main", FAULTS[what])
    faults = call(tmp_path / "box", "x")[2]
    assert faults[0].what == what
    assert not (outside(tmp_path / "box") / "new").exists()


@pytest.mark.parametrize(
    "endless", [lambda: time.sleep(60), lambda: [None for _ in iter(int, 1)]], ids=["idle", "busy"]
)
def test_the_watch_ends_what_does_not_end(
    endless: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(main, "main", endless)
    monkeypatch.setattr("tests.fuzz.watch.IDLE_SECONDS", 1)
    monkeypatch.setattr("tests.fuzz.watch.CPU_SECONDS", 0.3)
    begun = time.monotonic()
    assert [fault.what for fault in call(tmp_path, "x")[2]] == ["hang"]
    assert time.monotonic() - begun < 30


def test_what_gets_out_is_noted_wherever_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "main", lambda: Path("made.bin").write_bytes(b"\x00" + SECRET.encode() + b"\xff"))
    assert [fault.name for fault in call(tmp_path, "x")[2]] == ["secret secret in .bin"]


def test_a_command_that_does_its_work_has_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "main", lambda: sys.exit(2))
    assert call(tmp_path, "x")[::2] == (2, [])


# Edits do what they say.

SOUND = b'{"a": [1, {"b": "x"}], "c": 2}'


@pytest.mark.parametrize(
    ("edit", "after"),
    [
        (Put("f.json", ("a", 1, "b"), None), b'{"a": [1, {"b": null}], "c": 2}'),
        (Put("f.json", ("c",), Raw("9", 3)), b'{"a": [1, {"b": "x"}], "c": 999}'),
        (Put("f.json", ("c",), Raw("[", 2, "1", "]")), b'{"a": [1, {"b": "x"}], "c": [[1]]}'),
        (Put("f.json", (), []), b"[]"),
        (Drop("f.json", ("a", 0)), b'{"a": [{"b": "x"}], "c": 2}'),
        (Copy("f.json", ("c",), ("a", 0)), b'{"a": [2, {"b": "x"}], "c": 2}'),
        (Twice("f.json", ("c",), 3), b'{"a": [1, {"b": "x"}], "c": 2, "c": 3}'),
        (Splice("f.json", 1, 3, b"?", 2), b'{??: [1, {"b": "x"}], "c": 2}'),
        (Flip("f.json", 0), b'z"a": [1, {"b": "x"}], "c": 2}'),
        (Cut("f.json", 2), b'{"'),
        (Write("f.json", b"ab", 2), b"abab"),
        (Put("f.json", ("nothing", 0), 1), SOUND[:-1] + b', "nothing": null}'),
    ],
)
def test_an_edit(edit: Edit, after: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_bytes(SOUND)
    apply(edit, tmp_path)
    assert (tmp_path / "f.json").read_bytes() == after


def test_what_is_no_file(tmp_path: Path) -> None:
    box = tmp_path / "box"
    make_beside(tmp_path / "beside")
    for what in ("fifo", "folder", "nothing", "outside", "loop", "zero"):
        (box / what).mkdir(parents=True)
        (box / what / "f.json").write_bytes(SOUND)
        apply(Instead(f"{what}/f.json", what), box)
    made = {path.parent.name: path for path in box.glob("*/f.json")}
    assert made["fifo"].is_fifo()
    assert made["folder"].is_dir()
    assert not (box / "nothing/f.json").exists()
    assert SECRET in made["outside"].read_text()
    assert made["zero"].is_char_device()
    assert (box / "loop/f.json").is_symlink()
    apply(Write("w.json", BESIDE.encode()), box)
    assert (box / "w.json").read_text() == str(tmp_path / "beside")

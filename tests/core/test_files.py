"""Files of strangers: regular ones only, and no more than a stated size of them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from benchbench.core.files import is_regular, open_regular, read_regular


def _socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


NO_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a pipe"),
    "folder": (Path.mkdir, "a folder"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
    "socket": (_socket, "a socket"),
    "nothing": (lambda path: None, "No such file"),
    "circle": (lambda path: path.symlink_to(path), "levels of symbolic links"),
}


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    make, message = NO_FILES[kind]
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    make(Path("x"))
    Path("link").symlink_to("x")
    for path in (Path("x"), Path("link")):
        assert not is_regular(path)
        with pytest.raises(OSError, match=message):
            read_regular(path, 10)
        with pytest.raises(OSError, match=message):
            open_regular(path)


def test_a_file_is_read_up_to_its_bound_and_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"0123456789")
    (tmp_path / "link").symlink_to("x")
    assert read_regular(tmp_path / "link", 10) == b"0123456789"
    assert is_regular(tmp_path / "link")
    with pytest.raises(OSError, match="larger than 9 bytes"):
        read_regular(tmp_path / "x", 9)
    with open_regular(tmp_path / "x") as file:
        assert file.read(3) == b"012"

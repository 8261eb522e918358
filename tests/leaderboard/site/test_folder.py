"""A build changes the whole site in one step, and touches no file that is not of a site."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchbench.core.errors import ArgumentError
from benchbench.leaderboard.site import folder as site_folder
from benchbench.leaderboard.site.folder import INSIDE, MARK, check_out, write_site

OLD = {"index.html": b"old", "models/a.html": b"old a", "models/b.html": b"old b", "data/runs.csv": b"old runs"}
NEW = {"index.html": b"new", "models/a.html": b"new a", "tasks/t.html": b"new t", "data/runs.csv": b"new runs"}
STEPS = ("mkdir", "write_bytes", "rename", "replace", "unlink", "rmdir")


def tree(folder: Path) -> dict[str, bytes]:
    """Path → content; without the mark."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != MARK]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_site(tmp_path / "site", OLD)
    assert tree(tmp_path / "site") == OLD
    return tmp_path / "site"


def only(out: Path) -> list[str]:
    """What lies beside the site."""
    return sorted(path.name for path in out.parent.iterdir() if path != out)


def no_exchange(*_: object) -> None:
    raise OSError(22, "no such step here")


@pytest.fixture(params=["one step", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of writing; the second is that of mount points and of systems without the step."""
    if request.param == "one by one":
        monkeypatch.setattr(site_folder, "_exchange", no_exchange)
    return str(request.param)


def test_the_new_site_takes_the_place_of_the_old(out: Path, way: str) -> None:
    write_site(out, NEW)
    assert tree(out) == NEW
    assert not (out / "suites").exists()
    assert only(out) == []
    assert set((out / MARK).read_text().split()) == set(NEW)


def test_files_of_others_stay(out: Path, way: str) -> None:
    (out / "CNAME").write_text("example.org")
    (out / "models" / "mine.txt").write_text("mine")
    (out / ".git" / "refs").mkdir(parents=True)
    (out / ".git" / "HEAD").write_text("ref")
    (out / "away").symlink_to("/etc")
    (out / "empty").mkdir()
    inode = (out / "CNAME").stat().st_ino
    write_site(out, NEW)
    others = {"CNAME": b"example.org", "models/mine.txt": b"mine", ".git/HEAD": b"ref"}
    assert tree(out) == NEW | others
    assert (out / "CNAME").stat().st_ino == inode
    assert (out / "away").readlink() == Path("/etc")
    assert (out / "empty").is_dir()
    assert (out / ".git" / "refs").is_dir()
    write_site(out, {"index.html": b"x"})
    assert tree(out) == {"index.html": b"x"} | others


@pytest.mark.parametrize("name", ["tasks/t.html", "tasks"])
def test_a_file_of_somebody_else_is_not_written_over(out: Path, way: str, name: str) -> None:
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    with pytest.raises(ArgumentError, match=f"site/{name} is not of the site"):
        write_site(out, NEW)
    assert (out / name).read_text() == "mine"
    assert tree(out) == OLD | {name: b"mine"}


def test_a_folder_that_leads_elsewhere_is_not_followed(out: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (out / "tasks").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArgumentError, match="site/tasks"):
        write_site(out, NEW)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_mark_of_a_stranger_removes_nothing(out: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    (out / "deep" / "er").mkdir(parents=True)
    (out / "deep" / "er" / "file").write_text("x")
    bad = ["../precious", f"{tmp_path}/precious", "models/../../precious", "deep/er/file", "models/..", "..", ".", ""]
    (out / MARK).write_text("\n".join([*bad, *OLD]))
    write_site(out, NEW)
    assert (tmp_path / "precious").read_text() == "x"
    assert (out / "deep" / "er" / "file").read_text() == "x"


def test_a_link_stays_a_link(out: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("site")
    write_site(tmp_path / "link", NEW)
    assert (tmp_path / "link").is_symlink()
    assert tree(out) == NEW


def test_the_folder_we_work_in_stays_the_same_one(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(out / "models")
    inode = out.stat().st_ino
    write_site(Path(".."), NEW)
    assert tree(Path("..")) == NEW
    assert out.stat().st_ino == inode


def test_a_mount_point_and_a_folder_below_one_that_is_not_ours_are_written_inside(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inode = out.stat().st_ino
    monkeypatch.setattr("os.path.ismount", lambda path: Path(path) == out)
    write_site(out, NEW)
    monkeypatch.undo()
    assert (tree(out), out.stat().st_ino) == (NEW, inode)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    write_site(out, OLD)
    assert (tree(out), out.stat().st_ino) == (OLD, inode)


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Does the work in a child that is killed before its `step`-th change on disk; whether it was killed."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(call: Any) -> Any:
            def stop(*given: Any, **more: Any) -> Any:
                nonlocal count
                count += 1
                if count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **more)

            return stop

        for name in ("mkdir", "open", "rename", "replace", "unlink", "rmdir", "link", "chown", "chmod", "write"):
            setattr(os, name, counted(getattr(os, name)))
        site_folder._exchange = counted(site_folder._exchange)
        for name in ("write_bytes", "write_text"):
            setattr(Path, name, counted(getattr(Path, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def test_a_kill_at_any_step_leaves_the_old_site_or_the_new_one(tmp_path: Path) -> None:
    step, seen = -1, []
    mine = {"mine.txt": b"mine", "models/mine.txt": b"mine"}
    killed = True
    while killed:
        step += 2
        out = tmp_path / str(step) / "site"
        write_site(out, OLD)
        for name, content in mine.items():
            (out / name).write_bytes(content)
        killed = killed_at(step, lambda out=out: write_site(out, NEW))  # type: ignore[misc]
        found = tree(out)
        assert found in (OLD | mine, NEW | mine), f"step {step}"
        seen.append(found == NEW | mine)
        check_out(out)
        write_site(out, NEW)
        assert tree(out) == NEW | mine
        assert only(out) == [], f"step {step}"
    assert step > 20
    assert seen == sorted(seen), "once new, always new"
    assert 3 < seen.index(True) < len(seen) - 1, "kills before and after the change"


def test_a_kill_in_the_first_build_leaves_nothing_or_all(tmp_path: Path) -> None:
    step, killed = 0, True
    while killed:
        step += 3
        out = tmp_path / str(step) / "site"
        killed = killed_at(step, lambda out=out: write_site(out, NEW))  # type: ignore[misc]
        assert not out.exists() or tree(out) == NEW
        write_site(out, NEW)
        assert tree(out) == NEW
        assert only(out) == []
    assert step > 10


def test_what_a_kill_left_of_writing_one_by_one_is_gone_after_the_next_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_folder, "_may_change_places", lambda real: False)
    step, killed = 0, True
    while killed:
        step += 3
        out = tmp_path / str(step) / "site"
        write_site(out, OLD)
        (out / "mine.txt").write_text("mine")
        killed = killed_at(step, lambda out=out: write_site(out, NEW))  # type: ignore[misc]
        if (out / "index.html").read_bytes() == b"new":
            assert all((out / name).read_bytes() == content for name, content in NEW.items()), "index.html is last"
        write_site(out, NEW)
        assert tree(out) == NEW | {"mine.txt": b"mine"}
        assert not (out / INSIDE).exists()
    assert step > 3, "a build was killed"


def test_a_file_that_came_in_the_moment_of_the_change_is_kept(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (out / "mine.txt").write_text("first")
    exchange = site_folder._exchange

    def busy(new: Path, real: Path) -> None:
        (real / "late.txt").write_text("late")
        (real / "next").write_text("second")
        (real / "next").replace(real / "mine.txt")
        exchange(new, real)

    monkeypatch.setattr(site_folder, "_exchange", busy)
    write_site(out, NEW)
    assert tree(out) == NEW | {"mine.txt": b"second", "late.txt": b"late"}


def test_the_folder_keeps_its_rights(out: Path) -> None:
    out.chmod(0o750)
    write_site(out, NEW)
    assert out.stat().st_mode & 0o777 == 0o750

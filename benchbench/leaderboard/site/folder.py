"""The folder of a site: a build changes the whole site in one step, and touches no file that is not of a site."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from benchbench.core.errors import ArgumentError, RunInUse, StoreError
from benchbench.store.files import make_folder, os_errors
from benchbench.store.lock import shortly

MARK = ".benchbench-site"
"""Names the files of a site, so that the next build takes away those that it no longer writes."""
FOLDERS = ("data", "docs", "models", "suites", "sweeps", "tasks")
INSIDE = ".benchbench-work"
"""In the folder of a site: where a new one is written, if that cannot be beside it."""
_AT_FDCWD, _EXCHANGE = -100, 2


def check_out(out: Path) -> None:
    """ArgumentError where `out` is no folder, or holds other files than a site."""
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"--to {out} is a file; a folder was expected.")
    if out.is_dir() and not (out / MARK).is_file() and any(path.name != INSIDE for path in out.iterdir()):
        raise ArgumentError(f"--to {out} holds other files than a site; give an empty or new folder.")


def write_site(out: Path, pages: Mapping[str, bytes]) -> None:
    """Writes the site into `out`; until the new one is whole, the site that was there stays as it was.

    The new site is written beside `out`, then the two folders change places in one step; files of others in `out` go
    along. Where `out` is a link, it stays, and the folder that it leads to changes. Where folders cannot change places
    (`out` is a mount point or the folder that we work in, the folder above is not ours to write, the file system or
    the operating system has no such step), files are moved into `out` one by one when all are written, `index.html`
    last: only a kill in that moment leaves files of both, until the next build.

    Raises:
        ArgumentError: a file of somebody else stands where a page belongs.
        StoreError: `out` cannot be written, or another process writes it.
    """
    real = out.resolve()
    _refuse_others(out, real, pages)
    make_folder(real.parent)
    if not (_may_change_places(real) and _written_beside(real, pages)):
        _write_inside(real, pages)


def _refuse_others(out: Path, real: Path, pages: Iterable[str]) -> None:
    ours = _site_files(real)
    folders = {page.partition("/")[0] for page in pages if "/" in page}
    taken = [folder for folder in folders if os.path.lexists(real / folder) and not _is_folder(real / folder)]
    taken += [page for page in pages if page not in ours and os.path.lexists(real / page)]
    if taken:
        raise ArgumentError(f"{out / min(taken)} is not of the site, but a page belongs there; move it away.")


def _site_files(folder: Path) -> set[str]:
    """What `MARK` names and may be a page: a build never removes anything else."""
    mark = folder / MARK
    listed = mark.read_text(encoding="utf-8", errors="replace").splitlines() if mark.is_file() else []
    return {MARK, *(path for path in listed if _may_be_page(path) and not _is_folder(folder / path))}


def _may_be_page(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) == 1 or (len(parts) == 2 and parts[0] in FOLDERS and parts[1] != "..")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _may_change_places(real: Path) -> bool:
    here = Path.cwd()
    return (
        sys.platform == "linux"
        and not os.path.ismount(real)
        and not here.is_relative_to(real)
        and os.access(real.parent, os.W_OK | os.X_OK)
    )


@contextmanager
def _working(folder: Path) -> Iterator[Path]:
    """A folder of our own that one process has at a time."""
    make_folder(folder)
    try:
        with shortly(folder):
            yield folder
    except RunInUse:
        raise StoreError(f"another process writes the site of {folder}. Wait until it ends, then try again.") from None
    finally:
        with suppress(OSError):
            folder.rmdir()


def _beside(real: Path) -> Path:
    return real.with_name(f".{real.name}{INSIDE}")


def _written_beside(real: Path, pages: Mapping[str, bytes]) -> bool:
    """False where the folders cannot change places; `real` is then as it was."""
    with _working(_beside(real)) as work:
        _clear(work, real)
        new = work / "new"
        try:
            _stage(new, pages)
            if real.exists():
                _take_along(real, new)
                _note(work, new)
                _exchange(new, real)
            else:
                new.rename(real)
        except OSError:
            shutil.rmtree(new, ignore_errors=True)
            return False
        finally:
            _clear(work, real)
    return True


def _stage(new: Path, pages: Mapping[str, bytes]) -> None:
    new.mkdir()
    (new / MARK).write_bytes(_listed(pages))
    for folder in {path.partition("/")[0] for path in pages if "/" in path}:
        (new / folder).mkdir()
    for path, content in pages.items():
        (new / path).write_bytes(content)


def _listed(pages: Iterable[str]) -> bytes:
    return "".join(f"{path}\n" for path in sorted(pages)).encode()


def _take_along(real: Path, new: Path) -> None:
    """Gives the files of others in `real` a second name in `new`. OSError where that cannot be."""
    for path in _others(real):
        source, target = real / path, new / path
        if _is_folder(source):
            target.mkdir(exist_ok=True)
            shutil.copystat(source, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target, follow_symlinks=False)
    old, made = real.stat(), new.stat()
    if (old.st_uid, old.st_gid) != (made.st_uid, made.st_gid):
        os.chown(new, old.st_uid, old.st_gid)
    shutil.copystat(real, new)


def _others(folder: Path) -> Iterator[Path]:
    """Paths in `folder` of what is not of its site, each folder before what it holds."""
    ours = _site_files(folder)
    for place, folders, files in os.walk(folder):
        at = Path(place).relative_to(folder)
        if at == Path() and INSIDE in folders:
            folders.remove(INSIDE)
        yield from (
            at / name for name in folders if at != Path() or name not in FOLDERS or (folder / name).is_symlink()
        )
        yield from (at / name for name in files if (at / name).as_posix() not in ours)


def _note(work: Path, new: Path) -> None:
    """By this a later build sees whether the folders have changed places."""
    (work / "inode").write_text(str(new.stat().st_ino), encoding="ascii")


def _clear(work: Path, real: Path) -> None:
    """Takes away what a build left: a new site that never was one, or an old one."""
    new, inode = work / "new", work / "inode"
    with os_errors(work, "clear"):
        if inode.is_file() and new.is_dir() and real.is_dir() and str(real.stat().st_ino) == inode.read_text("ascii"):
            _give_back(new, real)
        if new.is_dir():
            shutil.rmtree(new)
        for path in (inode, work / "both"):
            path.unlink(missing_ok=True)


def _give_back(old: Path, real: Path) -> None:
    """Moves what others wrote into the old folder in the moment of the change."""
    for path in list(_others(old)):
        if _is_folder(old / path):
            (real / path).mkdir(exist_ok=True)
        elif not _same(old / path, real / path):
            (old / path).replace(real / path)


def _same(one: Path, other: Path) -> bool:
    return os.path.lexists(other) and os.path.samestat(one.lstat(), other.lstat())


def _exchange(one: Path, other: Path) -> None:
    """Two folders change places, in one step (Linux). OSError where the system or the file system cannot do that."""
    call = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    if call(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _write_inside(real: Path, pages: Mapping[str, bytes]) -> None:
    make_folder(real)
    old = _site_files(real)
    with _working(real / INSIDE) as work, os_errors(real, "write"):
        _clear(work, real)
        new = work / "new"
        try:
            _stage(new, pages)
            (work / "both").write_bytes(_listed({*old, *pages} - {MARK}))
            (work / "both").replace(real / MARK)
            for folder in {path.partition("/")[0] for path in pages if "/" in path}:
                (real / folder).mkdir(exist_ok=True)
            for path in sorted(pages, key=lambda path: path == "index.html"):
                (new / path).replace(real / path)
            for path in old - {MARK, *pages}:
                (real / path).unlink(missing_ok=True)
            (new / MARK).replace(real / MARK)
        finally:
            _clear(work, real)
    for folder in FOLDERS:
        with suppress(OSError):
            (real / folder).rmdir()

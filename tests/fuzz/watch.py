"""Calls benchbench as a user does, in this process, and notes what no input may bring about.

Faults are: a traceback, an exit status that means nothing, no end within the bounds, gigabytes, a file read or changed
outside the box, a connection, code that came with the input, and texts that must not get out.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import resource
import signal
import site
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from tests.conftest import REPO

CPU_SECONDS, IDLE_SECONDS = 12, 10
"""Bounds of one command: processor time (templates and patterns have 2 s each), and time in which it does nothing. The
clock on the wall says little where a machine is busy."""
MEGABYTES = 600
"""How much the resident memory may grow."""
ADDRESS_SPACE = 6 << 30
"""What may be mapped on top; a limit, so that a fault stays a fault of one process."""
KEY = "sk-FUZZ-0123456789abcdef"
SECRET = "the-text-of-a-file-outside"
BUG = "This is a bug in benchbench"
"""What a command says where it would have ended in a traceback."""
STATUSES = (0, 1, 2)
"""Done, too many failed docs (or found unsound), wrong input."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that must not happen."""

    what: str
    """traceback, status, hang, memory, read, write, connection, process, code, secret."""
    place: str
    """Where, so that two inputs with one cause are told from two causes."""
    text: str

    @property
    def name(self) -> str:
        """What two inputs with one cause have in common."""
        return f"{self.what} {self.place}"


class TooLong(BaseException):
    """The bound of time is over."""


def call(box: Path, *argv: str) -> tuple[int | None, str, list[Fault]]:
    """Exit status, all output and the faults of `benchbench ARGV` with the working directory `box`."""
    said = io.StringIO()
    watch = _Watch(box)
    status: int | None = None
    with _as_from_a_shell(box, argv, said), _bounds(watch) as memory, watch:
        try:
            status = _main()
        except TooLong:
            pass  # noted when it was raised
        except BaseException as error:  # noqa: BLE001 - whatever comes out of it is the finding
            watch.add("traceback", f"{type(error).__name__} {_innermost(error.__traceback__)}", traceback.format_exc())
    reported = BUG in said.getvalue() or status not in (None, *STATUSES)
    if reported and not watch.expired:
        watch.add(*_unknown_status(box, status, said.getvalue()))
    if memory.grown > MEGABYTES:
        watch.add("memory", argv[0], f"{memory.grown:.0f} MB more")
    watch.faults += _leaks(box, said.getvalue())
    return status, said.getvalue(), watch.faults


def _main() -> int:
    from benchbench.cli.main import main

    try:
        main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
    return 0


def _unknown_status(box: Path, status: int | None, said: str) -> tuple[str, str, str]:
    """A bug that was reported: where, from the report that the output names."""
    text = said
    for name in re.findall(r"[^\s'\"`]+", said):
        path = box / name.rstrip(".,:;)")
        if path.is_file() and "Traceback" in (report := path.read_text("utf-8", "replace")):
            text = report
    return ("traceback" if "Traceback" in text else "status", f"{status} {_last_line(text)}", text)


def _last_line(text: str) -> str:
    """The innermost line of ours in a traceback, and the name of the error."""
    lines = re.findall(r'File "[^"]*?/(benchbench/[^"]*)", line \d+, in (\w+)', text)
    errors = re.findall(r"^(\w[\w.]*(?:Error|Exception|Warning|Interrupt|Exit))\b", text, re.MULTILINE)
    return f"{errors[-1].rsplit('.', 1)[-1] if errors else ''} {':'.join(lines[-1]) if lines else ''}".strip()


def _innermost(tb: Any) -> str:
    """The last frame in the package, with the module and function beyond it that was called."""
    frames = [f for f, _ in traceback.walk_tb(tb)]
    ours = [f for f in frames if "/benchbench/" in f.f_code.co_filename and "/tests/" not in f.f_code.co_filename]
    if not ours:
        return "outside the package"
    file = ours[-1].f_code.co_filename.rsplit("/benchbench/", 1)[1]
    return f"{file}:{ours[-1].f_code.co_name}"


def _leaks(box: Path, said: str) -> Iterator[Fault]:
    """The key in anything printed or stored; the text of a file outside in anything printed or made."""
    files = [path for path in box.rglob("*") if path.is_file() and not path.is_symlink()]
    stored = [(path.suffix or path.name, path.read_bytes().decode("latin-1")) for path in files]
    for where, text in [("the output", said), *stored]:
        for what, mark in (("key", KEY[3:]), ("secret", SECRET)):
            if mark in text:
                at = text.index(mark)
                yield Fault("secret", f"{what} in {where}", text[max(0, at - 100) : at + 60])


@contextlib.contextmanager
def _as_from_a_shell(box: Path, argv: tuple[str, ...], said: io.StringIO) -> Iterator[None]:
    """Working directory, arguments, streams and environment of one command; all as before afterwards.

    Of the tasks that ship only the demo's are read: reading all of them is most of the time of a small command.
    """
    before = Path.cwd(), sys.argv, tempfile.tempdir, warnings.showwarning, dict(os.environ)
    hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
    (box / "tmp").mkdir(exist_ok=True)
    os.chdir(box)
    sys.argv, tempfile.tempdir = ["benchbench", *argv], str(box / "tmp")
    os.environ |= {"OPENAI_API_KEY": KEY, "COLUMNS": "200"}
    few = mock.patch("benchbench.tasks.index.packaged_tasks", return_value=REPO / "tasks" / "demo")
    with few, Path(os.devnull).open() as nothing, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        stdin, sys.stdin = sys.stdin, nothing
        try:
            yield
        finally:
            sys.stdin = stdin
            sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
            cwd, sys.argv, tempfile.tempdir, warnings.showwarning, environment = before
            os.chdir(cwd)
            os.environ.clear()
            os.environ |= environment


@dataclass(slots=True)
class _Memory:
    grown: float = 0.0


@contextlib.contextmanager
def _bounds(watch: _Watch) -> Iterator[_Memory]:
    """Processor time, time, and address space of the block; how many MB its resident memory grew at most."""

    def over(_: int, frame: Any) -> None:
        watch.expire(frame)
        raise TooLong

    def tick(number: int, frame: Any) -> None:
        nonlocal used, idle
        idle = idle + 1 if time.process_time() - used < 0.01 else 0
        used = time.process_time()
        if idle >= IDLE_SECONDS:
            over(number, frame)

    used, idle = time.process_time(), 0
    memory = _Memory()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = {signal.SIGALRM: tick, signal.SIGPROF: over}
    handlers = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (_status("VmSize") + ADDRESS_SPACE, hard))
    signal.setitimer(signal.ITIMER_REAL, 1, 1)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS, CPU_SECONDS)
    try:
        yield memory
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        for number, handler in handlers.items():
            signal.signal(number, handler)
        memory.grown = (_status("VmHWM") - before) / 1e6


def _status(field: str) -> int:
    """Bytes that the kernel counts for this process."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class _Watch:
    """Notes, and refuses, what a command does to the rest of the machine while the block runs."""

    def __init__(self, box: Path) -> None:
        self.box = os.path.realpath(box)
        self.faults: list[Fault] = []
        self.expired = False

    def expire(self, frame: Any) -> None:
        """Notes where the bound of time found the command, the first time."""
        if not self.expired:
            self.expired = True
            self.add("hang", _place(frame) or "outside the package", "".join(traceback.format_stack(frame)[-12:]))

    def add(self, what: str, place: str, text: str) -> None:
        """Notes a fault."""
        self.faults.append(Fault(what, place, text))

    def __enter__(self) -> _Watch:
        global _watching
        _install()
        _watching = self
        return self

    def __exit__(self, *_: object) -> None:
        global _watching
        _watching = None

    def see(self, event: str, args: tuple[Any, ...]) -> None:
        """Raises PermissionError, after noting it, where an event reaches out of the box."""
        what = _CHECKS[event](self, *args)
        if what is not None:
            kind, place = what
            near = _place(sys._getframe(1)) or str(place).rsplit("/", 1)[-1]
            self.add(kind, f"{near} {event}", f"{event}{args!r}"[:500])
            raise PermissionError(errno.EACCES, f"refused while watched: {event} {place}")

    def _open(self, path: Any, mode: Any, flags: int) -> tuple[str, str] | None:
        if isinstance(path, int):
            return None
        if flags & os.O_NOFOLLOW:  # the system refuses a link there: only the way to it is followed
            named = Path(os.fsdecode(path))
            path = Path(os.path.realpath(named.parent)) / named.name
            if path.is_symlink():
                return None
        changes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        return self._changed(path) if changes else self._read(path)

    def _read(self, path: Any) -> tuple[str, str] | None:
        real = os.path.realpath(os.fsdecode(path))
        return None if _inside(real, (self.box, *READABLE)) else ("read", real)

    def _changed(self, path: Any, *_: Any) -> tuple[str, str] | None:
        if isinstance(path, int):
            return None
        real = os.path.realpath(os.fsdecode(path))
        return None if _inside(real, (self.box, *WRITABLE)) else ("write", real)

    def _named(self, path: Any, *_: Any) -> tuple[str, str] | None:
        """A name that is removed or given away: of a link that is the link, not what it leads to."""
        folder, name = os.path.split(os.fsdecode(path))
        real = f"{os.path.realpath(folder or '.')}/{name}"
        return None if _inside(real, (self.box, *WRITABLE)) else ("write", real)

    def _moved(self, old: Any, new: Any, *_: Any) -> tuple[str, str] | None:
        return self._named(old) or self._named(new)

    def _linked(self, old: Any, new: Any, *_: Any) -> tuple[str, str] | None:
        return self._changed(new)

    def _connected(self, _: Any, address: Any) -> tuple[str, str] | None:
        mine = isinstance(address, tuple) and address[:1] == ("127.0.0.1",) and address[1] in ALLOWED_PORTS
        return None if mine else ("connection", str(address))

    def _looked_up(self, host: Any, *_: Any) -> tuple[str, str] | None:
        return None if host in ("127.0.0.1", "localhost", None, b"127.0.0.1") else ("connection", str(host))

    def _started(self, executable: Any, args: Any, *_: Any) -> tuple[str, str] | None:
        return None if executable == "uname" else ("process", f"{executable} {args}")  # platform.processor asks it

    def _executed(self, code: Any) -> tuple[str, str] | None:
        file = getattr(code, "co_filename", "")
        return ("code", file) if file.startswith("/") and _inside(os.path.realpath(file), (self.box,)) else None

    def _unpickled(self, module: str, name: str) -> tuple[str, str] | None:
        return ("code", f"{module}.{name}") if module.partition(".")[0] in UNPICKLED else None


def _inside(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _place(frame: Any) -> str:
    """The last frame in the package of those that lead to this one; empty in a thread of a library."""
    while frame is not None:
        name = frame.f_code.co_filename
        if "/benchbench/" in name and "/tests/" not in name:
            return f"{name.rsplit('/benchbench/', 1)[1]}:{frame.f_code.co_name}"
        frame = frame.f_back
    return ""


_CHECKS: dict[str, Callable[..., tuple[str, str] | None]] = {
    "open": _Watch._open,
    "os.remove": _Watch._named,
    "os.rmdir": _Watch._changed,
    "os.mkdir": _Watch._changed,
    "os.truncate": _Watch._changed,
    "os.chmod": _Watch._changed,
    "os.chown": _Watch._changed,
    "os.utime": _Watch._changed,
    "os.rename": _Watch._moved,
    "os.link": _Watch._moved,
    "os.symlink": _Watch._linked,
    "socket.connect": _Watch._connected,
    "socket.getaddrinfo": _Watch._looked_up,
    "socket.gethostbyname": _Watch._looked_up,
    "subprocess.Popen": _Watch._started,
    "os.system": lambda watch, command: ("process", str(command)),
    "os.exec": _Watch._started,
    "os.posix_spawn": _Watch._started,
    "exec": _Watch._executed,
    "pickle.find_class": _Watch._unpickled,
}
UNPICKLED = ("os", "posix", "builtins", "subprocess")
"""Modules out of which a pickle has nothing to fetch."""
ALLOWED_PORTS: set[int] = set()
"""Ports on this machine where a server of the test listens."""
_HUGGING_FACE = os.environ.get("HF_HOME") or str(Path("~/.cache/huggingface").expanduser())
WRITABLE = tuple(os.path.realpath(place) for place in (_HUGGING_FACE, "/dev/null"))
"""Beside the box: what the libraries keep for themselves, wherever the input lies."""
READABLE = tuple(
    os.path.realpath(place)
    for place in (
        *WRITABLE, sys.prefix, sys.base_prefix, sysconfig.get_paths()["stdlib"], *site.getsitepackages(),
        REPO / "benchbench", REPO / "tests", REPO / "tasks", REPO / "leaderboard" / "static",
        REPO / "leaderboard" / "templates", "/proc", "/sys", "/dev/urandom", "/usr/share/zoneinfo", "/etc/localtime",
        "/usr/lib", "/etc/mime.types", "/etc/ssl", "/etc/os-release",
    )
)  # fmt: skip
"""Beside the box: Python, the packages, and what the system says of itself."""
_watching: _Watch | None = None
_installed = False


def _install() -> None:
    """Audit hooks stay for the life of a process, so there is one, which does nothing while nothing is watched."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    watch = _watching
    if watch is not None and event in _CHECKS:
        watch.see(event, args)

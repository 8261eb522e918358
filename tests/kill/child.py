"""benchbench in forked children of one process that has imported everything: a kill costs no start-up."""

from __future__ import annotations

import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import benchbench
from tests.processor import cpu_seconds

OTHER_PACKAGES = ("vllm", "llama_cpp", "comet", "composer")
LIBRARIES = (
    "torch", "transformers", "datasets", "pandas", "pyarrow.parquet", "pyarrow.dataset", "scipy.stats", "sacrebleu",
    "rouge_score.rouge_scorer", "rich.console", "rich.table", "jinja2.sandbox", "duckdb",
)  # fmt: skip
CGROUP_LIMITS = ("memory.max", "memory.limit_in_bytes")


def import_everything() -> None:
    """Imports what a command would import; what needs a library that is not here is left out."""
    for name in (*LIBRARIES, *(found.name for found in walk_packages(benchbench.__path__, "benchbench."))):
        try:
            if not name.endswith("__main__"):
                import_module(name)
        except ImportError as error:
            if (error.name or "").partition(".")[0] not in OTHER_PACKAGES:
                raise


class Child:
    """A command in a process group of its own."""

    def __init__(self, arguments: list[str], said: Path, before: Callable[[], None] = lambda: None) -> None:
        """`before` is called in the child; what the command says goes into the file `said`."""
        sys.stdout.flush()
        self.said = said
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, said, before)
        self.status: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Sends a signal, unless the command has ended."""
        if not self.ended():
            os.kill(self.pid, number)

    def ended(self) -> bool:
        """Whether the command is over, however it ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def code(self, seconds: float = 300.0, still: float = math.inf) -> int:
        """Waits; the exit code, negative for a signal.

        Raises:
            TimeoutError: it did not end within `seconds`, or was not at work for `still` seconds; it has been killed.
        """
        now = time.monotonic()
        until, spent, since = now + seconds, -1.0, now
        while not self.ended():
            now = time.monotonic()
            if spent != (spent := cpu_seconds(self.pid)):
                since = now
            if now > min(until, since + still):
                os.killpg(self.pid, signal.SIGKILL)
                self.status = os.waitpid(self.pid, 0)[1]
                raise TimeoutError(f"no end within {seconds:.0f} s: {self.said.read_text(errors='replace')}")
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(self.status or 0)

    def left(self, seconds: float = 10.0) -> bool:
        """Whether processes that the command started go on after it, `seconds` long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                os.killpg(self.pid, 0)
            except ProcessLookupError:
                return False
            time.sleep(0.01)
        os.killpg(self.pid, signal.SIGKILL)
        return True


def _become(arguments: list[str], said: Path, before: Callable[[], None]) -> None:
    """Runs the command and ends the process. A shell may have started us with Ctrl-C ignored."""
    code: Any = 3
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        before()
        sys.argv = ["benchbench", *arguments]
        from benchbench.cli.main import main

        main()
        code = 0
    except SystemExit as stop:
        code = 0 if stop.code is None else stop.code
    except BaseException:  # noqa: BLE001 - a child must not go on with its parent's work
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def deadly_at(call: int) -> Callable[..., Callable[..., Any]]:
    """What wraps functions: at the `call`-th call of any of them the process is killed; a write is then half done."""
    left = [call]

    def deadly(real: Callable[..., Any], *, half: bool = False) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                if half:
                    real(args[0], bytes(args[1])[: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        return step

    return deadly


def killed_at(call: int) -> Callable[[], None]:
    """For a child: it is killed at its `call`-th write, sync, rename or removal; a write is then half done."""
    deadly = deadly_at(call)

    def change() -> None:
        os.write = deadly(os.write, half=True)  # type: ignore[assignment]
        for name in ("fsync", "rename", "replace", "unlink", "rmdir"):
            setattr(os, name, deadly(getattr(os, name)))
        for name in ("write_bytes", "write_text"):
            setattr(Path, name, deadly(getattr(Path, name)))

    return change


def limited(size: int, cgroup: Path | None) -> Callable[[], None]:
    """For a child: `size` more bytes of memory than it has at first. In a memory `cgroup` of the tester's own, of
    either version, a process that wants more is killed by the kernel; without one more is refused.
    """

    def change() -> None:
        if cgroup is None:
            data = int(Path("/proc/self/status").read_text().partition("VmData:")[2].split()[0]) << 10
            resource.setrlimit(resource.RLIMIT_DATA, (data + size, resource.RLIM_INFINITY))
            return
        limit = next(file for name in CGROUP_LIMITS if (file := cgroup / name).exists())
        limit.write_text(str(size))
        (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    return change


def clock_ahead(seconds: float) -> Callable[[], None]:
    """For a child: its wall clock is ahead by so many seconds. The monotonic clock is as it was."""
    import datetime as datetimes

    real = {name: getattr(time, name) for name in ("time", "time_ns", "localtime", "gmtime", "strftime")}

    class Ahead(datetimes.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetimes.datetime.fromtimestamp(real["time"]() + seconds, tz)

    def change() -> None:
        time.time = lambda: real["time"]() + seconds
        time.time_ns = lambda: real["time_ns"]() + int(seconds * 1e9)
        time.localtime = lambda at=None: real["localtime"](time.time() if at is None else at)
        time.gmtime = lambda at=None: real["gmtime"](time.time() if at is None else at)
        time.strftime = lambda form, at=None: real["strftime"](form, time.localtime() if at is None else at)
        for name, module in list(sys.modules.items()):
            if name.startswith("benchbench.") and getattr(module, "datetime", None) is datetimes.datetime:
                module.datetime = Ahead  # type: ignore[attr-defined]

    return change


def hub_of(rows: Callable[[str], dict[str, list[dict[str, Any]]]]) -> Callable[[], None]:
    """For a child: `datasets.load_dataset` gives the rows of that data set, by split, without a network."""

    def change() -> None:
        import datasets

        def load_dataset(path: str, *_: Any, **__: Any) -> Any:
            made = {split: datasets.Dataset.from_list(found) for split, found in rows(path).items()}
            for data in made.values():
                data.info.download_checksums = {f"hf://datasets/{path}@{'a' * 40}/x.parquet": {"num_bytes": 1}}
            return datasets.DatasetDict(made)

        datasets.load_dataset = load_dataset

    return change

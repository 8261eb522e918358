"""One program in a sandbox of its own, made by bubblewrap: namespaces, a root of read-only folders, limits, a filter.

The program sees no network, no process but its own, and of the disk the interpreter, read-only, and an empty /tmp. It
runs as a user without rights: the user's own, made nobody else's by a user namespace, or, where benchbench runs as
root, one that no account has. What it started ends with it.
"""

# ruff: noqa: S108 - /tmp and /dev/shm are those of the sandbox

from __future__ import annotations

import marshal
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchbench.core.errors import BackendError
from benchbench.extensions.programs import Limits, Program, Verdict
from benchbench.extensions.programs.languages import interpreter, language
from benchbench.extensions.programs.seccomp import program_filter
from benchbench.extensions.programs.session import NotStartedError, Session
from benchbench.extensions.programs.watch import Watch

LAUNCHER = Path(__file__).with_name("launcher.py")
USERS = range(61184, 65519)
"""As root, each program that runs at a time has one of these users to itself: the limit of processes counts by user. No
account has them (systemd keeps them for services without one); the first is drawn, for others may run programs, too.
"""
INSTALL = "apt install bubblewrap (Debian, Ubuntu) or dnf install bubblewrap (Fedora, RHEL)"


@dataclass(frozen=True, slots=True)
class Ran:
    """A verdict, and whether it may be the neighbours' fault."""

    verdict: Verdict
    starved: bool = False
    """It ran out of time while it waited for a processor."""


class Sandbox:
    """Makes one sandbox after the other, from several threads if one likes."""

    def __init__(self, limits: Limits, python: Path | None = None) -> None:
        """Looks for bubblewrap and the interpreter, and runs a program that must pass.

        Args:
            python: the interpreter of Python programs; its installation is all that they can import. None: ours,
                without the packages of our environment.

        Raises:
            BackendError: there is no bubblewrap, or it may not do what it must here; the sentence says what helps.
        """
        self.limits = limits
        self._filter = program_filter()
        self._python, self._prefixes = _python(python)
        self._bwrap = _bubblewrap()
        self._watch = Watch(limits.memory)
        self._root = os.geteuid() == 0
        self._first_user = secrets.randbelow(len(USERS))
        self._check()

    @property
    def interpreter(self) -> str:
        """Path of the Python that programs run on."""
        return self._python

    def close(self) -> None:
        """Ends what still runs."""
        self._watch.close()

    def _check(self) -> None:
        try:
            ran = self.run(Program("assert 1 + 1 == 2"))
        except NotStartedError as error:
            raise BackendError(
                f"bubblewrap cannot make a sandbox here: {error} Programs are not run without one. In a container, it "
                "needs the right to make namespaces (docker run --security-opt seccomp=unconfined --security-opt "
                "apparmor=unconfined, or root with --cap-add SYS_ADMIN); on a machine, "
                "`sysctl kernel.unprivileged_userns_clone` and `kernel.apparmor_restrict_unprivileged_userns` say "
                "whether users have it. bubblewrap 0.6 or later is needed."
            ) from error
        if not ran.verdict.passed:
            raise BackendError(
                f"{self._python} cannot run `assert 1 + 1 == 2` in the sandbox: {ran.verdict.why or ran.verdict.ending}"
            )

    def run(self, program: Program, slot: int = 0, patience: float = 1.0) -> Ran:
        """Runs it to its end, or to the end of its time.

        Args:
            slot: a number from 0 that no program running at the same time has.
            patience: how many times its time on the clock it gets; the processor's stays what it is.

        Raises:
            NotStartedError: the sandbox could not be made.
            BackendError: its language cannot be run here.
        """
        secret, own = secrets.token_hex(16), bool(language(program.language).command)
        with ExitStack() as stack:
            job = _data(self._job(program, secret, slot), stack)
            rules = _data(self._filter, stack)
            report, told = _pipe(stack)
            process = subprocess.Popen(  # noqa: S603 - bubblewrap, with our own arguments
                [*self._command(program.language, rules), str(told)],
                stdin=job,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=(rules, told),
                cwd="/",
                env={},
            )
            with process, self._watch.over(process.pid) as seen:
                session = Session(process, report, secret, self.limits, patience * self.limits.wall)
                session.watch(seen)
        return Ran(session.verdict(seen, by_itself=own), session.starved(seen))

    def _job(self, program: Program, secret: str, slot: int) -> bytes:
        known, limits = language(program.language), self.limits
        job = {
            "source": program.source,
            "secret": secret,
            "command": interpreter(program.language),
            "suffix": known.suffix,
            "user": USERS[(self._first_user + slot) % len(USERS)] if self._root else None,
            "seconds": max(1, round(limits.seconds)),
            "files": limits.files,
            "processes": limits.processes,
            "address_space": limits.memory if known.limits_addresses else None,
        }
        return marshal.dumps(job, 2)  # a version that every Python reads

    def _command(self, name: str, rules: int) -> list[str]:
        size = str(self.limits.files)
        rights = ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"] if self._root else ["--unshare-user"]
        binds = [part for prefix in self._prefixes for part in (*_parents(prefix), "--ro-bind", prefix, prefix)]
        links = [part for link, to in _links() for part in ("--symlink", to, link)]
        proc = ["--proc", "/proc"] if language(name).command else []
        return [
            self._bwrap, *rights,
            "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
            "--die-with-parent", "--new-session", "--hostname", "sandbox", "--seccomp", str(rules),
            "--ro-bind", "/usr", "/usr", *links, *binds, *proc,
            "--perms", "1777", "--size", size, "--tmpfs", "/tmp",
            "--dir", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm",
            *(part for name in ("null", "zero", "random", "urandom") for part in _device(name)),
            "--ro-bind", str(LAUNCHER), "/launcher.py", "--remount-ro", "/",
            "--setenv", "HOME", "/tmp", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LANG", "C.UTF-8",
            "--setenv", "PYTHONHASHSEED", "0", "--chdir", "/tmp",
            self._python, "-I", "-S", "-B", "/launcher.py",
        ]  # fmt: skip


def _data(data: bytes, stack: ExitStack) -> int:
    """A file descriptor to read it from."""
    file = os.memfd_create("benchbench")
    stack.callback(os.close, file)
    os.write(file, data)
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _pipe(stack: ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        stack.callback(os.close, end)
    return ends


def _device(name: str) -> Sequence[str]:
    return ("--dev-bind", f"/dev/{name}", f"/dev/{name}")


def _parents(path: str) -> list[str]:
    """Its parent folders as the sandbox has them: empty, and open to every user."""
    above = [str(one) for one in reversed(Path(path).parents) if str(one) != "/"]
    return [part for folder in above for part in ("--perms", "0755", "--dir", folder)]


def _links() -> list[tuple[str, str]]:
    """Where the system's folders are links into /usr: link and target."""
    places = [Path("/", name) for name in ("bin", "lib", "lib64")]
    return [(str(place), str(place.readlink())) for place in places if place.is_symlink()]


def _bubblewrap() -> str:
    found = shutil.which("bwrap")
    if found is None:
        raise BackendError(
            f"programs run in a sandbox made by bubblewrap, and there is no bwrap here. {INSTALL} installs it; without "
            "it they are not run."
        )
    return found


def _python(given: Path | None) -> tuple[str, list[str]]:
    """The interpreter's real path, and the folders outside /usr that it needs."""
    if given is None:
        executable, prefix = os.path.realpath(sys.executable), os.path.realpath(sys.base_prefix)
    else:
        executable, prefix = _asked(given)
    own = [] if Path(prefix).is_relative_to("/usr") else [prefix]
    system = [str(one) for one in (Path("/lib"), Path("/lib64")) if one.is_dir() and not one.is_symlink()]
    return executable, [*system, *own]


def _asked(python: Path) -> tuple[str, str]:
    """Real path and prefix of another Python."""
    code = "import os, sys; print(os.path.realpath(sys.executable)); print(os.path.realpath(sys.base_prefix))"
    try:
        done = subprocess.run(  # noqa: S603 - the user's own python
            [str(python), "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60, check=True
        )
        executable, prefix = done.stdout.splitlines()
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise BackendError(f"{python} is no Python that starts: {error}.") from error
    return executable, prefix


__all__ = ["NotStartedError", "Ran", "Sandbox"]

"""Runs inside the sandbox, before the program, and becomes it: takes the last rights away, sets limits, runs it.

It is started as a file and imports only what is built into Python, since imports are most of a small program's time.
The job comes by marshal on standard input. On the file descriptor that its argument names it writes `started`, and one
line of how the program ended: the job's secret, which says that the line is none of the program's, the ending, and why,
as UTF-8 in hex.
"""

# ruff: noqa: PTH123
from __future__ import annotations

import marshal
import os
import resource
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def main() -> None:
    """Does the job, and does not return."""
    report = int(sys.argv[1])
    with open(0, "rb", closefd=False) as stdin:
        job = marshal.loads(stdin.read())  # noqa: S302 - benchbench wrote it
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _limit(job)
    os.write(report, b"started\n")
    if job["command"]:
        path = f"/tmp/program{job['suffix']}"  # noqa: S108 - the sandbox's own
        with open(path, "w", encoding="utf-8", errors="replace") as file:
            file.write(job["source"])
        _replace_by([*job["command"], path], job["secret"], report)
    else:
        _run(job["source"], job["secret"], report)


def _limit(job: Mapping[str, int | None]) -> None:
    """No other user's rights, then limits: they count for the user whom it is by then."""
    if (user := job["user"]) is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.nice(5)
    limits = {
        "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NOFILE": 64, "SIGPENDING": 64,
        "FSIZE": job["files"], "NPROC": job["processes"], "AS": job["address_space"],
    }  # fmt: skip
    for name, most in limits.items():
        if most is not None:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    seconds = job["seconds"] or 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))  # a signal, then the end


def _replace_by(command: list[str], secret: str, report: int) -> None:
    os.set_inheritable(report, False)
    try:
        os.execv(command[0], command)  # noqa: S606 - an interpreter, on the model's program
    except OSError as error:
        _tell(os.write, report, secret, "not-started", str(error))


def _run(source: str, secret: str, report: int) -> None:
    write, leave = os.write, os._exit
    module = type(sys)("__main__")
    sys.modules["__main__"] = module
    sys.argv[:] = ["program.py"]
    ending, why = "passed", ""
    try:
        exec(compile(source, "program.py", "exec"), module.__dict__)  # noqa: S102 - that is what it is for
    except MemoryError:
        ending, why = "memory", "MemoryError"
    except SystemExit as error:
        ending, why = "failed", f"it ended itself before its last line, with {str(error.code)[:50]!r}"
    except BaseException as error:  # noqa: BLE001 - whatever it raises is how it ended
        ending, why = "failed", type(error).__name__
        try:
            why = f"{why}: {error}"[:300]
        except BaseException:  # noqa: BLE001 - the text of an error is the program's own code
            why = f"{why}, whose text cannot be had"
    _tell(write, report, secret, ending, why)
    leave(0)


def _tell(write: Callable[[int, bytes], int], report: int, secret: str, ending: str, why: str) -> None:
    line = f"{secret} {ending} {why.encode('utf-8', 'replace').hex()}\n"
    write(report, line.encode("ascii"))


if __name__ == "__main__":
    main()

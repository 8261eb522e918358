"""Runs inside the sandbox, before the program, and becomes it: takes the last rights away, sets limits, runs it.

It is started as a file, knows only the standard library, and reads the job as JSON from standard input. On the file
descriptor that its argument names it writes `started`, and a JSON line of how the program ended with the job's secret,
which says that it is no line of the program's.
"""

import contextlib
import json
import os
import resource
import sys
import types


def main() -> None:
    """Does the job; returns only where the program cannot be started."""
    report = int(sys.argv[1])
    with open(0, "rb", closefd=False) as stdin:
        job = json.loads(stdin.read())
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    _limit(job)
    os.write(report, b"started\n")
    if job["command"]:
        _replace_by(job, report)
    else:
        _run(job["source"], job["secret"], report)


def _limit(job) -> None:
    """No other user's rights, then limits: they count for the user whom it is by then."""
    if job["user"] is not None:
        os.setgroups([])
        os.setresgid(job["user"], job["user"], job["user"])
        os.setresuid(job["user"], job["user"], job["user"])
    os.nice(5)
    limits = {
        "CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NOFILE": 64, "SIGPENDING": 64,
        "FSIZE": job["files"], "NPROC": job["processes"], "AS": job["address_space"],
    }  # fmt: skip
    for name, most in limits.items():
        if most is not None:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (job["seconds"], job["seconds"] + 1))  # a signal, then the end


def _replace_by(job, report) -> None:
    path = f"/tmp/program{job['suffix']}"
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(job["source"])
    os.set_inheritable(report, False)
    os.execv(job["command"][0], [*job["command"], path])


def _run(source, secret, report) -> None:
    write, leave, encode = os.write, os._exit, json.dumps
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv[:] = ["program.py"]
    ending, why = "passed", ""
    try:
        exec(compile(source, "program.py", "exec"), module.__dict__)
    except MemoryError:
        ending, why = "memory", "MemoryError"
    except SystemExit as error:
        ending, why = "failed", f"it ended itself before its last line, with {str(error.code)[:50]!r}"
    except BaseException as error:  # whatever it raises is how it ended
        ending, why = "failed", type(error).__name__
        with contextlib.suppress(BaseException):
            why = f"{type(error).__name__}: {error}"[:300]
    line = encode({"secret": secret, "ending": ending, "why": why})
    write(report, line.encode("ascii") + b"\n")
    leave(0)


if __name__ == "__main__":
    main()

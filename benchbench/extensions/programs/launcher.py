"""Runs inside the sandbox, before the program, and becomes it: takes the last rights away, sets limits, runs it.

It is started as a file and imports only what is built into Python, since imports are most of a small program's time.
The job comes by marshal on standard input. On the file descriptor that its argument names it writes `started`, and one
line of how the program ended: the job's secret, which says that the line is none of the program's, the ending, and why,
as UTF-8 in hex.
"""

import marshal
import os
import resource
import sys

def main() -> None:
    """Does the job, and does not return."""
    report = int(sys.argv[1])
    with open(0, "rb", closefd=False) as stdin:
        job = marshal.loads(stdin.read())
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
    try:
        os.execv(job["command"][0], [*job["command"], path])
    except OSError as error:
        _tell(os.write, report, job["secret"], "not started", str(error))


def _run(source, secret, report) -> None:
    write, leave = os.write, os._exit
    module = type(sys)("__main__")
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
        try:
            why = f"{why}: {error}"[:300]
        except BaseException:  # its text is the program's own code
            why = f"{why}, whose text cannot be had"
    _tell(write, report, secret, ending, why)
    leave(0)


def _tell(write, report, secret, ending, why) -> None:
    line = f"{secret} {ending.replace(' ', '-')} {why.encode('utf-8', 'replace').hex()}\n"
    write(report, line.encode("ascii"))


if __name__ == "__main__":
    main()

"""Kills runs at chosen system calls: `python -m tests.runner.crash WORLD FIRST STEP [WINDOW]`, a JSON line a kill.

Each run is a forked child, so that a kill costs no start-up. A child killed in the middle of a write leaves half of it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchbench.core.errors import BenchbenchError
from benchbench.runner.run import run
from benchbench.store.lock import LOCK_NAME
from tests.kill.child import deadly_at
from tests.runner.toy import comparable, part_bytes, settings
from tests.windows import window_of


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked child and returns its wait status."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BenchbenchError as error:
            sys.stderr.write(f"{error}\n")
            os._exit(2)
        except BaseException as error:  # noqa: BLE001 - a child must not go on with its parent's work
            sys.stderr.write(f"{error!r}\n")
            os._exit(3)
    return os.waitpid(child, 0)[1]


def killed_at(call: int, world: Path, output: Path) -> None:
    """A run that is killed at its `call`-th write, rename, removal or sync."""
    deadly = deadly_at(call)
    os.write = deadly(os.write, half=True)  # type: ignore[assignment]
    os.fsync, os.rename, os.unlink = deadly(os.fsync), deadly(os.rename), deadly(os.unlink)
    run(settings(world, output=output))


def results(output: Path) -> tuple[dict[str, bytes], dict[str, Any], list[str]]:
    """Parts, record and file names of the only run in `output`.

    The lock file is left out: one killed after its record was in place leaves it, and nobody needs to come back.
    """
    (path,) = [found for found in output.glob("*/*") if found.is_dir()]
    names = sorted(
        str(found.relative_to(path)) for found in path.rglob("*") if found.is_file() and found.name != LOCK_NAME
    )
    return part_bytes(path), comparable(json.loads((path / "run.json").read_bytes())), names


def main() -> None:
    """Kills at calls FIRST, FIRST + STEP, … until a run gets through; with WINDOW, tasks of more docs are large."""
    if len(sys.argv) > 4:
        window_of(int(sys.argv[4]))
    world, first, step = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    assert in_child(lambda: run(settings(world, output=world / "whole")) and None) == 0
    expected = results(world / "whole")
    call = first
    while True:
        output = world / f"killed{call}"
        status = in_child(lambda call=call, output=output: killed_at(call, world, output))  # type: ignore[misc]
        if status == 0:
            return
        again = in_child(lambda output=output: run(settings(world, output=output)) and None)  # type: ignore[misc]
        same = again == 0 and results(output) == expected
        print(json.dumps({"call": call, "killed": status == signal.SIGKILL, "same": same}), flush=True)
        call += step


if __name__ == "__main__":
    main()

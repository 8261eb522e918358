"""`python -m tests.kill --kills N`: stops commands and looks whether the same command then comes to the same files.

Kinds: `moments` kills at random ones; `calls` at every STEP-th system call that writes; `clock` at random moments,
after which the clock goes back by a year; `memory` gives 1, 2, 4, … MB. One line of JSON for each folder, on stdout;
1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from tests.kill.child import import_everything
from tests.kill.rounds import Killing, Round
from tests.kill.works import ENGINE, WORKS
from tests.kill.world import make

KINDS = ("moments", "calls", "clock", "memory")
CGROUP = "BENCHBENCH_TEST_CGROUP"
"""A folder of the cgroup file system, with the memory controller, that tests may use."""


def rounds(killing: Killing, kind: str, kills: int, step: int) -> Iterator[Round]:
    """The rounds of one kind."""
    match kind:
        case "moments":
            return killing.rounds(kills)
        case "calls":
            return killing.at_calls(1, step)
        case "clock":
            return killing.clock_set_back(max(1, kills // 3))
        case _:
            named = os.environ.get(CGROUP)
            if named is None and killing.work is ENGINE:
                return iter(())  # refused memory, it halves its batches, which changes last digits
            return killing.out_of_memory(Path(named) if named else None)


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kind", choices=KINDS, action="append", help="repeatable (default: all)")
    parser.add_argument("--only", choices=WORKS, action="append", help="this work; repeatable (default: all)")
    parser.add_argument("--kills", type=int, default=20, help="of each work (default: %(default)s)")
    parser.add_argument("--step", type=int, default=1, help="of calls (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    import_everything()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder))
        for name in given.only or WORKS:
            killing = Killing(WORKS[name], world, given.seed)
            for kind in given.kind or KINDS:
                for made in rounds(killing, kind, given.kills, given.step):
                    print(json.dumps({"kind": kind, **asdict(made)}), flush=True)
                    wrong += bool(made.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

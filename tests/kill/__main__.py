"""`python -m tests.kill [KIND[:WORK] …]`: stops commands and looks whether the same command comes to the same files.

Kinds: `moments` kills at random ones; `calls` at every STEP-th system call that writes; `clock` at random moments,
after which the clock goes back by a year; `memory` gives 1, 2, 4, … MB. Without a work: all works. One line of JSON for
each folder, on stdout; 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter
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


def parts(given: Sequence[str]) -> list[tuple[str, str]]:
    """(kind, work) of each word, those of one work behind each other."""
    pairs = [word.partition(":")[::2] for word in given or KINDS]
    every = [(kind, work) for kind, named in pairs for work in ([named] if named else WORKS)]
    if unknown := [f"{kind}:{work}" for kind, work in every if kind not in KINDS or work not in WORKS]:
        sys.exit(f"{unknown[0]}: a kind is one of {', '.join(KINDS)}, a work one of {', '.join(WORKS)}")
    return sorted(every, key=lambda pair: list(WORKS).index(pair[1]))


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="KIND[:WORK]", help="default: all")
    parser.add_argument("--kills", type=int, default=20, help="at moments, of each work (default: %(default)s)")
    parser.add_argument("--step", type=int, default=1, help="of calls (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    wanted = parts(given.parts)
    import_everything()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder))
        for work, group in groupby(wanted, key=itemgetter(1)):
            killing = Killing(WORKS[work], world, given.seed)
            for kind, _ in group:
                for made in rounds(killing, kind, given.kills, given.step):
                    print(json.dumps({"kind": kind, **asdict(made)}), flush=True)
                    wrong += bool(made.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

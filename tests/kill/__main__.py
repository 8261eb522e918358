"""`python -m tests.kill --kills N`: kills commands at random moments and looks whether the same command mends it.

`--step N` kills each instead at every N-th system call that writes.

One line of JSON for each folder, on stdout; 1 if something is wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.kill.child import import_everything
from tests.kill.rounds import Killing
from tests.kill.works import WORKS
from tests.kill.world import make


def main(argv: Sequence[str] | None = None) -> int:
    """See above."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="of each work (default: %(default)s)")
    parser.add_argument("--only", choices=WORKS, action="append", help="this work; repeatable (default: all)")
    parser.add_argument("--step", type=int, help="kill at every STEP-th system call that writes instead")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(argv)
    import_everything()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder))
        for name in given.only or WORKS:
            killing = Killing(WORKS[name], world, given.seed)
            for made in killing.rounds(given.kills) if given.step is None else killing.at_calls(1, given.step):
                print(json.dumps(asdict(made)), flush=True)
                wrong += bool(made.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

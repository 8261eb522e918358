"""`python -m tests.mutation [--only PATH] [--sample N] [--seed S]`: changes lines and sees whether a test fails.

A sample of all changes is drawn by the seed. Each runs against the tests of the three rooms that execute its lines, the
quickest first, for so many seconds of a processor. The score is the share that a test notices, with its 95 % interval.

Never changed, for no test can or should see it: texts (messages, docstrings, f-strings whole), annotations, decorators
(`slots`, the size of a cache) and what stands under `if TYPE_CHECKING`. Everything else counts, and as a survivor where
no test runs the line, where the cap on seconds left the right test out, and where the change makes no difference, such
as another tolerance of rounding, `zip(strict=False)` of what is equally long, or `>=` for `>` of what is never equal.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants_of
from tests.mutation.runs import REPO, cover, import_all, judge

ROOMS = ("stats", "scoring", "leaderboard")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", type=Path, help="a file or a folder of benchbench/{stats,scoring,leaderboard}")
    parser.add_argument("--sample", type=int, default=200, help="how many changes, drawn by --seed; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--seconds", type=float, default=30.0, help="of a processor for a change's tests")
    return parser.parse_args()


def drawn(only: Path | None, sample: int, seed: int) -> list[Mutant]:
    """The changes to be made, in random order: the first of them are a sample, too."""
    within = [only.resolve()] if only else [REPO / "benchbench" / room for room in ROOMS]
    paths = sorted(p for root in within for p in ([root] if root.is_file() else root.rglob("*.py")))
    every = [mutant for path in paths for mutant in mutants_of(path)]
    count = sample if 0 < sample < len(every) else len(every)
    print(f"{count} of {len(every)} changes to {len(paths)} files", flush=True)
    return random.Random(seed).sample(every, count)


def main() -> int:
    asked, start = arguments(), time.monotonic()
    mutants = drawn(asked.only, asked.sample, asked.seed)
    rooms = sorted({mutant.path.relative_to(REPO).parts[1] for mutant in mutants})
    with tempfile.TemporaryDirectory(prefix="mutation") as folder:
        covered, libraries = cover(
            [f"tests/{room}" for room in rooms],
            [f"benchbench/{room}" for room in rooms],
            asked.jobs,
            Path(folder),
        )
        print(f"{len(covered.seconds)} tests of {', '.join(rooms)} pass as they are", flush=True)
        import_all(libraries)
        outcomes = Counter[str]()
        for mutant, outcome in judge(mutants, covered, asked.jobs, asked.seconds, Path(folder)):
            outcomes[outcome] += 1
            place = f"{mutant.path.relative_to(REPO)}:{mutant.first_line}"
            print(f"{outcomes.total():4} {outcome:8} {place}: {mutant.what}", flush=True)
    print(f"{score(outcomes)} ({(time.monotonic() - start) / 60:.0f} min)")
    return 0


def score(outcomes: Counter[str]) -> str:
    """The share of changes that were noticed, with Wilson's interval."""
    from scipy.stats import binomtest

    killed, total = outcomes["killed"] + outcomes["hangs"], outcomes.total()
    low, high = binomtest(killed, total).proportion_ci(method="wilson")
    left = f"{outcomes['survived']} survived, {outcomes['not run']} are run by no test"
    return f"killed {killed} of {total}: {100 * killed / total:.1f} % [{100 * low:.1f}, {100 * high:.1f}]; {left}"


if __name__ == "__main__":
    sys.exit(main())

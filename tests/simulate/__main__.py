"""`python -m tests.simulate`: how often verdicts, intervals and ranks are right where the truth is known."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

from tests.simulate import checks, duels
from tests.simulate.checks import Check


def every_check(runs: int, seed: int) -> Iterator[Check]:
    """All checks, in order."""
    yield from checks.the_card(max(2, runs // 50), seed)
    yield from checks.flat_runs(runs, seed)
    yield from checks.noisy_runs(runs, seed)
    yield from checks.upper_bounds(runs, seed)
    yield from checks.coverage(10 * runs, seed)
    yield from checks.rank_coverage(runs, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per check; 1 if a promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument(
        "--runs", type=int, default=1000, help="simulated runs per check; intervals get ten times as many"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", choices=["duels"], help="only this part: duels, means of duels and ranks")
    args = parser.parse_args(argv)
    if args.part == "duels":
        return duels.main(args.runs, args.seed)
    broken = 0
    for check, seconds in _timed(every_check(args.runs, args.seed)):
        said = "" if check.holds is None else "  ok" if check.holds else "  BROKEN"
        print(f"{check.promise}: {check.found}{said} ({seconds:.1f} s)", flush=True)
        broken += check.holds is False
    print("Every promise holds." if not broken else f"{broken} promises are broken.")
    return int(broken > 0)


def _timed(found: Iterator[Check]) -> Iterator[tuple[Check, float]]:
    start = time.monotonic()
    for check in found:
        yield check, time.monotonic() - start
        start = time.monotonic()


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.simulate`: how often intervals, duels, ranks and verdicts are right where the truth is known."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulate.table import Row

PARTS = {
    "intervals": 800,
    "duels": 600,
    "sweeps": 100,
    "training_pairs": 150,
    "forecasts": 600,
    "decisions": 1000,
    "twins": 200,
    "judges": 1000,
    "programs": 2000,
}
"""Runs of a cell, at most; a cell whose rate is far from its limits gets fewer, and flat trainings near theirs four
times as many."""


def every_row(parts: Sequence[str], runs: int | None, seed: int, processes: int, only: str = "") -> Iterator[Row]:
    """The rows of the table, in order, as they are found; those alone that contain `only`, if any."""
    from tests.simulate import cells, decisions, duels, forecasts, judges, programs, sweeps, training_pairs, twins

    places = {"intervals": cells, "duels": duels, "sweeps": sweeps, "training_pairs": training_pairs}
    places |= {"forecasts": forecasts, "decisions": decisions, "twins": twins, "judges": judges, "programs": programs}
    jobs: list[Callable[[], list[Row]]] = []
    for part in parts:
        most = PARTS[part] if runs is None else runs
        found = list(places[part].jobs(most, seed))
        jobs += [job for job in found if only in str(job)]
    with ProcessPoolExecutor(processes) as pool:
        for rows in pool.map(_made, jobs):
            yield from rows


def _made(job: Callable[[], list[Row]]) -> list[Row]:
    return job()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 1 if a promise is broken by more than the simulation's own error."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate", description=__doc__)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; may be given again")
    parser.add_argument("--runs", type=int, help=f"runs of a cell, at most; without: {PARTS}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="only kinds of worlds that contain this text, such as 'bleu'")
    args = parser.parse_args(argv)
    # Matrices are small, and each process has its core.
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
    from tests.simulate.table import HEAD

    start, broken, count = time.monotonic(), list[str](), 0
    print(HEAD)
    for row in every_row(args.part or list(PARTS), args.runs, args.seed, args.processes, args.only):
        print(row, flush=True)
        count += 1
        broken += [str(row)] if row.verdict == "BROKEN" else []
    minutes = (time.monotonic() - start) / 60
    print("\n".join(["Broken:", *broken]) if broken else "Every promise holds.")
    print(f"{count} rows in {minutes:.1f} minutes.")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.parity.wide`: every listed task of lm-eval's and task files in its dialect, on both sides."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.parity.wide.names import KNOWN, UPSTREAM
from tests.parity.wide.own import OWN, write_files
from tests.parity.wide.pair import Pair, Sides, counts
from tests.parity.wide.rows import data_root


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a line per task; 1 if one is not equal, not refused by both and not listed with the reason."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity.wide", description=__doc__)
    parser.add_argument("--tasks", help="names, separated by commas; all that are listed")
    parser.add_argument("--data-root", type=Path, help="rows that stand before the made-up ones; BENCHBENCH_DATA")
    parser.add_argument("--num-fewshot", type=int, help="shots for every task")
    parser.add_argument("--limit", type=int, default=10, help="docs per task; 0 for all")
    args = parser.parse_args(argv)
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
    names = args.tasks.split(",") if args.tasks else [*UPSTREAM, *OWN]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["HF_DATASETS_CACHE"] = str(place / "cache")
        files = write_files(place / "files")
        given = args.data_root or (Path(named) if (named := os.environ.get("BENCHBENCH_DATA")) else None)
        sides = Sides(data_root(place / "hub", given), files, place / "results", args.num_fewshot, args.limit or None)
        pairs = []
        for name in names:
            pairs.append(sides.pair(name, f"lm_eval:{files / name}.yaml" if name in OWN else None))
            print(line(pairs[-1]), flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counts(pairs).items()))
    return int(not all(is_right(pair) for pair in pairs))


def is_right(pair: Pair) -> bool:
    """Equal, refused by both, or different for a reason that is known."""
    return pair.outcome in ("equal", "refused by both") or pair.name in KNOWN


def line(pair: Pair) -> str:
    """The pair as text."""
    text = f"{pair.name:<45} {pair.outcome:<16} {pair.requests:>5} requests {pair.figures:>3} figures"
    why = KNOWN.get(pair.name, "" if is_right(pair) else "NOT KNOWN")
    return "\n    ".join(filter(None, (text, pair.said, why if pair.said else "")))


if __name__ == "__main__":
    sys.exit(main())

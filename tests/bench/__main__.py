"""`python -m tests.bench --model DIR --data-root DIR`: how much faster than lm-eval, and is it the same.

Exits with 1 if scores disagree or a promise is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tests.bench.pair import Found, compare, python_for, start_seconds
from tests.bench.rows import ROWS, STARTS, Start

HEAD = (
    "| work | docs | lm-eval (batch) | benchbench | ratio | promised | whole process | peak memory | scores |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---|"
)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, read."""
    known = [row.name for row in (*ROWS, *STARTS)]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--model", required=True, help="folder or hub name; both sides load it in fp32 on the CPU")
    parser.add_argument("--data-root", type=Path, default=os.environ.get("BENCHBENCH_DATA"), help="or BENCHBENCH_DATA")
    parser.add_argument("--limit", type=int, help="docs per task, instead of each row's own number")
    parser.add_argument("--rows", default=",".join(known), help=f"of {', '.join(known)}; separated by commas")
    parser.add_argument("--repeat", type=int, default=1, help="how often the two sides alternate; medians are shown")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout instead of the table")
    args = parser.parse_args(argv)
    args.rows = args.rows.split(",")
    if unknown := [name for name in args.rows if name not in known]:
        parser.error(f"no row named {unknown[0]}; there are {', '.join(known)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the rows that were asked for; 1 if scores disagree or a promise is not kept."""
    args = arguments(argv)
    show = (lambda _: None) if args.json else (lambda text: print(text, flush=True))
    found, seconds = [], {}
    show(HEAD)
    for row in ROWS:
        if row.name in args.rows and not python_for(row.backend):
            show(f"| {row.work} | not measured: `make env-vllm` makes the environment | | | | | | | |")
        elif row.name in args.rows:
            found.append(compare(row, args.model, args.data_root, args.limit, args.repeat))
            show(line(found[-1]))
    for start in STARTS:
        if start.name in args.rows:
            seconds[start.name] = start_seconds(start)
            show(start_line(start, seconds[start.name]))
    broken = [f"{row.name}: {problem}" for row in found for problem in row.problems]
    slow = [f"{row.name}: {row.ratio:.1f}x, promised {row.promised:g}x" for row in found if row.ratio < row.promised]
    slow += [
        f"{start.name}: {seconds[start.name]:.2f} s, promised {start.promised:g} s"
        for start in STARTS
        if seconds.get(start.name, 0.0) > start.promised
    ]
    hungry = [
        f"{row.name}: {row.ours_memory_same_tokens:.0f} MiB, lm-eval {row.theirs_memory:.0f} MiB at equal batch tokens"
        for row in found
        if row.ours_memory_same_tokens > row.theirs_memory
    ]
    verdict = {"disagree": broken, "too_slow": slow, "too_much_memory": hungry}
    if args.json:
        print(json.dumps({"rows": [asdict(row) for row in found], "seconds": seconds, **verdict}, indent=1))
    else:
        print("\n".join(["", *(f"{kind}: {entry}" for kind, entries in verdict.items() for entry in entries)]))
        for note in sorted({note for row in found for note in row.notes}):
            print(f"note: {note}")
    return int(bool(broken or slow or hungry))


def line(row: Found) -> str:
    """The row as a line of a Markdown table."""
    if row.problems:
        scores = "; ".join(row.problems)
    elif row.largest_difference is not None:
        scores = f"log-likelihoods within {row.largest_difference:.0e}"
    else:
        scores = f"{row.texts_equal or 0.0:.0%} of texts equal"
    cells = [
        row.work,
        str(row.docs),
        f"{row.theirs:.1f} s ({row.batch_size or 'auto'})",
        f"{row.ours:.1f} s",
        f"**{row.ratio:.1f}×**",
        f"{row.promised:g}×",
        f"{row.theirs_process:.1f} s / {row.ours_process:.1f} s",
        f"{row.theirs_memory:.0f} / {row.ours_memory:.0f} ({row.ours_memory_same_tokens:.0f}) MiB",
        scores,
    ]
    return f"| {' | '.join(cells)} |"


def start_line(start: Start, seconds: float) -> str:
    """The start-up time as a line of the same table."""
    return f"| `benchbench {' '.join(start.arguments)}` | | | {seconds:.2f} s | | < {start.promised:g} s | | | |"


if __name__ == "__main__":
    sys.exit(main())

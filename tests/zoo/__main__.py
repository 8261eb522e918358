"""`python -m tests.zoo`: every family of the installed transformers, tiny and random, held against one text alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tests.zoo.check import Result
from tests.zoo.families import families
from tests.zoo.page import page
from tests.zoo.pool import check_all
from tests.zoo.sizes import UNBUILDABLE


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a line for each family; 1 where one is wrong, ends in a traceback or was not built."""
    options = _parser().parse_args(arguments)
    known = families()
    names = options.families.split(",") if options.families else list(known)
    if options.write and options.families:
        print("--write is about all families; leave --families out", file=sys.stderr)
        return 2
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"no family named {', '.join(unknown)}; known: {', '.join(known)}", file=sys.stderr)
        return 2
    jobs = [(name, known[name]) for name in names]
    results = check_all(jobs, dtype=options.dtype, processes=options.processes, said=_say)
    print(", ".join(f"{outcome}: {n}" for outcome, n in Counter(r.outcome for r in results).most_common()))
    print(f"{sum(r.seconds for r in results):.0f} s")
    if options.json:
        Path(options.json).write_text(json.dumps([asdict(r) for r in results], indent=1, ensure_ascii=False))
    if options.write:
        Path(options.write).write_text(page(results, version("transformers")), encoding="utf-8")
    return int(
        any(result.outcome not in ("right", "refused") and result.family not in UNBUILDABLE for result in results)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--families", help="comma-separated; default: all")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results there too")
    parser.add_argument("--write", metavar="FILE", help="write the page of all families there")
    return parser


def _say(result: Result) -> None:
    print(
        f"{result.family:26} {result.outcome:12} {result.plan:9} {result.needed:6}/{result.computed:<6} "
        f"{result.difference:8.1e} {result.rolling:8.1e} wrong {result.wrong:2} texts {result.texts}/7 "
        f"{'' if result.cached is None else f'own cache {result.cached}/7 '}{result.seconds:5.1f} s "
        f"{result.sentence} {' | '.join(result.notes)} {'; '.join(result.failures[:1])}".rstrip(),
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""`python -m tests.zoo`: every family of the installed transformers, tiny and random, held against one text alone."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tests.zoo.check import Result
from tests.zoo.families import IN_BFLOAT16, ROUTED, families
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
    kept = _kept(options.json) if options.resume else {}
    jobs = [(name, known[name]) for name in names if name not in kept]

    def say(result: Result) -> None:
        _say(result)
        kept[result.family] = result
        if options.json:
            _keep(options.json, kept)

    check_all(jobs, dtype=options.dtype, processes=options.processes, said=say)
    results = [kept[name] for name in names]
    print(", ".join(f"{outcome}: {n}" for outcome, n in Counter(r.outcome for r in results).most_common()))
    print(f"{sum(r.seconds for r in results):.0f} s")
    if options.write:
        jobs = [(name, known[name]) for name in (*IN_BFLOAT16, *ROUTED)]
        rounded = check_all(jobs, dtype="bfloat16", processes=options.processes, said=_say)
        Path(options.write).write_text(page(results, version("transformers"), rounded), encoding="utf-8")
    return int(
        any(result.outcome not in ("right", "refused") and result.family not in UNBUILDABLE for result in results)
    )


def _kept(path: str | None) -> dict[str, Result]:
    """The results in `path`, by family."""
    if path is None or not Path(path).exists():
        return {}
    rows = json.loads(Path(path).read_text(encoding="utf-8"))
    return {row["family"]: Result(**{**row, "notes": tuple(row["notes"])}) for row in rows}


def _keep(path: str, results: Mapping[str, Result]) -> None:
    rows = [asdict(results[family]) for family in sorted(results)]
    Path(path).write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--families", help="comma-separated; default: all")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="write the results there too, as they come")
    parser.add_argument("--resume", action="store_true", help="keep the results that are in --json FILE already")
    parser.add_argument("--write", metavar="FILE", help="write the page of all families there")
    return parser


def _say(result: Result) -> None:
    print(
        f"{result.family:26} {result.outcome:12} {result.plan:9} {result.needed:6}/{result.computed:<6} "
        f"{result.difference:8.1e} {result.rolling:8.1e} wrong {result.wrong:2} texts {result.texts}/7 "
        f"{f'own cache {result.cached}/7 ' if result.cached else ''}{result.seconds:5.1f} s "
        f"{result.sentence} {' | '.join(result.notes)} {'; '.join(result.failures[:1])}".rstrip(),
        flush=True,
    )


if __name__ == "__main__":
    raise SystemExit(main())
